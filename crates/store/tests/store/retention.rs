//! Retention, held against counting and sorting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use taskplane_domain::app::{App, Push};
use taskplane_domain::retention::{Cause, Retention};
use taskplane_domain::space::{Space, SpaceSettings};
use taskplane_domain::task::{StateKind, Task};
use taskplane_store::{Removable, Store, TaskQuery};
use tokio::task::JoinSet;

use crate::kit::{Kit, settings};

crate::on_both_engines![
    the_newest_stay_while_completions_pour_in_and_two_reapers_mark,
    any_history_is_trimmed_as_counting_and_sorting_would,
    what_is_too_old_goes_whatever_the_counts_say,
    failed_ones_may_have_a_count_of_their_own,
    an_app_may_have_a_count_of_its_own,
    a_lower_count_is_reached_in_batches,
    a_full_app_costs_the_others_nothing,
    what_would_go_is_shown_and_changes_nothing,
    apps_are_swept_page_by_page,
];

fn rule(count: u32, minimum_finished: u32) -> Retention {
    Retention { count, minimum_finished, age: None, failed: None }
}

async fn a_space(kit: &Kit, name: &str, retention: Retention) -> Space {
    kit.a_space_with(name, SpaceSettings { retention, ..settings(&[], 1) }).await
}

async fn update(kit: &Kit, space: &Space, retention: Retention) -> Space {
    let settings = SpaceSettings { retention, ..space.settings.clone() };
    let change = space.clone().update(settings, kit.now()).unwrap();
    kit.store.space_update(&change).await.unwrap();
    change.space
}

/// Over, without ever having had an executor.
async fn finish(kit: &Kit, task: &Task, end: StateKind) -> Task {
    match end {
        StateKind::Succeeded => kit.observed(&kit.running(task).await, kit.end(task, 0)).await,
        StateKind::Failed => kit.observed(&kit.running(task).await, kit.end(task, 3)).await,
        _ => kit.cancelled(task).await,
    }
}

async fn finished(kit: &Kit, space: &Space, app: &App, end: StateKind) -> Task {
    finish(kit, &kit.a_task(space, app).await, end).await
}

/// Those of the App that are not marked.
async fn kept(store: &Store, app: &App) -> Vec<Task> {
    let query = TaskQuery {
        space: app.name.space.clone(),
        app: Some(app.name.app.clone()),
        states: Vec::new(),
        job: None,
        newest_first: false,
        after: None,
        limit: 100_000,
    };
    let tasks = store.task_list(&query).await.unwrap();
    tasks.into_iter().filter(|task| task.remove_since.is_none()).collect()
}

async fn mark_all(store: &Store, app: &App) -> u32 {
    let mut marked = 0;
    loop {
        match store.retention_mark(&app.name, 7).await.unwrap().tasks {
            0 => return marked,
            some => marked += some,
        }
    }
}

/// What must be left of the Tasks: by counting all and sorting all.
fn oracle(tasks: &[Task], rule: Retention, now: jiff::Timestamp) -> BTreeSet<u64> {
    let live = tasks.iter().filter(|task| !task.state.kind().is_final());
    let keep = (i64::from(rule.count) - i64::try_from(live.clone().count()).unwrap()).max(rule.minimum_finished.into());
    let mut over: Vec<&Task> = tasks.iter().filter(|task| task.state.kind().is_final()).collect();
    over.sort_by_key(|task| std::cmp::Reverse(task.name.id));
    let (failed, others): (Vec<&Task>, Vec<&Task>) =
        over.into_iter().partition(|task| rule.failed.is_some() && task.state.kind() == StateKind::Failed);
    let young = |task: &&&Task| match rule.age {
        Some(age) => now.duration_since(task.state.finished_at().unwrap()) <= age.try_into().unwrap(),
        None => true,
    };
    let others = others.iter().take(keep.try_into().unwrap()).filter(young);
    let failed = failed.iter().take(rule.failed.unwrap_or_default() as usize).filter(young);
    live.map(|task| task.name.id).chain(others.chain(failed).map(|task| task.name.id)).collect()
}

