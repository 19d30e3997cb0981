//! What stays in the cluster of a Task that is over, and for how long.

use std::time::Duration;

use taskplane_proto::v1 as pb;

use crate::admin::{all, kubectl};
use crate::stage::{PATIENCE, Stage, end, is_cancelled, run_of, succeeded};

/// Names of what is there.
fn names(stage: &Stage, kinds: &str) -> Vec<String> {
    let name = |object: &serde_json::Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    all(kinds, &stage.namespace()).iter().map(name).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn run_and_pod_of_a_task_stay_as_long_as_the_task_and_go_with_it() {
    let stage = Stage::cluster("runs_stay").await;
    let (goes, stays) = (stage.run("echo seen").await, stage.run("echo seen").await);
    for task in [&goes, &stays] {
        assert_eq!(end(&stage.over(&task.name).await), succeeded());
        let pod = format!("{}-task-pod", run_of(task));
        let log = kubectl(&["logs", "-n", &stage.namespace(), &pod, "-c", "step-run"]);
        assert_eq!(log, "seen\n", "the cluster's own tools show it too");
    }
    let request = pb::DeleteTaskRequest { name: goes.name.clone(), ..Default::default() };
    stage.client.tasks.clone().delete_task(request).await.unwrap();
    until("the deleted Task's objects are gone", || {
        !names(&stage, "pipelineruns,taskruns,pods").iter().any(|name| name.starts_with(&run_of(&goes)))
    })
    .await;
    assert_eq!(names(&stage, "pipelineruns"), [run_of(&stays)]);
    assert_eq!(stage.client.log(&stays.name).await, "seen\n");
}

#[tokio::test]
async fn the_pod_of_a_terminated_task_goes_and_its_log_stays() {
    let stage = Stage::cluster("terminated_pods").await;
    let task = stage.run("echo up; exec sleep 600").await;
    stage.running(&task.name).await;
    crate::inherits::wrote(&stage, &task.name, "up").await;
    stage.other.cancel(&task.name).await;
    assert!(is_cancelled(&stage.over(&task.name).await));
    until("the pod is gone", || names(&stage, "pods").is_empty()).await;
    assert_eq!(names(&stage, "pipelineruns"), [run_of(&task)]);
    assert_eq!(stage.client.log(&task.name).await, "up\n");
}
