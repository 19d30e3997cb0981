//! Ticks: each once, whoever makes them and whatever their clocks say; and what Jobs go through besides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use taskplane_domain::event::{Event, Fact, Subject};
use taskplane_domain::job::{
    ConcurrencyPolicy, Job, JobRun, Plan, RunJob, RunOutcome, ScheduleChange, decide, run_now,
};
use taskplane_domain::name::JobName;
use taskplane_domain::uid::{ScheduleUid, TaskUid};
use taskplane_store::{DatabaseClock, RequestKey, Store, StoreError, StoreOptions};
use tokio::task::JoinSet;

use crate::job_kit::{a_job, drain, job_name, tasks_of};
use crate::kit::{Kit, keys, name};

on_both_engines!(
    concurrent_passes_make_each_tick_once_and_miss_none,
    replicas_whose_clocks_disagree_make_no_tick_twice,
    a_thousand_schedules_due_at_once_drain_in_batches,
    a_replacing_task_is_handed_out_only_when_the_older_ones_are_over,
    a_run_and_a_deletion_at_once_leave_no_task,
    changes_of_one_job_are_one_order,
    a_repeated_request_id_runs_a_job_once,
    a_cursor_that_went_back_repeats_no_tick,
    a_job_that_cannot_be_read_does_not_hold_the_others_up,
    a_ledger_outlives_its_job_and_is_trimmed_after_its_time,
    an_app_with_jobs_is_not_deleted,
);

/// The same database, through a pool and a clock of its own; SQLite has one process, hence one pool.
async fn replica(kit: &Kit, clock: &Arc<AtomicI64>) -> Store {
    if kit.url.starts_with("sqlite") {
        return kit.store.clone();
    }
    let options = StoreOptions { max_connections: 4, clock: DatabaseClock::Manual(Arc::clone(clock)), secrets: keys() };
    Store::connect(&kit.url, options).await.unwrap()
}

async fn runs_of(kit: &Kit, job: &JobName) -> Vec<JobRun> {
    let mut runs = kit.store.job_runs_list(job, None, 10_000).await.unwrap();
    runs.reverse();
    runs
}

/// Everything that must hold of any history of these Jobs.
async fn check(kit: &Kit, jobs: &[Job]) {
    let events = kit.events("s").await;
    let mut sequences: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for Event { subject, sequence, .. } in events.iter().map(|(_, event)| event) {
        sequences.entry(subject.to_string()).or_default().push(*sequence);
    }
    for (subject, sequence) in &sequences {
        assert_eq!(*sequence, (1..=sequence.len() as u64).collect::<Vec<_>>(), "{subject}");
    }
    let tasks = tasks_of(kit, None).await;
    let mut ids: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for task in &tasks {
        assert!(ids.entry(task.name.app.to_string()).or_default().insert(task.name.id));
    }
    for (app, ids) in &ids {
        assert_eq!(*ids, (1..=ids.len() as u64).collect(), "numbers of App {app}");
    }
    let of_ticks: BTreeSet<_> = tasks
        .iter()
        .filter(|task| task.job.as_ref().is_some_and(|job| job.tick.is_some()))
        .map(|task| task.uid)
        .collect();
    let mut entered = BTreeSet::new();
    for job in jobs {
        let view = kit.store.job_get(&job.name).await.unwrap();
        let mut seen = BTreeSet::new();
        for run in runs_of(kit, &job.name).await {
            let Some(tick) = run.tick else { continue };
            assert!(seen.insert((tick.schedule.clone(), tick.at)), "{} has two entries for {}", job.name, tick.at);
            let schedule = view.schedules.iter().find(|schedule| schedule.uid == tick.schedule_uid).unwrap();
            assert_eq!(schedule.plan.recurrence.prev(tick.at), Some(tick.at), "a time that is on no plan");
            assert!(tick.at <= schedule.mark);
            if let RunOutcome::Started { uid, .. } = run.outcome {
                assert_eq!(uid, TaskUid::scheduled(tick.schedule_uid, tick.at));
                entered.insert(uid);
            }
        }
    }
    assert_eq!(of_ticks, entered, "Tasks of ticks, and entries that made one");
}

