//! Tasks accepted together: each is answered as if it had come alone, whatever else is in its batch, and however many batches
//! there are at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use taskplane_domain::app::App;
use taskplane_domain::space::{Quota, Space, SpaceSettings};
use taskplane_domain::task::{Birth, Task};
use taskplane_domain::uid::TaskUid;
use taskplane_store::{Accepted, RequestKey, StoreError};
use tokio::task::JoinSet;

use crate::kit::{Kit, asked, touch};

crate::on_both_engines![
    a_batch_is_answered_as_its_requests_one_by_one,
    batches_at_once_fill_a_space_to_its_quota_without_gap_or_double,
    one_request_in_twenty_batches_makes_one_task,
    one_that_cannot_be_written_takes_nobody_along,
    a_space_is_not_filled_beyond_its_quota_while_apps_come_and_go,
    an_app_that_changes_under_a_batch_is_read_again_by_those_alone_who_asked_it,
];

type Asked = (Birth, Option<RequestKey>);

async fn a_space(kit: &Kit, name: &str, live: u32) -> Space {
    let quota = Quota { live, ..Quota::default() };
    kit.a_space_with(name, SpaceSettings { quota, ..SpaceSettings::default() }).await
}

fn with_key(kit: &Kit, space: &Space, app: &App, text: &str, hash: u8) -> Asked {
    let key = RequestKey { principal: "anna".into(), key: text.into(), hash: [hash; 32] };
    (kit.a_birth_as(TaskUid::requested(space.uid, "anna", text), space, app, asked(app)), Some(key))
}

fn without(kit: &Kit, space: &Space, app: &App) -> Asked {
    (kit.a_birth(space, app), None)
}

/// An answer without what differs from Space to Space.
fn told(answer: &Result<Accepted, StoreError>) -> String {
    let task = |task: &Task| format!("{}/{} {}", task.name.app, task.name.id, task.state.kind().as_str());
    match answer {
        Ok(Accepted { task: made, repeated }) => format!("{} {repeated}", task(made)),
        Err(StoreError::Conflict(_)) => "changed".into(),
        Err(StoreError::KeyReused) => "another request".into(),
        Err(StoreError::LiveQuota { quota, .. }) => format!("full at {quota}"),
        Err(StoreError::NotFound(_)) => "not there".into(),
        Err(error) => panic!("{error}"),
    }
}

/// A Space with three Apps; of the last there is a newer revision than the one that is asked of, of another one nothing.
async fn scene(kit: &Kit, name: &str, live: u32) -> (Space, Vec<App>) {
    let space = a_space(kit, name, live).await;
    let mut apps = Vec::new();
    for app in ["a", "b", "c", "d"] {
        apps.push(kit.an_app(&space, app).await);
    }
    let change = apps[2].clone().push(touch(kit.a_push(&space, "c"), "2"), kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
    kit.delete_app(&apps[3], false).await.unwrap();
    (space, apps)
}

async fn a_batch_is_answered_as_its_requests_one_by_one(kit: Kit) {
    for seed in 0..10 {
        let mut random = StdRng::seed_from_u64(seed);
        let live = random.random_range(3..40);
        let together = scene(&kit, &format!("together{seed}"), live).await;
        let alone = scene(&kit, &format!("alone{seed}"), live).await;
        let mut made: [Vec<Task>; 2] = Default::default();
        for _ in 0..6 {
            let size = random.random_range(1..25);
            let (mut batch, mut singles) = (Vec::new(), Vec::new());
            for _ in 0..size {
                let app = [0, 0, 0, 1, 1, 2, 3][random.random_range(0..7)];
                let key = random.random_bool(0.5).then(|| (random.random_range(0..12), random.random_range(1..3)));
                let ask = |(space, apps): &(Space, Vec<App>)| match key {
                    Some((key, hash)) => with_key(&kit, space, &apps[app], &format!("k{key}"), hash),
                    None => without(&kit, space, &apps[app]),
                };
                batch.push(ask(&together));
                singles.push(ask(&alone));
            }
            let answered = kit.store.tasks_accept(batch).await;
            let mut expected = Vec::new();
            for (birth, key) in singles {
                expected.push(kit.store.task_accept(birth, key).await);
            }
            let (answers, one_by_one): (Vec<_>, Vec<_>) =
                (answered.iter().map(told).collect(), expected.iter().map(told).collect());
            assert_eq!(answers, one_by_one, "seed {seed}");
            for (made, answers) in made.iter_mut().zip([answered, expected]) {
                made.extend(answers.into_iter().flatten().filter(|accepted| !accepted.repeated).map(|one| one.task));
            }
            // Some are over, and make room.
            for _ in 0..random.random_range(0..8) {
                if !made[0].is_empty() {
                    let at = random.random_range(0..made[0].len());
                    for made in &mut made {
                        kit.cancelled(&made.swap_remove(at)).await;
                    }
                }
            }
        }
        let events = |name: String| {
            let kit = &kit;
            async move {
                let events = kit.events(&name).await;
                let told = events.iter().map(|(_, event)| (event.subject.to_string(), event.sequence, event.fact));
                told.map(|(subject, sequence, fact)| (subject.replace(&name, "s"), sequence, fact)).collect::<Vec<_>>()
            }
        };
        assert_eq!(events(format!("together{seed}")).await, events(format!("alone{seed}")).await, "seed {seed}");
    }
}

async fn batches_at_once_fill_a_space_to_its_quota_without_gap_or_double(kit: Kit) {
    const LIVE: u32 = 200;
    let space = a_space(&kit, "s", LIVE).await;
    let mut apps = Vec::new();
    for app in ["a", "b", "c"] {
        apps.push(kit.an_app(&space, app).await);
    }
    let mut calls = JoinSet::new();
    for round in 0..24_usize {
        // Some come alone, and the Apps in another order each time.
        let size = if round % 4 == 0 { 1 } else { 20 };
        let batch = (0..size).map(|number| without(&kit, &space, &apps[(round + number) % 3])).collect();
        let store = kit.store.clone();
        calls.spawn(async move { store.tasks_accept(batch).await });
    }
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut full = 0;
    for answer in calls.join_all().await.into_iter().flatten() {
        match answer {
            Ok(Accepted { task, repeated: false }) => {
                numbers.entry(task.name.app.to_string()).or_default().push(task.name.id);
            }
            Err(StoreError::LiveQuota { quota: LIVE, .. }) => full += 1,
            other => panic!("{other:?}"),
        }
    }
    let count: usize = numbers.values().map(Vec::len).sum();
    assert_eq!((count, full), (LIVE as usize, 6 + 18 * 20 - LIVE as usize));
    for (app, mut numbers) in numbers {
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{app}");
    }
    let events = kit.events("s").await;
    let requested = events.iter().filter(|(_, event)| event.fact.as_str() == "requested").count();
    assert_eq!(requested, LIVE as usize, "one event for each");
    assert_eq!(kit.store.space_usage(space.uid).await.unwrap().live, u64::from(LIVE));
}

async fn one_request_in_twenty_batches_makes_one_task(kit: Kit) {
    let space = a_space(&kit, "s", 1_000).await;
    let app = kit.an_app(&space, "a").await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        // Twice in each batch, beside others.
        let ask = || with_key(&kit, &space, &app, "once", 1);
        let batch = vec![without(&kit, &space, &app), ask(), without(&kit, &space, &app), ask()];
        let store = kit.store.clone();
        calls.spawn(async move { store.tasks_accept(batch).await });
    }
    let answers = calls.join_all().await;
    let of_it: Vec<_> =
        answers.iter().flat_map(|batch| [&batch[1], &batch[3]]).map(|one| one.as_ref().unwrap()).collect();
    assert_eq!(of_it.iter().filter(|one| !one.repeated).count(), 1);
    assert!(of_it.iter().all(|one| one.task.uid == of_it[0].task.uid));
    assert_eq!(kit.store.space_usage(space.uid).await.unwrap().live, 41);
}

