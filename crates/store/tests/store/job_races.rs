//! Jobs at their worst moments: runs, ticks and deletions at once, a clock that moves, rows that cannot be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use taskplane_domain::app::App;
use taskplane_domain::job::{ConcurrencyPolicy, Job, JobState, RunJob, RunOutcome, RunRefused, run_now};
use taskplane_domain::label::Labels;
use taskplane_domain::name::{JobName, SpaceName};
use taskplane_domain::task::{StateKind, Task};
use taskplane_domain::uid::TaskUid;
use taskplane_store::{RequestKey, Store, StoreError};
use tokio::task::JoinSet;

use crate::job_kit::{drain, new_job, pass, tasks_of};
use crate::kit::{Kit, both, name};

on_both_engines!(
    a_job_comes_back_as_it_was_written,
    two_hundred_runs_and_deletions_at_once_leave_nothing,
    two_hundred_ticks_and_deletions_at_once_leave_nothing,
    while_the_clock_moves_every_tick_is_made_or_counted_as_missed,
    a_newer_replacement_takes_the_place_of_one_that_waits,
    thirty_two_writers_make_one_chain_of_versions,
    twenty_runs_at_once_with_one_key_make_one_task,
    jobs_that_cannot_go_do_not_use_up_the_turns_of_others,
    a_due_time_that_cannot_be_read_does_not_stop_the_clock_for_all,
    three_thousand_schedules_due_at_once_drain_in_few_passes,
);

const MINUTELY: &str = "* * * * *";

/// In a zone with days that miss an hour.
async fn made_job(kit: &Kit, app: &App, text: &str, policy: ConcurrencyPolicy, crons: &[&str]) -> Job {
    kit.store.job_create(new_job(kit, app, text, policy, ("Europe/Berlin", crons))).await.unwrap()
}

fn the_space() -> SpaceName {
    "spaces/s".parse().unwrap()
}

