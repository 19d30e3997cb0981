//! Two whole reapers on one App: what stays is what counting and sorting would leave.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use taskplane_domain::app::App;
use taskplane_domain::event::Fact;
use taskplane_domain::space::Retention;
use taskplane_domain::task::Task;
use taskplane_store::{FeedMark, FeedQuery};

use crate::scene::{Scene, until};

fn ids<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> BTreeSet<u64> {
    tasks.into_iter().map(|task| task.name.id).collect()
}

/// The numbers of those that are over, and of those that live.
fn split(tasks: &[Task]) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let (over, live): (Vec<&Task>, Vec<&Task>) = tasks.iter().partition(|task| task.state.kind().is_final());
    (ids(over), ids(live))
}

/// How often each Task of the App was told to be removed.
async fn removed(scene: &Scene, app: &App) -> BTreeMap<String, u32> {
    let query = FeedQuery { space: app.name.space.clone(), app: None, task_id: None, tasks_only: true };
    let events = scene.store.feed_read(&query, FeedMark::START, 100_000).await.unwrap();
    let mut told = BTreeMap::new();
    for (_, event) in events.into_iter().filter(|(_, event)| event.fact == Fact::TaskRemoved) {
        *told.entry(event.subject.to_string()).or_default() += 1;
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_fifty_stay_beside_six_hundred_live_ones_while_completions_pour_in() {
    let scene = Scene::on_postgres().await;
    let space = scene.a_space("s", Retention::default()).await;
    let app = scene.an_app(&space, "a").await;
    // 600 that stay alive, 200 that end while the reapers are at it, and 1 000 that are over before.
    let (mut live, mut ending) = (Vec::new(), Vec::new());
    for number in 0..1800 {
        let task = scene.a_task(&space, &app).await;
        match number % 9 {
            0 => ending.push(task),
            1..4 => live.push(task),
            _ => drop(scene.ended(&task).await),
        }
    }
    let reapers = [scene.reaper().await, scene.reaper().await];
    let (first, second) = ending.split_at(100);
    let pour = async |tasks: &[Task], reaper: usize| {
        for task in tasks {
            scene.ended(task).await;
            reapers[reaper].ring();
        }
    };
    tokio::join!(pour(first, 0), pour(second, 1));
    until("650 tasks are left", async || scene.tasks(&app).await.len() <= 650).await;
    let left = scene.tasks(&app).await;
    for reaper in reapers {
        reaper.stop().await;
    }
    assert_eq!(scene.tasks(&app).await, left, "nothing more went");
    let (over, lives) = split(&left);
    assert_eq!(lives, ids(&live), "none that lives is touched");
    assert!(left.iter().filter(|task| lives.contains(&task.name.id)).all(|task| task.version == 1));
    let newest: BTreeSet<u64> = (1..=1800).rev().filter(|id| !lives.contains(id)).take(50).collect();
    assert_eq!(over, newest, "and of the others the newest fifty stay");
    let told = removed(&scene, &app).await;
    assert_eq!((told.len(), told.values().all(|times| *times == 1)), (1150, true), "each went once");
}

/// What must stay and what must go, whichever moments the reapers choose. Ends that come while they look may be seen together
/// or one by one, so between the two there may be Tasks that go or stay.
struct Oracle {
    rule: Retention,
    /// Whether each that is over was among those to be kept at every moment since.
    safe: BTreeMap<u64, bool>,
    live: BTreeSet<u64>,
}

impl Oracle {
    fn keeps(&self) -> usize {
        let live = u32::try_from(self.live.len()).unwrap();
        self.rule.count.saturating_sub(live).max(self.rule.minimum_finished) as usize
    }

    fn now(&mut self) {
        let keeps = self.keeps();
        for (place, (_, safe)) in self.safe.iter_mut().rev().enumerate() {
            *safe &= place < keeps;
        }
    }

    fn check(&self, left: &[Task], seed: u64) {
        let (over, live) = split(left);
        assert_eq!(live, self.live, "seed {seed}: none that lives is touched");
        let safe: BTreeSet<u64> = self.safe.iter().filter(|(_, safe)| **safe).map(|(id, _)| *id).collect();
        assert!(safe.is_subset(&over), "seed {seed}: {safe:?} were never too many, and of them {over:?} are left");
        assert!(over.len() <= self.keeps(), "seed {seed}: {} are kept, {} are left", self.keeps(), over.len());
        // What is older than as many as are kept for certain must be gone.
        if let Some(oldest) = safe.iter().rev().nth(self.keeps().saturating_sub(1)) {
            assert_eq!(over.first(), Some(oldest), "seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_history_under_two_reapers_is_trimmed_as_counting_and_sorting_would() {
    let scene = Scene::on_postgres().await;
    let reapers = [scene.reaper().await, scene.reaper().await];
    for seed in 0..8 {
        let mut chance = StdRng::seed_from_u64(seed);
        let (count, minimum_finished) = (chance.random_range(1..20), chance.random_range(0..8));
        let rule = Retention { count, minimum_finished, age: None, failed: None };
        let space = scene.a_space(&format!("s{seed}"), rule).await;
        let app = scene.an_app(&space, "a").await;
        let mut oracle = Oracle { rule, safe: BTreeMap::new(), live: BTreeSet::new() };
        let mut live: Vec<Task> = Vec::new();
        for _ in 0..chance.random_range(60..140) {
            if chance.random_bool(0.5) {
                let task = scene.a_task(&space, &app).await;
                oracle.live.insert(task.name.id);
                live.push(task);
            } else if let Some(&index) = (0..live.len()).collect::<Vec<_>>().choose(&mut chance) {
                let task = scene.ended(&live.swap_remove(index)).await;
                oracle.live.remove(&task.name.id);
                oracle.safe.insert(task.name.id, true);
            }
            oracle.now();
            reapers[chance.random_range(0..2)].ring();
        }
        until("what is too much is gone", async || {
            let over = scene.tasks(&app).await.iter().filter(|task| task.state.kind().is_final()).count();
            over <= oracle.keeps()
        })
        .await;
        oracle.check(&scene.tasks(&app).await, seed);
    }
    for reaper in reapers {
        reaper.stop().await;
    }
}
