//! Orders, given twice, late, and to a replica that has never heard of the run.

use std::time::Duration;

use taskplane_backend::{Backend, BackendError, Observation};
use taskplane_domain::env::Env;
use taskplane_domain::run::{EndCause, Fate, RunSpec};
use taskplane_domain::task::Reason;

use crate::admin::{all, kubectl};
use crate::kit::{Kit, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_run_again_is_the_same_run_and_stays_inert_until_it_is_released() {
    let kit = Kit::new().await;
    let other = Kit::new().await;
    let spec = kit.spec("echo once");
    let made = kit.backend.ensure(&spec).await.unwrap();
    assert_eq!(other.backend.ensure(&spec).await.unwrap().run, made.run);
    assert!(matches!(kit.backend.observe(&spec.key).await.unwrap(), Observation::Inert { .. }));
    assert_eq!(all("taskruns", &kit.namespace()).len(), 0);
    other.backend.release(&spec.key).await.unwrap();
    kit.backend.release(&spec.key).await.unwrap();
    assert_eq!(kit.end(&spec.key).await.exit.code, Some(0));
    kit.backend.release(&spec.key).await.unwrap();
    assert_eq!(kit.backend.ensure(&spec).await.unwrap().run, made.run);
    assert_eq!(all("pods", &kit.namespace()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_run_of_the_same_name_is_not_taken_for_ours() {
    let kit = Kit::new().await;
    let spec = kit.spec("true");
    kit.backend.ensure(&spec).await.unwrap();
    let changed = RunSpec { task_env: Env::stored([("A".to_owned(), "b".to_owned())]), ..spec };
    let refused = kit.backend.ensure(&changed).await.unwrap_err();
    assert!(matches!(refused, BackendError::NotMade { reason: Reason::NameCollision, .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_before_its_release_never_starts() {
    let kit = Kit::new().await;
    let spec = kit.spec("true");
    kit.backend.ensure(&spec).await.unwrap();
    kit.backend.cancel(&spec.key, None).await.unwrap();
    assert!(matches!(kit.backend.release(&spec.key).await, Err(BackendError::Absent)));
    assert_eq!(kit.over(&spec.key).await, Fate::NeverStarted);
    assert_eq!(all("taskruns,pods", &kit.namespace()).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_is_over_when_its_pod_is_gone() {
    let kit = Kit::new().await;
    let other = Kit::new().await;
    let spec = kit.spec("trap 'sleep 3; exit 0' TERM; echo up; while :; do sleep 1; done");
    kit.start(&spec).await;
    kit.running(&spec.key).await;
    // By a replica that did not make it.
    other.backend.cancel(&spec.key, None).await.unwrap();
    let end = kit.end(&spec.key).await;
    assert_eq!(end.cause, EndCause::Cancel);
    let live = all("pods", &kit.namespace());
    assert!(live.iter().all(|pod| pod["status"]["phase"] != "Running"), "{live:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_heed_the_signal_is_ended_by_force() {
    let kit = Kit::new().await;
    let spec = kit.spec("trap '' TERM; while :; do sleep 1; done");
    kit.start(&spec).await;
    kit.running(&spec.key).await;
    let begun = std::time::Instant::now();
    kit.backend.cancel(&spec.key, Some(Duration::from_secs(2))).await.unwrap();
    assert_eq!(kit.end(&spec.key).await.cause, EndCause::Cancel);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_run_that_was_removed() {
    let kit = Kit::new().await;
    let task_env = Env::stored([("A".to_owned(), "b".to_owned())]);
    let (one, two) = (RunSpec { task_env, ..kit.spec("true") }, kit.spec("true"));
    kit.run(&one).await;
    kit.run(&two).await;
    assert_eq!(all("secrets", &kit.namespace()).len(), 2);
    for spec in [&one, &two] {
        until("removed", async || kit.backend.remove(&spec.key).await.ok()).await;
        // Again, when there is nothing.
        kit.backend.remove(&spec.key).await.unwrap();
    }
    assert_eq!(all("pipelineruns,taskruns,pods", &kit.namespace()).len(), 0);
    until("secrets are gone", async || all("secrets", &kit.namespace()).is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_a_spaces_or_is_not_used() {
    let kit = Kit::new().await;
    kubectl(&["create", "namespace", &kit.namespace()]);
    let refused = kit.backend.ensure(&kit.spec("true")).await.unwrap_err();
    assert!(matches!(refused, BackendError::NotMade { .. }), "{refused}");
    assert!(refused.to_string().contains("no Space's"), "{refused}");
}
