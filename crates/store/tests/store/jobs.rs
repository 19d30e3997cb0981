//! What one Job must not do to the others, and others not to it.

use std::time::Duration;

use taskplane_domain::job::{ConcurrencyPolicy, Job, RunJob, TaskTemplate, decide, run_now};
use taskplane_domain::uid::{JobUid, TaskUid};
use taskplane_store::StoreError;

use crate::job_kit::{a_job, job_name, pass};
use crate::kit::{Kit, both, name};

on_both_engines!(
    a_job_is_never_left_without_its_app,
    a_job_that_cannot_be_written_does_not_hold_the_others_up,
    a_job_that_cannot_be_read_does_not_keep_others_from_being_cleared,
    a_report_at_the_moment_of_a_replacing_tick_fails_neither,
);

async fn ticks(kit: &Kit, text: &str) -> usize {
    let runs = kit.store.job_runs_list(&job_name(text), None, 1000).await.unwrap();
    runs.iter().filter(|run| run.tick.is_some()).count()
}

async fn a_job_is_never_left_without_its_app(kit: Kit) {
    let space = kit.a_space("s").await;
    for round in 0..60 {
        let app = kit.an_app(&space, &format!("a{round}")).await;
        let gone = app.clone().delete(kit.now()).unwrap();
        let uid = JobUid(kit.uid());
        let named = job_name(&format!("j{round}"));
        let new = Job::create((uid, named), &app, TaskTemplate::default(), ConcurrencyPolicy::Always, kit.now());
        let deletion = kit.store.app_delete(&gone, false);
        let (deleted, made) = both(round % 2 == 0, deletion, kit.store.job_create(new)).await;
        assert!(deleted.is_err() || made.is_err(), "round {round}: a Job without its App");
    }
}

async fn a_job_that_cannot_be_written_does_not_hold_the_others_up(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    for text in ["bad", "good"] {
        a_job(&kit, &app, text, ConcurrencyPolicy::Always, &["* * * * *"]).await;
    }
    // Its next event would be one that is there already.
    kit.execute("UPDATE jobs SET sequence = 1 WHERE name = 'bad'").await;
    for _ in 0..3 {
        kit.advance(60);
        pass(&kit.store, 10).await;
    }
    assert_eq!(ticks(&kit, "good").await, 3);
    assert_eq!(ticks(&kit, "bad").await, 0);
    assert!(kit.store.ticks_next_due().await.unwrap().unwrap() > Duration::ZERO, "it is tried without end");
}

async fn a_job_that_cannot_be_read_does_not_keep_others_from_being_cleared(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    for text in ["bad", "good"] {
        let job = a_job(&kit, &app, text, ConcurrencyPolicy::Always, &[]).await;
        let change = job.delete(&[], Vec::new(), Duration::ZERO, kit.now()).unwrap();
        kit.store.job_commit(change, None).await.unwrap();
    }
    kit.execute("UPDATE jobs SET policy = 'MAYBE' WHERE name = 'bad'").await;
    kit.reaped().await;
    assert!(matches!(kit.store.job_get(&job_name("good")).await, Err(StoreError::NotFound(_))));
}

async fn a_report_at_the_moment_of_a_replacing_tick_fails_neither(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Replace, &["* * * * *"]).await;
    a_job(&kit, &app, "other", ConcurrencyPolicy::Always, &["* * * * *"]).await;
    for round in 1..=20 {
        let scene = kit.store.job_scene(&job.name, name("local")).await.unwrap();
        let change = run_now(scene, TaskUid(kit.uid()), RunJob::default(), None, kit.now()).unwrap();
        let task = kit.store.job_commit(change, None).await.unwrap().task.unwrap();
        let running = kit.running(&task).await;
        kit.advance(60);
        let end = running.clone().observe(kit.end(&running, 0), kit.now()).unwrap().unwrap();
        let pass = kit.store.ticks_pass(500, name("local"), decide);
        let (pass, report) = both(round % 2 == 0, pass, kit.store.task_commit(&end)).await;
        pass.unwrap();
        assert!(matches!(report, Ok(()) | Err(StoreError::Conflict(_))), "{report:?}");
        assert_eq!((ticks(&kit, "j").await, ticks(&kit, "other").await), (round, round));
    }
}