async fn one_that_cannot_be_written_takes_nobody_along(kit: Kit) {
    let space = a_space(&kit, "s", 1_000).await;
    let app = kit.an_app(&space, "a").await;
    let there = kit.a_task(&space, &app).await;
    // Under the uid of a Task that there is.
    let twice = (kit.a_birth_as(there.uid, &space, &app, asked(&app)), None);
    let batch = vec![without(&kit, &space, &app), twice, without(&kit, &space, &app)];
    let answers = kit.store.tasks_accept(batch).await;
    assert!(matches!(&answers[1], Err(StoreError::AlreadyExists(_))), "{answers:?}");
    let numbers: Vec<u64> = [0, 2].map(|at: usize| answers[at].as_ref().unwrap().task.name.id).to_vec();
    assert_eq!(numbers, [2, 3]);
}

async fn a_space_is_not_filled_beyond_its_quota_while_apps_come_and_go(kit: Kit) {
    let space = a_space(&kit, "s", 5).await;
    let stays = kit.an_app(&space, "stays").await;
    for _ in 0..4 {
        kit.advance(1);
        let goes = kit.an_app(&space, "goes").await;
        let batch = (0..6).map(|number| without(&kit, &space, if number < 2 { &stays } else { &goes })).collect();
        let answers = kit.store.tasks_accept(batch).await;
        let full = matches!(answers[5], Err(StoreError::LiveQuota { quota: 5, .. }));
        assert!(full && answers[..5].iter().all(Result::is_ok), "{answers:?}");
        for accepted in answers.into_iter().flatten() {
            kit.cancelled(&accepted.task).await;
        }
        kit.delete_app(&goes, true).await.unwrap();
        kit.reaped().await;
    }
}

async fn an_app_that_changes_under_a_batch_is_read_again_by_those_alone_who_asked_it(kit: Kit) {
    let space = a_space(&kit, "s", 1_000).await;
    let (steady, moves) = (kit.an_app(&space, "a").await, Arc::new(kit.an_app(&space, "b").await));
    let batch: Vec<Asked> =
        (0..10).map(|number| without(&kit, &space, if number % 2 == 0 { &steady } else { &moves })).collect();
    let change = (*moves).clone().push(touch(kit.a_push(&space, "b"), "2"), kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
    for (number, answer) in kit.store.tasks_accept(batch).await.into_iter().enumerate() {
        match answer {
            Ok(accepted) => assert_eq!((number % 2, accepted.task.name.id), (0, number as u64 / 2 + 1)),
            Err(StoreError::Conflict(name)) => assert_eq!((number % 2, name.as_str()), (1, "spaces/s/apps/b")),
            Err(error) => panic!("{error}"),
        }
    }
}