/// A run, tried as often as it takes. None: the Job is on its way out, or gone.
async fn run(store: &Store, job: &JobName, uid: TaskUid, at: Timestamp, key: Option<&RequestKey>) -> Option<Task> {
    loop {
        let scene = match store.job_scene(job, name("local")).await {
            Ok(scene) => scene,
            Err(StoreError::NotFound(_)) => return None,
            Err(error) => panic!("{error}"),
        };
        let change = match run_now(scene, uid, RunJob::default(), None, at) {
            Ok(change) => change,
            Err(RunRefused::Deleting(_)) => return None,
            Err(error) => panic!("{error}"),
        };
        match store.job_commit(change, key.cloned()).await {
            Ok(committed) => return committed.task,
            Err(StoreError::Conflict(_)) => {}
            Err(StoreError::NotFound(_)) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Tried as often as it takes.
async fn delete(store: &Store, job: &JobName, at: Timestamp) {
    loop {
        let scene = store.job_scene(job, name("local")).await.unwrap();
        let schedules = store.job_get(job).await.unwrap().schedules;
        let change = scene.job.delete(&schedules, scene.live, Duration::ZERO, at).unwrap();
        match store.job_commit(change, None).await {
            Ok(_) => return,
            Err(StoreError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// No row of these Jobs is left, each said goodbye once and fired no more after its deletion; so did each of their Tasks.
async fn assert_all_gone(kit: &Kit, jobs: &[Job]) {
    kit.reaped().await;
    assert!(kit.store.job_list(&the_space(), None, 1000).await.unwrap().is_empty());
    assert_eq!(tasks_of(kit, None).await, []);
    let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (_, event) in kit.events("s").await {
        told.entry(event.uid).or_default().push((event.sequence, event.fact.as_str()));
    }
    for told in told.values() {
        assert!(told.iter().map(|(sequence, _)| *sequence).eq(1..=told.len() as u64), "{told:?}");
        assert!(told[0].1 != "requested" || told.last().unwrap().1 == "removed", "{told:?}");
    }
    for job in jobs {
        let facts: Vec<_> = told[&job.uid.0].iter().map(|(_, fact)| *fact).collect();
        assert!(facts.ends_with(&["delete-requested", "deleted"]), "{facts:?}");
        assert_eq!(facts.iter().filter(|fact| **fact == "deleted").count(), 1);
    }
}

async fn a_job_comes_back_as_it_was_written(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let crons = ("Europe/Berlin", ["*/5 2-3 * * 1-5", "0 0 30 2 *"].as_slice());
    let change = new_job(&kit, &app, "j", ConcurrencyPolicy::Replace, crons);
    let job = kit.store.job_create(change.clone()).await.unwrap();
    let view = kit.store.job_get(&job.name).await.unwrap();
    assert_eq!((&view.job, view.live), (&job, 0));
    assert!(view.schedules[0].next.is_some() && view.schedules[1].next.is_none());
    assert_eq!(view.schedules[0].mark, kit.now());
    assert!(matches!(kit.store.job_create(change).await, Err(StoreError::AlreadyExists(_))));

    kit.advance(5);
    let paused = JobState::paused("a rest".into()).unwrap();
    let change = view.job.pause(paused.clone(), view.schedules, kit.now()).unwrap().unwrap();
    let committed = kit.store.job_commit(change, None).await.unwrap();
    let view = kit.store.job_get(&job.name).await.unwrap();
    assert_eq!((&view.job, &view.job.state, view.job.version), (&committed.job, &paused, 2));
    assert!(view.schedules.iter().all(|schedule| schedule.next.is_none()));
    run(&kit.store, &job.name, TaskUid(kit.uid()), kit.now(), None).await.unwrap();
    assert_eq!(kit.store.job_get(&job.name).await.unwrap().live, 1);
}

async fn two_hundred_runs_and_deletions_at_once_leave_nothing(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let (mut jobs, mut ran) = (Vec::new(), 0);
    for round in 0..20 {
        let mut races = JoinSet::new();
        for number in 0..10 {
            let text = format!("j{round}-{number}");
            let job = made_job(&kit, &app, &text, ConcurrencyPolicy::Always, &[MINUTELY]).await;
            let (store, uid, at, job_name) = (kit.store.clone(), TaskUid(kit.uid()), kit.now(), job.name.clone());
            races.spawn(async move {
                let run = run(&store, &job_name, uid, at, None);
                let (run, ()) = both(number % 2 == 0, run, delete(&store, &job_name, at)).await;
                u32::from(run.is_some())
            });
            jobs.push(job);
        }
        // The reaper does not wait for them.
        while !races.is_empty() {
            tokio::select! {
                Some(done) = races.join_next() => ran += done.unwrap(),
                cleared = kit.store.jobs_clear() => { cleared.unwrap(); }
            }
        }
    }
    assert!(ran > 0 && ran < 200, "{ran} of 200 ran");
    assert_all_gone(&kit, &jobs).await;
}

async fn two_hundred_ticks_and_deletions_at_once_leave_nothing(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let (mut jobs, mut ticked) = (Vec::new(), 0);
    for round in 0..20 {
        let first = jobs.len();
        for number in 0..10 {
            let text = format!("j{round}-{number}");
            jobs.push(made_job(&kit, &app, &text, ConcurrencyPolicy::ALL[number % 3], &[MINUTELY]).await);
        }
        kit.advance(60);
        let mut races = JoinSet::new();
        for job in &jobs[first..] {
            let (store, at, job) = (kit.store.clone(), kit.now(), job.name.clone());
            races.spawn(async move { delete(&store, &job, at).await });
        }
        let store = kit.store.clone();
        let passes = async move {
            let mut tasks = 0;
            while store.ticks_next_due().await.unwrap().is_some() {
                tasks += pass(&store, 3).await.tasks;
            }
            tasks
        };
        let (_, tasks) = tokio::join!(races.join_all(), passes);
        ticked += tasks;
    }
    assert!(ticked > 0 && ticked < 200, "{ticked} of 200 fired");
    assert_all_gone(&kit, &jobs).await;
}

async fn while_the_clock_moves_every_tick_is_made_or_counted_as_missed(kit: Kit) {
    let space = kit.a_space("s").await;
    let mut apps = Vec::new();
    for number in 0..20 {
        apps.push(kit.an_app(&space, &format!("a{number}")).await);
    }
    let crons: [&[&str]; 3] = [&[MINUTELY, "*/2 * * * *"], &["*/3 * * * *", "1-59/2 * * * *"], &["*/7 * * * *"]];
    let mut jobs = Vec::new();
    for number in 0..300 {
        let policy = ConcurrencyPolicy::ALL[number / 3 % 3];
        jobs.push(made_job(&kit, &apps[number % 20], &format!("j{number}"), policy, crons[number % 3]).await);
    }
    let begin = kit.now();
    let kit = Arc::new(kit);
    let mut workers = JoinSet::new();
    for (worker, app) in apps.into_iter().enumerate().take(8) {
        let (kit, space) = (Arc::clone(&kit), space.clone());
        workers.spawn(async move {
            for turn in 0..8 {
                // One of them moves the clock while the others are in the middle of something.
                if turn == worker {
                    kit.advance(75);
                }
                drain(&kit.store, 40).await;
                kit.store.task_accept(kit.a_birth(&space, &app), None).await.unwrap();
            }
        });
    }
    workers.join_all().await;
    drain(&kit.store, 500).await;

    let made = tasks_of(&kit, None).await;
    let mut ids: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for task in &made {
        ids.entry(task.name.app.to_string()).or_default().push(task.name.id);
    }
    for (app, ids) in &mut ids {
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(1..=ids.len() as u64), "numbers of App {app}: {ids:?}");
    }
    let mut of_ticks: Vec<_> = made.iter().filter(|task| task.job.is_some()).map(|task| task.uid.0).collect();
    let mut entered = Vec::new();
    for job in &jobs {
        let mut runs = kit.store.job_runs_list(&job.name, None, 1000).await.unwrap();
        runs.reverse();
        let view = kit.store.job_get(&job.name).await.unwrap();
        for schedule in view.schedules {
            let plan = &schedule.plan.recurrence;
            let mut decided = begin;
            for run in &runs {
                let Some(tick) = run.tick.as_ref().filter(|tick| tick.schedule_uid == schedule.uid) else { continue };
                assert!(tick.at > decided && tick.at <= run.at, "{} went back, or ahead", schedule.name);
                // Counted by hand: what was passed over is all that lies between.
                let (mut at, mut owed) = (decided, 0);
                while at < tick.at {
                    (at, owed) = (plan.next(at).unwrap(), owed + 1);
                }
                assert_eq!((at, owed), (tick.at, run.missed + 1), "{}", schedule.name);
                decided = tick.at;
                if let RunOutcome::Started { uid, .. } = run.outcome {
                    assert_eq!(uid, TaskUid::scheduled(schedule.uid, tick.at));
                    entered.push(uid.0);
                }
            }
            assert!(plan.next(decided).is_some_and(|next| next > kit.now()), "{} owes a tick", schedule.name);
        }
    }
    of_ticks.sort_unstable();
    entered.sort_unstable();
    assert_eq!(of_ticks, entered);
    assert_eq!(made.len(), entered.len() + 64);
}

async fn a_newer_replacement_takes_the_place_of_one_that_waits(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = made_job(&kit, &app, "j", ConcurrencyPolicy::Replace, &[MINUTELY]).await;
    let session = kit.a_session("e").await;
    let claim = || kit.store.work_claim(session.uid, 10);
    // Two that were asked for are there already; what replaces waits for both.
    for _ in 0..2 {
        run(&kit.store, &job.name, TaskUid(kit.uid()), kit.now(), None).await.unwrap();
    }
    assert_eq!(claim().await.unwrap(), 2, "what is asked for waits for nobody");
    let mut older = Vec::new();
    for task in tasks_of(&kit, None).await {
        older.push(kit.running(&task).await.name);
    }
    for _ in 0..2 {
        kit.advance(60);
        drain(&kit.store, 10).await;
        assert_eq!(claim().await.unwrap(), 0);
    }
    let states: Vec<_> = tasks_of(&kit, None).await.iter().map(|task| task.state.kind()).collect();
    let expected = [StateKind::Cancelling, StateKind::Cancelling, StateKind::Cancelled, StateKind::Pending];
    assert_eq!(states, expected);
    for (over, name) in older.iter().enumerate() {
        assert_eq!(claim().await.unwrap(), 0, "{over} of 2 are over");
        let task = kit.store.task_get(name).await.unwrap();
        kit.observed(&task, kit.end(&task, 0)).await;
    }
    assert_eq!(claim().await.unwrap(), 1);
    let held = kit.store.work_held(session.uid).await.unwrap();
    assert_eq!(held.iter().map(|held| held.task.name.id).collect::<Vec<_>>(), [4]);
}

async fn thirty_two_writers_make_one_chain_of_versions(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = made_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[]).await;
    let mut writers = JoinSet::new();
    for writer in 0..32 {
        let (store, name, at) = (kit.store.clone(), job.name.clone(), kit.now());
        writers.spawn(async move {
            loop {
                let job = store.job_get(&name).await.unwrap().job;
                let mut template = job.template.clone();
                template.labels.extend(Labels::from([(format!("w{writer}"), "x".into())]));
                let change = job.update(template, ConcurrencyPolicy::Always, at).unwrap().unwrap();
                match store.job_commit(change, None).await {
                    Ok(committed) => return committed.job.version,
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let mut versions = writers.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (2..=33).collect::<Vec<_>>());
    let job = kit.store.job_get(&job.name).await.unwrap().job;
    assert_eq!((job.version, job.sequence, job.template.labels.len()), (33, 33, 32));
}

async fn twenty_runs_at_once_with_one_key_make_one_task(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = made_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[]).await;
    let key = RequestKey { principal: "anna".into(), key: "k".into(), hash: [1; 32] };
    let uid = TaskUid::requested(space.uid, "anna", "k");
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (store, name, key, at) = (kit.store.clone(), job.name.clone(), key.clone(), kit.now());
        calls.spawn(async move { run(&store, &name, uid, at, Some(&key)).await.unwrap() });
    }
    let tasks = calls.join_all().await;
    assert!(tasks.iter().all(|task| *task == tasks[0]));
    assert_eq!(tasks_of(&kit, Some(&job.name)).await.len(), 1);
    assert_eq!(kit.store.job_get(&job.name).await.unwrap().job.sequence, 2);
}

async fn jobs_that_cannot_go_do_not_use_up_the_turns_of_others(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    for text in ["bad1", "good1", "bad2", "good2"] {
        let job = made_job(&kit, &app, text, ConcurrencyPolicy::Always, &[]).await;
        run(&kit.store, &job.name, TaskUid(kit.uid()), kit.now(), None).await.unwrap();
        delete(&kit.store, &job.name, kit.now()).await;
    }
    kit.execute("UPDATE tasks SET reason = 'BAD_LUCK' WHERE job LIKE 'bad%'").await;
    kit.reaped().await;
    let left = kit.store.job_list(&the_space(), None, 10).await.unwrap();
    assert_eq!(left.iter().map(|view| view.job.name.job.as_str()).collect::<Vec<_>>(), ["bad1", "bad2"]);
}

async fn a_due_time_that_cannot_be_read_does_not_stop_the_clock_for_all(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let bad = made_job(&kit, &app, "bad", ConcurrencyPolicy::Always, &[MINUTELY]).await;
    let good = made_job(&kit, &app, "good", ConcurrencyPolicy::Always, &[MINUTELY]).await;
    kit.execute("UPDATE schedules SET next_at = -9223372036854775807 WHERE job = 'bad'").await;
    kit.advance(60);
    drain(&kit.store, 10).await;
    assert_eq!(tasks_of(&kit, Some(&good.name)).await.len(), 1);
    assert_eq!(tasks_of(&kit, Some(&bad.name)).await.len(), 0);
    assert_eq!(kit.store.ticks_next_due().await.unwrap(), Some(Duration::from_secs(60)));
    kit.advance(60);
    drain(&kit.store, 10).await;
    assert_eq!(tasks_of(&kit, Some(&bad.name)).await.len(), 1, "its time was set to one that can be read");
}

async fn three_thousand_schedules_due_at_once_drain_in_few_passes(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let kit = Arc::new(kit);
    let mut makers = JoinSet::new();
    for maker in 0..8 {
        let (kit, app) = (Arc::clone(&kit), app.clone());
        makers.spawn(async move {
            for number in 0..375 {
                made_job(&kit, &app, &format!("j{maker}-{number}"), ConcurrencyPolicy::Forbid, &[MINUTELY]).await;
            }
        });
    }
    makers.join_all().await;
    kit.advance(60);
    let (mut passes, mut tasks, mut more) = (0, 0, true);
    while more {
        let ticked = pass(&kit.store, 500).await;
        (passes, tasks, more) = (passes + 1, tasks + ticked.tasks, ticked.more);
    }
    assert!(passes <= 3000 / 500 + 2, "{passes} passes");
    assert_eq!((tasks, tasks_of(&kit, None).await.len()), (3000, 3000));
    assert_eq!(kit.store.ticks_next_due().await.unwrap(), Some(Duration::from_secs(60)));
}