async fn concurrent_passes_make_each_tick_once_and_miss_none(kit: Kit) {
    let space = kit.a_space("s").await;
    let mut apps = Vec::new();
    for number in 0..5 {
        apps.push(kit.an_app(&space, &format!("a{number}")).await);
    }
    let mut jobs = Vec::new();
    for number in 0..60 {
        let crons: &[&str] = [&["* * * * *"][..], &["*/2 * * * *", "*/3 * * * *"][..], &["0 * * * *"][..]][number % 3];
        jobs.push(a_job(&kit, &apps[number % 5], &format!("j{number}"), ConcurrencyPolicy::Always, crons).await);
    }
    let begin = kit.now();
    for _ in 0..6 {
        kit.advance(60);
        let mut workers = JoinSet::new();
        for worker in 0..8 {
            let (store, birth) = (kit.store.clone(), kit.a_birth(&space, &apps[worker % 5]));
            workers.spawn(async move {
                // Others take numbers of the same Apps meanwhile.
                store.task_accept(birth, None).await.unwrap();
                drain(&store, 7).await;
            });
        }
        workers.join_all().await;
    }
    drain(&kit.store, 500).await;
    check(&kit, &jobs).await;
    for job in &jobs {
        let view = kit.store.job_get(&job.name).await.unwrap();
        let expected: BTreeSet<(String, Timestamp)> = view
            .schedules
            .iter()
            .flat_map(|schedule| {
                let ticks = schedule.plan.recurrence.between(begin, kit.now(), 1000);
                ticks.into_iter().map(|tick| (schedule.name.schedule.to_string(), tick.at))
            })
            .collect();
        let runs = runs_of(&kit, &job.name).await;
        let made: BTreeSet<_> =
            runs.iter().filter_map(|run| run.tick.as_ref()).map(|tick| (tick.schedule.to_string(), tick.at)).collect();
        assert_eq!(made, expected, "{}", job.name);
    }
}

async fn replicas_whose_clocks_disagree_make_no_tick_twice(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let mut jobs = Vec::new();
    for (number, policy) in ConcurrencyPolicy::ALL.into_iter().cycle().take(9).enumerate() {
        jobs.push(a_job(&kit, &app, &format!("j{number}"), policy, &["* * * * *"]).await);
    }
    let clocks: Vec<_> = [-300, 0, 300].map(|ahead| (ahead, Arc::new(AtomicI64::new(0)))).into();
    let mut replicas = Vec::new();
    for (_, clock) in &clocks {
        replicas.push(replica(&kit, clock).await);
    }
    for _ in 0..5 {
        kit.advance(90);
        for (ahead, clock) in &clocks {
            clock.store(kit.now().as_microsecond() + ahead * 1_000_000, Ordering::SeqCst);
        }
        let passes = replicas.iter().cloned().map(|store| async move { drain(&store, 4).await });
        JoinSet::from_iter(passes).join_all().await;
    }
    check(&kit, &jobs).await;
}

async fn a_thousand_schedules_due_at_once_drain_in_batches(kit: Kit) {
    let space = kit.a_space("s").await;
    let mut apps = Vec::new();
    for number in 0..10 {
        apps.push(kit.an_app(&space, &format!("a{number}")).await);
    }
    let minutely = ["* * * * *"; 10];
    for number in 0..100 {
        a_job(&kit, &apps[number % 10], &format!("j{number}"), ConcurrencyPolicy::Always, &minutely).await;
    }
    kit.advance(60);
    assert!(drain(&kit.store, 40).await <= 4);
    assert_eq!(tasks_of(&kit, None).await.len(), 1000);
    assert!(kit.store.ticks_next_due().await.unwrap().unwrap() > Duration::ZERO);
}

async fn a_replacing_task_is_handed_out_only_when_the_older_ones_are_over(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Replace, &["* * * * *"]).await;
    let session = kit.a_session("one").await;
    kit.advance(60);
    drain(&kit.store, 10).await;
    assert_eq!(kit.store.work_claim(session.uid, 10).await.unwrap(), 1, "nothing older is live");
    let old = kit.store.work_held(session.uid).await.unwrap().remove(0).task;
    let old = kit.running(&old).await;
    kit.advance(60);
    drain(&kit.store, 10).await;
    assert_eq!(kit.store.work_claim(session.uid, 10).await.unwrap(), 0, "the old one is still there");
    let cancelling = kit.store.task_get_by_uid(old.uid).await.unwrap();
    let end = kit.end(&cancelling, 0);
    kit.observed(&cancelling, end).await;
    assert_eq!(kit.store.work_claim(session.uid, 10).await.unwrap(), 1);
    check(&kit, &[job]).await;
}

async fn a_run_and_a_deletion_at_once_leave_no_task(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    for round in 0..30 {
        let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &["* * * * *"]).await;
        kit.advance(60);
        let run = async {
            let (store, uid) = (kit.store.clone(), TaskUid(kit.uid()));
            let scene = store.job_scene(&job.name, name("local")).await?;
            let now = store.now().await?;
            match run_now(scene, uid, RunJob::default(), None, now) {
                Ok(change) => store.job_commit(change, None).await.map(|_| ()),
                Err(_) => Ok(()),
            }
        };
        let tick = kit.store.ticks_pass(10, name("local"), decide);
        let delete = async {
            loop {
                let view = kit.store.job_get(&job.name).await.unwrap();
                let live = kit.store.job_scene(&job.name, name("local")).await.unwrap().live;
                let now = kit.store.now().await.unwrap();
                let change = view.job.delete(&view.schedules, live, Duration::ZERO, now).unwrap();
                match kit.store.job_commit(change, None).await {
                    Err(StoreError::Conflict(_)) => {}
                    done => return done.unwrap(),
                }
            }
        };
        let (_, _, _) = tokio::join!(run, tick, delete);
        drain(&kit.store, 10).await;
        // Nothing of it had started, so all of it is over: it goes at once.
        kit.reaped().await;
        assert!(matches!(kit.store.job_get(&job.name).await, Err(StoreError::NotFound(_))));
        let deleted = kit.events("s").await.into_iter().filter(|(_, event)| {
            event.fact == Fact::JobDeleted && event.uid == job.uid.0 && matches!(event.subject, Subject::Job(_))
        });
        assert_eq!(deleted.count(), 1, "round {round}");
        assert!(!kit.reap().await);
    }
    assert!(tasks_of(&kit, Some(&job_name("j"))).await.is_empty());
}