fn ids(tasks: &[Task]) -> BTreeSet<u64> {
    tasks.iter().map(|task| task.name.id).collect()
}

async fn the_newest_stay_while_completions_pour_in_and_two_reapers_mark(kit: Kit) {
    let space = a_space(&kit, "s", Retention::default()).await;
    let app = kit.an_app(&space, "a").await;
    // 200 that will end while the reapers are at it, 600 that stay, and 1000 that are over.
    let mut ending = Vec::new();
    let mut live = Vec::new();
    for number in 0..1800 {
        let task = kit.a_task(&space, &app).await;
        match number % 9 {
            0 => ending.push(task),
            1..4 => live.push(task),
            _ => {
                kit.cancelled(&task).await;
            }
        }
    }
    let kit = Arc::new(kit);
    let (name, done) = (app.name.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let mut reapers = JoinSet::new();
    for _ in 0..2 {
        let (store, name, done) = (kit.store.clone(), name.clone(), Arc::clone(&done));
        reapers.spawn(async move {
            loop {
                let last = done.load(std::sync::atomic::Ordering::SeqCst);
                if store.retention_mark(&name, 40).await.unwrap().tasks == 0 && last {
                    return;
                }
            }
        });
    }
    let (first, second) = ending.split_at(100);
    let end = async |some: &[Task]| {
        for task in some {
            kit.cancelled(task).await;
        }
    };
    tokio::join!(end(first), end(second));
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    reapers.join_all().await;
    let left = kept(&kit.store, &app).await;
    let (over, lives): (Vec<_>, Vec<_>) = left.into_iter().partition(|task| task.state.kind().is_final());
    assert_eq!(ids(&lives), ids(&live), "none that lives is touched");
    let newest: BTreeSet<u64> = (1..=1800).rev().filter(|id| !ids(&live).contains(id)).take(50).collect();
    assert_eq!(ids(&over), newest);
}

async fn any_history_is_trimmed_as_counting_and_sorting_would(kit: Kit) {
    let mut chance = StdRng::seed_from_u64(41);
    for round in 0..12 {
        let age = chance.random_bool(0.5).then(|| Duration::from_secs(chance.random_range(1..40)));
        let failed = chance.random_bool(0.5).then(|| chance.random_range(0..6));
        let rule =
            Retention { count: chance.random_range(1..25), minimum_finished: chance.random_range(0..8), age, failed };
        let space = a_space(&kit, &format!("s{round}"), rule).await;
        let app = kit.an_app(&space, "a").await;
        let mut tasks: Vec<Task> = Vec::new();
        for _ in 0..chance.random_range(10..60) {
            kit.advance(chance.random_range(0..3));
            match chance.random_range(0..10) {
                0..4 => tasks.push(kit.a_task(&space, &app).await),
                4..8 => {
                    let live: Vec<usize> =
                        (0..tasks.len()).filter(|index| !tasks[*index].state.kind().is_final()).collect();
                    if let Some(&index) = live.choose(&mut chance) {
                        let ends = [StateKind::Succeeded, StateKind::Failed, StateKind::Cancelled];
                        let end = *ends.choose(&mut chance).unwrap();
                        tasks[index] = finish(&kit, &tasks[index], end).await;
                    }
                }
                _ => {
                    let expected = oracle(&tasks, rule, kit.now());
                    mark_all(&kit.store, &app).await;
                    assert_eq!(ids(&kept(&kit.store, &app).await), expected, "round {round}: {rule:?}");
                    // What went does not come back, whatever lives later.
                    tasks.retain(|task| expected.contains(&task.name.id));
                }
            }
        }
    }
}

async fn what_is_too_old_goes_whatever_the_counts_say(kit: Kit) {
    let age = Some(Duration::from_secs(60));
    let space = a_space(&kit, "s", Retention { age, ..Retention::default() }).await;
    let app = kit.an_app(&space, "a").await;
    finished(&kit, &space, &app, StateKind::Cancelled).await;
    let live = kit.a_task(&space, &app).await;
    kit.advance(30);
    let young = finished(&kit, &space, &app, StateKind::Cancelled).await;
    assert_eq!(kit.store.retention_mark(&app.name, 10).await.unwrap().tasks, 0);
    kit.advance(31);
    assert_eq!(kit.store.retention_mark(&app.name, 10).await.unwrap().tasks, 1);
    assert_eq!(kept(&kit.store, &app).await, [live, young]);
}

async fn failed_ones_may_have_a_count_of_their_own(kit: Kit) {
    let space = a_space(&kit, "s", Retention { failed: Some(2), ..rule(3, 0) }).await;
    let app = kit.an_app(&space, "a").await;
    for end in [StateKind::Failed, StateKind::Succeeded] {
        for _ in 0..5 {
            finished(&kit, &space, &app, end).await;
        }
    }
    assert_eq!(mark_all(&kit.store, &app).await, 5);
    assert_eq!(ids(&kept(&kit.store, &app).await), [4, 5, 8, 9, 10].into());
    update(&kit, &space, rule(3, 0)).await;
    assert_eq!(mark_all(&kit.store, &app).await, 2);
    assert_eq!(ids(&kept(&kit.store, &app).await), [8, 9, 10].into());
}

async fn an_app_may_have_a_count_of_its_own(kit: Kit) {
    let space = a_space(&kit, "s", rule(3, 0)).await;
    let app = kit.an_app(&space, "a").await;
    let other = kit.an_app(&space, "b").await;
    let push = Push { task_retention_count: Some(Some(1)), ..kit.a_push(&space, "a") };
    let change = app.clone().push(push, kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
    assert_eq!(kit.store.app_get(&app.name).await.unwrap(), change.app);
    assert_eq!((change.app.revision, change.app.version), (1, 2));
    for app in [&change.app, &other] {
        for _ in 0..5 {
            finished(&kit, &space, app, StateKind::Cancelled).await;
        }
        mark_all(&kit.store, app).await;
    }
    assert_eq!(ids(&kept(&kit.store, &app).await), [5].into());
    assert_eq!(ids(&kept(&kit.store, &other).await), [3, 4, 5].into());
    let rules = kit.store.retention_rules(None, None, 10).await.unwrap();
    let seen: Vec<_> = rules.iter().map(|rule| (rule.rule.count, rule.own, rule.accepted)).collect();
    assert_eq!(seen, [(1, true, 5), (3, false, 5)]);
    let push = Push { task_retention_count: Some(None), ..kit.a_push(&space, "a") };
    let change = change.app.push(push, kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
    assert_eq!(kit.store.retention_rules(None, None, 1).await.unwrap()[0].rule.count, 3);
}

async fn a_lower_count_is_reached_in_batches(kit: Kit) {
    let space = a_space(&kit, "s", rule(100, 0)).await;
    let app = kit.an_app(&space, "a").await;
    for _ in 0..30 {
        finished(&kit, &space, &app, StateKind::Cancelled).await;
    }
    assert_eq!(kit.store.retention_mark(&app.name, 8).await.unwrap().tasks, 0);
    let space = update(&kit, &space, rule(10, 0)).await;
    for expected in [8, 8, 4, 0] {
        assert_eq!(kit.store.retention_mark(&app.name, 8).await.unwrap().tasks, expected);
    }
    // The oldest went first, and no mark is taken back.
    update(&kit, &space, rule(100, 0)).await;
    assert_eq!(ids(&kept(&kit.store, &app).await), (21..=30).collect());
}

async fn a_full_app_costs_the_others_nothing(kit: Kit) {
    let space = a_space(&kit, "s", rule(2, 0)).await;
    let (full, other) = (kit.an_app(&space, "a").await, kit.an_app(&space, "b").await);
    for _ in 0..20 {
        finished(&kit, &space, &full, StateKind::Cancelled).await;
    }
    for _ in 0..3 {
        finished(&kit, &space, &other, StateKind::Cancelled).await;
    }
    assert_eq!(kit.store.retention_mark(&other.name, 200).await.unwrap().tasks, 1);
    assert_eq!(kept(&kit.store, &full).await.len(), 20);
    let unknown = "spaces/s/apps/none".parse().unwrap();
    assert_eq!(kit.store.retention_mark(&unknown, 200).await.unwrap().tasks, 0);
}

async fn what_would_go_is_shown_and_changes_nothing(kit: Kit) {
    let age = Some(Duration::from_secs(60));
    let space = a_space(&kit, "s", Retention { age, failed: Some(1), ..rule(3, 0) }).await;
    let app = kit.an_app(&space, "a").await;
    let deleted = finished(&kit, &space, &app, StateKind::Succeeded).await;
    kit.store.removal_mark(taskplane_store::RemovalOf::Task(deleted.uid), Cause::Deleted, 1).await.unwrap();
    finished(&kit, &space, &app, StateKind::Succeeded).await;
    finished(&kit, &space, &app, StateKind::Failed).await;
    finished(&kit, &space, &app, StateKind::Succeeded).await;
    kit.advance(62);
    for end in [StateKind::Failed, StateKind::Succeeded] {
        finished(&kit, &space, &app, end).await;
    }
    kit.a_task(&space, &app).await;
    let causes = |list: &[Removable]| list.iter().map(|of| (of.task.name.id, of.cause)).collect::<Vec<_>>();
    let all = kit.store.removable_list(&app.name, 0, 10).await.unwrap();
    let expected = [(1, Cause::Deleted), (2, Cause::Count), (3, Cause::FailedCount), (4, Cause::Age)];
    // Two that did not fail stay beside the live one: 6, and 4, which is too old.
    assert_eq!(causes(&all), expected);
    assert!(all[0].task.remove_since.is_some());
    assert_eq!(causes(&kit.store.removable_list(&app.name, 1, 2).await.unwrap()), expected[1..3]);
    let view = kit.store.retention_view(&app.name).await.unwrap();
    assert_eq!((view.live, view.finished, view.rule.rule.count), (1, 5, 3));
    assert_eq!(kept(&kit.store, &app).await.len(), 6, "nothing was marked by looking");
    mark_all(&kit.store, &app).await;
    let marked = kit.store.removable_list(&app.name, 0, 10).await.unwrap();
    assert_eq!(causes(&marked), expected);
}

async fn apps_are_swept_page_by_page(kit: Kit) {
    let (first, second) = (a_space(&kit, "s", rule(3, 0)).await, a_space(&kit, "t", rule(4, 1)).await);
    for app in ["b", "a", "c"] {
        kit.an_app(&first, app).await;
        kit.an_app(&second, app).await;
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = kit.store.retention_rules(None, after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        seen.extend(page.into_iter().map(|rule| (rule.name.to_string(), rule.rule.count)));
    }
    let expected = [("s", 3), ("t", 4)]
        .map(|(space, count)| ["a", "b", "c"].map(|app| (format!("spaces/{space}/apps/{app}"), count)));
    assert_eq!(seen, expected.concat());
    let page = kit.store.retention_rules(Some(&second.name.0), None, 10).await.unwrap();
    assert_eq!(page.iter().map(|rule| rule.name.to_string()).collect::<Vec<_>>().len(), 3);
    let page = kit.store.retention_rules(Some(&second.name.0), Some(&page[0].name), 10).await.unwrap();
    assert_eq!(page[0].name.to_string(), "spaces/t/apps/b");
}
