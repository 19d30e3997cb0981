//! Runs that outlive their executor, against a real api and database: taken over once, started once, told once. And what their
//! guards are answered.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say so at once")]

mod scene;
mod tickets;

macro_rules! on_both_engines {
    ($guards:expr; $($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::within_reason(super::$name(crate::scene::on_sqlite($guards).await)).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::within_reason(super::$name(crate::scene::on_postgres($guards).await)).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;

use std::time::Duration;

use scene::Scene;
use taskplane_domain::task::{Outcome, StateKind, TaskState};
use taskplane_proto::v1 as pb;
use taskplane_testkit::cluster::Phase;

on_both_engines![false;
    a_killed_executors_run_is_followed_by_another,
    a_run_that_was_made_and_not_started_is_let_go_by_whoever_takes_it_over,
    an_end_that_is_asked_for_while_nobody_follows_is_seen_to,
    an_orderly_stop_hands_over_what_runs_and_touches_nothing,
    a_run_that_ends_while_nobody_looks_is_told_by_the_next,
    an_executor_that_was_away_for_too_long_touches_nothing_more,
    an_executor_that_comes_back_goes_on_with_its_runs,
    an_attempt_follows_only_when_the_one_before_is_gone,
];

async fn within_reason(test: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test takes too long");
}

fn outcome(task: &taskplane_domain::task::Task) -> &Outcome {
    let TaskState::Finished { outcome, .. } = &task.state else { panic!("{:?}", task.state) };
    outcome
}

async fn a_killed_executors_run_is_followed_by_another(scene: Scene) {
    let first = scene.agent("e").await;
    let (name, key) = scene.run_task(None).await;
    scene.cluster.run_when(key, |run| run.phase == Phase::Running).await;
    scene.task_when(key, |task| task.state.kind() == StateKind::Running).await;
    scene.cluster.write(key, "one\n");
    assert_eq!(scene.log_of(&name, 4).await, "one\n");
    first.kill();
    scene.cluster.write(key, "two\n");
    scene.a_lease_of_silence().await;
    let _second = scene.agent("f").await;
    assert_eq!(scene.log_of(&name, 8).await, "one\ntwo\n");
    scene.cluster.ends(key, 0);
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!(outcome(&task), &Outcome::Succeeded);
    let run = scene.cluster.run_when(key, |run| run.removed).await;
    assert_eq!((run.made, run.released, run.cancelled), (1, 1, 0));
    scene.end().await;
}

async fn a_run_that_was_made_and_not_started_is_let_go_by_whoever_takes_it_over(scene: Scene) {
    scene.cluster.hold_releases(true);
    let first = scene.agent("e").await;
    let (_, key) = scene.run_task(None).await;
    scene.task_when(key, |task| task.state.kind() == StateKind::Starting).await;
    first.kill();
    scene.cluster.hold_releases(false);
    assert_eq!(scene.cluster.run(key).unwrap().phase, Phase::Inert);
    scene.a_lease_of_silence().await;
    let _second = scene.agent("f").await;
    scene.task_when(key, |task| task.state.kind() == StateKind::Running).await;
    scene.cluster.ends(key, 3);
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!(outcome(&task).exit().code, Some(3));
    let run = scene.cluster.run(key).unwrap();
    assert_eq!((run.made, run.released), (1, 1));
    scene.end().await;
}

async fn an_end_that_is_asked_for_while_nobody_follows_is_seen_to(scene: Scene) {
    let first = scene.agent("e").await;
    let (name, key) = scene.run_task(None).await;
    scene.task_when(key, |task| task.state.kind() == StateKind::Running).await;
    first.kill();
    scene.cancel(&name).await;
    scene.a_lease_of_silence().await;
    let _second = scene.agent("f").await;
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!(task.state.kind(), StateKind::Cancelled);
    assert_eq!(scene.cluster.run(key).unwrap().cancelled, 1);
    scene.end().await;
}

async fn an_orderly_stop_hands_over_what_runs_and_touches_nothing(scene: Scene) {
    let mut first = scene.agent("e").await;
    let _second = scene.agent("f").await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        let (name, key) = scene.run_task(None).await;
        scene.task_when(key, |task| task.state.kind() == StateKind::Running).await;
        keys.push((name, key));
    }
    first.stop().await.unwrap();
    for (name, key) in &keys {
        scene.cluster.write(*key, "on\n");
        assert_eq!(scene.log_of(name, 3).await, "on\n");
        scene.cluster.ends(*key, 0);
        let task = scene.task_when(*key, |task| task.state.kind().is_final()).await;
        assert_eq!(outcome(&task), &Outcome::Succeeded);
        let run = scene.cluster.run(*key).unwrap();
        assert_eq!((run.made, run.released, run.cancelled), (1, 1, 0));
    }
    scene.end().await;
}

async fn a_run_that_ends_while_nobody_looks_is_told_by_the_next(scene: Scene) {
    let mut first = scene.agent("e").await;
    let (_, key) = scene.run_task(None).await;
    scene.task_when(key, |task| task.state.kind() == StateKind::Running).await;
    first.stop().await.unwrap();
    scene.cluster.ends(key, 0);
    let _second = scene.agent("f").await;
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!(outcome(&task), &Outcome::Succeeded);
    scene.end().await;
}

async fn an_executor_that_was_away_for_too_long_touches_nothing_more(scene: Scene) {
    let mut first = scene.agent("e").await;
    let (_, key) = scene.run_task(None).await;
    scene.task_when(key, |task| task.state.kind() == StateKind::Running).await;
    // It lives on, and the control plane does not know; unless a heartbeat comes just before anybody takes over.
    let mut others = Vec::new();
    let gave_up = loop {
        scene.a_lease_of_silence().await;
        others.push(scene.agent(&format!("f-{}", others.len())).await);
        if let Ok(gave_up) = tokio::time::timeout(Duration::from_secs(8), first.gave_up()).await {
            break gave_up;
        }
    };
    assert!(gave_up.to_string().starts_with("the session is over"), "{gave_up}");
    let run = scene.cluster.run(key).unwrap();
    assert_eq!((run.phase, run.cancelled, run.removed), (Phase::Running, 0, false));
    scene.cluster.ends(key, 0);
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!(outcome(&task), &Outcome::Succeeded);
    scene.end().await;
}

async fn an_executor_that_comes_back_goes_on_with_its_runs(scene: Scene) {
    let first = scene.agent("e").await;
    let (name, key) = scene.run_task(None).await;
    scene.task_when(key, |task| task.state.kind() == StateKind::Running).await;
    first.kill();
    // No lease needs to lapse: nobody else has its name.
    let _again = scene.agent("e").await;
    scene.cluster.write(key, "again\n");
    assert_eq!(scene.log_of(&name, 6).await, "again\n");
    scene.cluster.ends(key, 0);
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!(outcome(&task), &Outcome::Succeeded);
    assert_eq!(scene.cluster.run(key).unwrap().made, 1);
    scene.end().await;
}

async fn an_attempt_follows_only_when_the_one_before_is_gone(scene: Scene) {
    let first = scene.agent("e").await;
    let retry = pb::RetryPolicy {
        max_attempts: 2,
        backoff: Some(Default::default()),
        retry_on: vec![pb::ReasonClass::User as i32],
        ..Default::default()
    };
    let (_, key) = scene.run_task(Some(retry)).await;
    scene.task_when(key, |task| task.state.kind() == StateKind::Running).await;
    first.kill();
    scene.a_lease_of_silence().await;
    let _second = scene.agent("f").await;
    let next = taskplane_domain::run::RunKey { attempt: 2, ..key };
    assert!(scene.cluster.run(next).is_none(), "the first one still runs");
    scene.cluster.ends(key, 1);
    scene.cluster.run_when(next, |run| run.phase == Phase::Running).await;
    assert!(scene.cluster.run(key).unwrap().phase != Phase::Running);
    scene.cluster.ends(next, 0);
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!((outcome(&task), task.attempt), (&Outcome::Succeeded, 2));
    scene.end().await;
}
