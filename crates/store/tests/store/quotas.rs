//! Quotas of a Space as Tasks are accepted: kept to the Task under any concurrency, never at the cost of a tick, nor of another Space.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use taskplane_domain::app::App;
use taskplane_domain::job::{ConcurrencyPolicy, RunJob, RunOutcome, run_now};
use taskplane_domain::name::SpaceName;
use taskplane_domain::space::{Quota, Space, SpaceSettings};
use taskplane_domain::task::Task;
use taskplane_domain::uid::{SpaceUid, TaskUid};
use taskplane_store::{Accepted, RequestKey, StoreError, Usage};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::job_kit::{a_job, drain, job_name, pass, tasks_of};
use crate::kit::{Kit, asked, name};

crate::on_both_engines![
    of_two_that_ask_for_the_last_place_one_gets_it,
    four_hundred_at_once_fill_a_space_to_its_quota,
    a_refused_task_leaves_nothing_behind,
    a_repeated_request_is_answered_in_a_full_space,
    one_request_sent_twenty_times_gets_the_last_place,
    a_run_of_a_job_counts_and_its_ticks_are_never_refused,
    a_tick_without_room_stays_due_and_the_latest_one_fires,
    ticks_of_two_passes_at_once_stop_at_the_ceiling,
    a_full_space_delays_no_tick_of_another,
    a_job_with_more_schedules_than_room_fires_some_of_them,
];

pub async fn a_space(kit: &Kit, text: &str, quota: Quota) -> (Space, App) {
    let settings = SpaceSettings { quota, ..SpaceSettings::default() };
    let change = Space::create(SpaceUid(kit.uid()), SpaceName(name(text)), settings, kit.now());
    kit.store.space_create(&change).await.unwrap();
    let app = kit.an_app(&change.space, "a").await;
    (change.space, app)
}

fn live(live: u32) -> Quota {
    Quota { live, ..Quota::default() }
}

pub fn running(running: u32) -> Quota {
    Quota { running: Some(running), ..Quota::default() }
}

fn waiting(waiting: u32) -> Quota {
    Quota { waiting, ..Quota::default() }
}

/// So many calls at once, over all of these Apps; which of them were accepted.
async fn at_once(kit: &Kit, space: &Space, apps: &[App], count: usize) -> Vec<Task> {
    // So many that all of the store's connections are busy, and none waits for one longer than it may.
    let turns = Arc::new(Semaphore::new(48));
    let mut calls = JoinSet::new();
    for app in apps.iter().cycle().take(count) {
        let (store, birth, turns) = (kit.store.clone(), kit.a_birth(space, app), Arc::clone(&turns));
        calls.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            store.task_accept(birth, None).await
        });
    }
    let accepted = |result: Result<Accepted, StoreError>| match result {
        Ok(accepted) => Some(accepted.task),
        Err(StoreError::LiveQuota { .. }) => None,
        Err(error) => panic!("{error}"),
    };
    calls.join_all().await.into_iter().filter_map(accepted).collect()
}

pub async fn usage(kit: &Kit, space: &Space) -> Usage {
    kit.store.space_usage(space.uid).await.unwrap()
}

async fn of_two_that_ask_for_the_last_place_one_gets_it(kit: Kit) {
    let (space, app) = a_space(&kit, "s", live(3)).await;
    let other = kit.an_app(&space, "b").await;
    let apps = [app.clone(), other];
    kit.a_task(&space, &app).await;
    kit.a_task(&space, &app).await;
    for round in 0..25 {
        let accepted = at_once(&kit, &space, &apps, 2).await;
        assert_eq!(accepted.len(), 1, "round {round}");
        kit.cancelled(&accepted[0]).await;
    }
}

async fn four_hundred_at_once_fill_a_space_to_its_quota(kit: Kit) {
    // More than the database has connections: the first ones share the Space, the last ones have it to themselves.
    let (space, app) = a_space(&kit, "s", live(250)).await;
    let mut apps = vec![app];
    for number in 1..8 {
        apps.push(kit.an_app(&space, &format!("a{number}")).await);
    }
    let accepted = at_once(&kit, &space, &apps, 400).await;
    assert_eq!((accepted.len(), usage(&kit, &space).await.live), (250, 250));
    for task in &accepted[..5] {
        kit.cancelled(task).await;
    }
    assert_eq!(at_once(&kit, &space, &apps, 30).await.len(), 5);
}

