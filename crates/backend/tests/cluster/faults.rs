//! What goes wrong in a cluster.

use taskplane_backend::Backend;
use taskplane_domain::run::{EndCause, Fate};
use taskplane_domain::task::Reason;

use crate::admin::kubectl;
use crate::kit::{Kit, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_deleted_behind_our_back_is_lost() {
    let kit = Kit::new().await;
    let spec = kit.spec("sleep 600");
    kit.start(&spec).await;
    kit.running(&spec.key).await;
    kubectl(&["delete", "pipelinerun", &spec.key.to_string(), "-n", &kit.namespace(), "--wait=false"]);
    let fate = kit.over(&spec.key).await;
    assert!(matches!(fate, Fate::Lost { .. }), "{fate:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_gracefully_is_killed() {
    let kit = Kit::new().await;
    let spec = kit.spec("sleep 600");
    kit.start(&spec).await;
    kit.running(&spec.key).await;
    kubectl(&[
        "delete",
        "pod",
        &format!("{}-task-pod", spec.key),
        "-n",
        &kit.namespace(),
        "--wait=false",
        "--grace-period=2",
    ]);
    let end = kit.end(&spec.key).await;
    assert!(matches!(end.cause, EndCause::Platform { reason: Reason::PodKilled, .. }), "{:?}", end.cause);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_takes_its_runs_along_and_is_not_used_meanwhile() {
    let kit = Kit::new().await;
    let spec = kit.spec("sleep 600");
    kit.start(&spec).await;
    kit.running(&spec.key).await;
    kubectl(&["delete", "namespace", &kit.namespace(), "--wait=false"]);
    let fate = kit.over(&spec.key).await;
    assert!(!matches!(fate, Fate::NeverStarted), "{fate:?}");
}

/// Alone, as everybody else's runs would wait for it too.
mod cluster_wide {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn while_the_webhook_is_down_runs_wait_and_then_start() {
        let kit = Kit::new().await;
        let (before, after) = (kit.spec("sleep 600"), kit.spec("echo late"));
        kit.start(&before).await;
        kit.running(&before.key).await;
        let webhook = |replicas: &str| {
            kubectl(&[
                "-n",
                "tekton-pipelines",
                "scale",
                "deployment/tekton-pipelines-webhook",
                &format!("--replicas={replicas}"),
            ]);
        };
        webhook("0");
        let gone = async || {
            let pods =
                kubectl(&["-n", "tekton-pipelines", "get", "pods", "-l", "app=tekton-pipelines-webhook", "-o", "name"]);
            pods.trim().is_empty().then_some(())
        };
        until("the webhook is gone", gone).await;
        let (making, cancelling) = (kit.backend.ensure(&after), kit.backend.cancel(&before.key, None));
        let back = async {
            tokio::time::sleep(std::time::Duration::from_secs(8)).await;
            webhook("1");
        };
        let (made, cancelled, ()) = tokio::join!(making, cancelling, back);
        if made.is_err() {
            until("made", async || kit.backend.ensure(&after).await.ok()).await;
        }
        if cancelled.is_err() {
            until("cancelled", async || kit.backend.cancel(&before.key, None).await.ok()).await;
        }
        kit.backend.release(&after.key).await.unwrap();
        assert_eq!(kit.end(&after.key).await.exit.code, Some(0));
        assert_eq!(kit.end(&before.key).await.cause, EndCause::Cancel);
    }
}
