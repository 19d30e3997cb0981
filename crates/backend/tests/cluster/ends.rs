//! How runs end.

use std::time::Duration;

use taskplane_backend::{Backend, BackendError, Observation};
use taskplane_domain::app::Source;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::{EndCause, Fate, RunSpec};
use taskplane_domain::service::{BoundService, ServiceSpec};
use taskplane_domain::task::{Class, Reason};

use crate::admin::kubectl;
use crate::kit::{Kit, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_code_is_the_commands_own() {
    let kit = Kit::new().await;
    for code in [0, 3] {
        let (end, _) = kit.run(&kit.spec(&format!("exit {code}"))).await;
        assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(code)));
        assert!(end.started_at.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_no_exit_code() {
    let kit = Kit::new().await;
    let (end, _) = kit.run(&kit.spec("kill -9 $$")).await;
    assert_eq!(end.exit.code, None);
    assert_eq!(end.cause, EndCause::Platform { reason: Reason::SignalledOr255, class: Class::User });
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_ends_a_command() {
    let kit = Kit::new().await;
    let resources = Resources { memory: "16Mi".parse().ok(), ..Resources::default() };
    let hungry = RunSpec { resources, ..kit.spec("exec tail /dev/zero") };
    let (end, _) = kit.run(&hungry).await;
    assert_eq!((end.cause, end.exit.code), (EndCause::OutOfMemory, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_the_tasks_own_and_none_outlives_the_clusters_default() {
    let kit = Kit::new().await;
    let short = RunSpec { timeout: Some(Duration::from_secs(3)), ..kit.spec("echo up; sleep 600") };
    // The rig's default is a minute.
    let long = kit.spec("sleep 75; echo done");
    kit.start(&long).await;
    let (end, output) = kit.run(&short).await;
    assert_eq!((end.cause, end.exit.code), (EndCause::Timeout, None));
    assert!(output.starts_with(b"up\n"));
    let end = kit.end(&long.key).await;
    assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_told() {
    let kit = Kit::new().await;
    let spec = RunSpec { source: Source::Image("localhost:1/none:1".into()), ..kit.spec("true") };
    let (end, _) = kit.run(&spec).await;
    assert!(matches!(end.cause, EndCause::Platform { reason: Reason::ImagePull, .. }), "{:?}", end.cause);
    assert_eq!(end.exit.code, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_somebody_elses_is_looked_for_first() {
    let kit = Kit::new().await;
    let service = ServiceSpec::parse("pg".into(), "".into(), vec![], "".into(), "not-there".into()).unwrap();
    let (binding, instance) = ("db".parse().unwrap(), "db".parse().unwrap());
    let spec = RunSpec {
        services: vec![BoundService { binding, instance, spec: service }],
        ..kit.spec("cat /bindings/db/uri")
    };
    let refused = kit.backend.ensure(&spec).await.unwrap_err();
    assert!(matches!(refused, BackendError::NotMade { reason: Reason::ConfigMissing, .. }), "{refused}");
    kubectl(&["create", "secret", "generic", "not-there", "--from-literal=uri=pg://x", "-n", &kit.namespace()]);
    let (_, output) = kit.run(&spec).await;
    assert_eq!(output, b"pg://x");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_waits_for_is_told_and_it_can_be_cancelled_meanwhile() {
    let kit = Kit::new().await;
    let resources = Resources { cpu: "500".parse().ok(), ..Resources::default() };
    let spec = RunSpec { resources, ..kit.spec("true") };
    kit.start(&spec).await;
    until("unschedulable", async || match kit.backend.observe(&spec.key).await.unwrap() {
        Observation::Waiting { wait, .. } => format!("{wait:?}").contains("Unschedulable").then_some(()),
        _ => None,
    })
    .await;
    kit.backend.cancel(&spec.key, None).await.unwrap();
    assert_eq!(kit.over(&spec.key).await, Fate::NeverStarted);

    kubectl(&[
        "patch",
        "resourcequota",
        "taskplane",
        "-n",
        &kit.namespace(),
        "--type=merge",
        "-p",
        r#"{"spec":{"hard":{"pods":"0"}}}"#,
    ]);
    let spec = kit.spec("true");
    kit.start(&spec).await;
    until("quota", async || match kit.backend.observe(&spec.key).await.unwrap() {
        Observation::Waiting { wait, .. } => format!("{wait:?}").contains("Quota").then_some(()),
        _ => None,
    })
    .await;
    kit.backend.cancel(&spec.key, None).await.unwrap();
    assert_eq!(kit.over(&spec.key).await, Fate::NeverStarted);
}