async fn a_refused_task_leaves_nothing_behind(kit: Kit) {
    let (space, app) = a_space(&kit, "s", live(1)).await;
    let first = kit.a_task(&space, &app).await;
    let events = kit.events("s").await.len();
    let (uid, key) = requested(&space, "k");
    let refused = kit.store.task_accept(kit.a_birth_as(uid, &space, &app, asked(&app)), Some(key.clone())).await;
    let refused = refused.unwrap_err();
    assert!(matches!(&refused, StoreError::LiveQuota { space, quota: 1 } if space == "spaces/s"), "{refused}");
    assert_eq!(kit.events("s").await.len(), events);
    kit.cancelled(&first).await;
    let again = kit.store.task_accept(kit.a_birth_as(uid, &space, &app, asked(&app)), Some(key)).await.unwrap();
    assert_eq!((again.task.name.id, again.repeated), (2, false));
}

fn requested(space: &Space, text: &str) -> (TaskUid, RequestKey) {
    let key = RequestKey { principal: "anna".into(), key: text.into(), hash: [1; 32] };
    (TaskUid::requested(space.uid, "anna", text), key)
}

async fn a_repeated_request_is_answered_in_a_full_space(kit: Kit) {
    let (space, app) = a_space(&kit, "s", live(1)).await;
    let (uid, key) = requested(&space, "k");
    let birth = kit.a_birth_as(uid, &space, &app, asked(&app));
    let first = kit.store.task_accept(birth.clone(), Some(key.clone())).await.unwrap();
    let second = kit.store.task_accept(birth, Some(key)).await.unwrap();
    assert_eq!((second.task, second.repeated), (first.task, true));
}

async fn one_request_sent_twenty_times_gets_the_last_place(kit: Kit) {
    let (space, app) = a_space(&kit, "s", live(1)).await;
    let (uid, key) = requested(&space, "k");
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (store, birth) = (kit.store.clone(), kit.a_birth_as(uid, &space, &app, asked(&app)));
        let key = key.clone();
        calls.spawn(async move { store.task_accept(birth, Some(key)).await.unwrap() });
    }
    let accepted = calls.join_all().await;
    assert_eq!(accepted.iter().filter(|accepted| !accepted.repeated).count(), 1);
    assert_eq!(usage(&kit, &space).await.live, 1);
}

async fn a_run_of_a_job_counts_and_its_ticks_are_never_refused(kit: Kit) {
    let (space, app) = a_space(&kit, "s", live(1)).await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &["* * * * *"]).await;
    kit.a_task(&space, &app).await;
    let scene = kit.store.job_scene(&job.name, name("local")).await.unwrap();
    let run = run_now(scene, TaskUid(kit.uid()), RunJob::default(), None, kit.now()).unwrap();
    let refused = kit.store.job_commit(run.clone(), None).await.unwrap_err();
    assert!(matches!(refused, StoreError::LiveQuota { quota: 1, .. }), "{refused}");
    kit.advance(60);
    assert_eq!(pass(&kit.store, 10).await.tasks, 1);
    assert_eq!(usage(&kit, &space).await, Usage { live: 2, running: 0, waiting: 2 });
    // Changes that make no Task are not asked about room.
    let view = kit.store.job_get(&job.name).await.unwrap();
    let gone = view.job.delete(&view.schedules, Vec::new(), Duration::ZERO, kit.now()).unwrap();
    kit.store.job_commit(gone, None).await.unwrap();
}