async fn changes_of_one_job_are_one_order(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[]).await;
    let mut writers = JoinSet::new();
    for number in 0..16 {
        let (store, name, uid) = (kit.store.clone(), job.name.clone(), ScheduleUid(kit.uid()));
        writers.spawn(async move {
            loop {
                let view = store.job_get(&name).await.unwrap();
                let plan = Plan::parse("", "0 0 1 1 *", "", Default::default(), None).unwrap();
                let id = format!("s{number}").parse().unwrap();
                let change = view.job.schedule(uid, id, plan, false, store.now().await.unwrap()).unwrap();
                match store.job_commit(change, None).await {
                    Err(StoreError::Conflict(_)) => {}
                    done => return done.map(|_| ()).unwrap(),
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(kit.store.job_get(&job.name).await.unwrap().schedules.len(), 16);
    check(&kit, &[job]).await;
}

async fn a_repeated_request_id_runs_a_job_once(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[]).await;
    let key = |hash| RequestKey { principal: "p".into(), key: "once".into(), hash: [hash; 32] };
    let run = |key: RequestKey| {
        let (store, job, uid) = (kit.store.clone(), job.name.clone(), TaskUid(kit.uid()));
        async move {
            let scene = store.job_scene(&job, name("local")).await.unwrap();
            let change = run_now(scene, uid, RunJob::default(), None, store.now().await.unwrap()).unwrap();
            store.job_commit(change, Some(key)).await
        }
    };
    let first = run(key(1)).await.unwrap();
    let again = run(key(1)).await.unwrap();
    assert_eq!(first.task.unwrap().uid, again.task.unwrap().uid);
    assert!(again.repeated && !first.repeated);
    assert!(matches!(run(key(2)).await, Err(StoreError::KeyReused)));
    assert_eq!(runs_of(&kit, &job.name).await.len(), 1);
}

async fn a_cursor_that_went_back_repeats_no_tick(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &["* * * * *"]).await;
    kit.advance(60);
    drain(&kit.store, 10).await;
    // As after a failover to a standby that lagged behind with the schedules' rows.
    kit.execute("UPDATE schedules SET mark = mark - 3600000000, next_at = mark - 3500000000").await;
    drain(&kit.store, 10).await;
    assert_eq!(runs_of(&kit, &job.name).await.len(), 1);
    check(&kit, &[job]).await;
}

async fn a_job_that_cannot_be_read_does_not_hold_the_others_up(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    a_job(&kit, &app, "bad", ConcurrencyPolicy::Always, &["* * * * *"]).await;
    let good = a_job(&kit, &app, "good", ConcurrencyPolicy::Always, &["* * * * *"]).await;
    kit.execute("UPDATE jobs SET policy = 'WHENEVER' WHERE name = 'bad'").await;
    kit.advance(60);
    drain(&kit.store, 10).await;
    assert_eq!(runs_of(&kit, &good.name).await.len(), 1);
    assert!(kit.store.ticks_next_due().await.unwrap().unwrap() > Duration::ZERO, "it is due again at once");
}

async fn a_ledger_outlives_its_job_and_is_trimmed_after_its_time(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &["* * * * *"]).await;
    kit.advance(60);
    drain(&kit.store, 10).await;
    let view = kit.store.job_get(&job.name).await.unwrap();
    let live = kit.store.job_scene(&job.name, name("local")).await.unwrap().live;
    let change = view.job.delete(&view.schedules, live, Duration::ZERO, kit.now()).unwrap();
    assert!(matches!(change.schedules()[0], ScheduleChange::Delete(_)));
    kit.store.job_commit(change, None).await.unwrap();
    kit.reaped().await;
    assert_eq!(runs_of(&kit, &job.name).await.len(), 1);
    assert_eq!(kit.store.ledger_trim(kit.now(), 10).await.unwrap(), 0, "not its time yet");
    kit.advance(1);
    assert_eq!(kit.store.ledger_trim(kit.now(), 10).await.unwrap(), 1);
    assert!(matches!(kit.store.job_runs_list(&job.name, None, 1).await, Err(StoreError::NotFound(_))));
}

async fn an_app_with_jobs_is_not_deleted(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[]).await;
    let refused = kit.delete_app(&app, false).await;
    assert!(matches!(refused, Err(StoreError::InUse { what, .. }) if what == "1 job"));
}