async fn a_tick_without_room_stays_due_and_the_latest_one_fires(kit: Kit) {
    let (_, app) = a_space(&kit, "s", waiting(2)).await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &["* * * * *"]).await;
    for _ in 0..6 {
        kit.advance(60);
        drain(&kit.store, 10).await;
        assert!(kit.store.ticks_next_due().await.unwrap().unwrap() > Duration::ZERO, "it is tried without end");
    }
    let tasks = tasks_of(&kit, Some(&job.name)).await;
    assert_eq!(tasks.len(), 2);
    let held = async || {
        let view = kit.store.job_get(&job.name).await.unwrap();
        view.schedules[0].held(&view.job, kit.now()).map(|held| held.tick.to_string())
    };
    assert_eq!(held().await.as_deref(), Some("2030-01-01T00:06:00Z"), "it is shown to be held");
    kit.cancelled(&tasks[0]).await;
    kit.advance(10);
    assert_eq!(held().await, None, "it is about to be decided");
    assert_eq!(pass(&kit.store, 10).await.tasks, 1);
    assert_eq!(held().await, None);
    let runs = kit.store.job_runs_list(&job.name, None, 10).await.unwrap();
    let told: Vec<_> = runs.iter().map(|run| (run.tick.as_ref().unwrap().at.to_string(), run.missed)).collect();
    assert_eq!(told[0], ("2030-01-01T00:06:00Z".to_owned(), 3));
    assert!(runs.iter().all(|run| matches!(run.outcome, RunOutcome::Started { .. })));
    assert_eq!(runs.len(), 3);
}

async fn ticks_of_two_passes_at_once_stop_at_the_ceiling(kit: Kit) {
    let (space, app) = a_space(&kit, "s", waiting(25)).await;
    for number in 0..60 {
        a_job(&kit, &app, &format!("j{number}"), ConcurrencyPolicy::Always, &["* * * * *"]).await;
    }
    for round in 1..=3 {
        kit.advance(60);
        let passes = (0..6).map(|_| {
            let store = kit.store.clone();
            async move { drain(&store, 7).await }
        });
        JoinSet::from_iter(passes).join_all().await;
        drain(&kit.store, 7).await;
        assert_eq!(usage(&kit, &space).await.waiting, 25, "round {round}");
        let task = tasks_of(&kit, None).await.into_iter().find(|task| !task.state.kind().is_final()).unwrap();
        kit.cancelled(&task).await;
    }
}

async fn a_full_space_delays_no_tick_of_another(kit: Kit) {
    let (_, app) = a_space(&kit, "s", waiting(1)).await;
    for number in 0..30 {
        a_job(&kit, &app, &format!("j{number}"), ConcurrencyPolicy::Always, &["* * * * *"]).await;
    }
    kit.advance(60);
    drain(&kit.store, 5).await;
    let (other, victim) = a_space(&kit, "t", Quota::default()).await;
    let job = taskplane_domain::job::Job::create(
        (taskplane_domain::uid::JobUid(kit.uid()), "spaces/t/jobs/v".parse().unwrap()),
        &victim,
        Default::default(),
        ConcurrencyPolicy::Always,
        kit.now(),
    );
    let plan = taskplane_domain::job::Plan::parse("", "* * * * *", "", Default::default(), None).unwrap();
    let uid = taskplane_domain::uid::ScheduleUid(kit.uid());
    kit.store.job_create(job.scheduled(uid, name("v"), plan, false)).await.unwrap();
    kit.advance(60);
    // Thirty that cannot fire are due before it, and a pass takes five.
    let (mut passes, mut tasks) = (0, 0);
    while usage(&kit, &other).await.live == 0 {
        let ticked = pass(&kit.store, 5).await;
        assert!(ticked.more || usage(&kit, &other).await.live > 0, "it would wait for another look");
        tasks += ticked.tasks;
        passes += 1;
    }
    assert!(passes <= 2, "{passes} passes");
    assert_eq!(tasks, 1);
}

async fn a_job_with_more_schedules_than_room_fires_some_of_them(kit: Kit) {
    let (_, app) = a_space(&kit, "s", waiting(2)).await;
    a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &["* * * * *"; 5]).await;
    kit.advance(60);
    assert_eq!(pass(&kit.store, 10).await.tasks, 2);
    let mut fired = BTreeMap::new();
    for _ in 0..4 {
        for task in tasks_of(&kit, None).await.iter().filter(|task| !task.state.kind().is_final()) {
            *fired.entry(task.job.clone().unwrap().schedule.unwrap()).or_insert(0) += 1;
            kit.cancelled(task).await;
        }
        kit.advance(10);
        pass(&kit.store, 10).await;
    }
    // Each for the one minute: whoever waited came before whoever was due again.
    assert_eq!(fired.len(), 5);
    assert!(kit.store.job_runs_list(&job_name("j"), None, 100).await.unwrap().len() >= 5);
}
