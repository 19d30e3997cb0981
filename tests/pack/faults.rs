//! What goes wrong in a cluster, as its Tasks tell it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use taskplane_proto::v1::{self as pb, Reason, ReasonClass, TaskState, WaitReason};

use crate::admin::{kubectl, rig};
use crate::client::image_source;
use crate::stage::{IMAGE, Stage, end, failed, is_cancelled, run_of, succeeded};

const RUNS_ON: &str = "exec sleep 600";

async fn running(stage: &Stage) -> pb::Task {
    let task = stage.run(RUNS_ON).await;
    stage.running(&task.name).await
}

async fn waits_for(stage: &Stage, task: &pb::Task, wanted: WaitReason) {
    let waits = |task: &pb::Task| task.waiting.as_ref().is_some_and(|waiting| waiting.reason() == wanted);
    stage.reaches(&task.name, wanted.as_str_name(), waits).await;
}

async fn cancelled(stage: &Stage, task: &pb::Task) -> pb::Task {
    stage.other.cancel(&task.name).await;
    let task = stage.over(&task.name).await;
    assert!(is_cancelled(&task), "{task:?}");
    task
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told_while_it_is_tried_and_in_the_end() {
    let stage = Stage::cluster("image_not_there").await;
    let spec = pb::PushAppSpec { source: Some(image_source("localhost:1/none:1")), ..stage.spec("b") };
    stage.push_spec(spec, Vec::new()).await;
    let request = pb::RunTaskRequest { parent: format!("spaces/{}/apps/b", stage.space), ..stage.task("true") };
    let task = stage.client.run_task(request).await.unwrap();
    waits_for(&stage, &task, WaitReason::Pulling).await;
    let task = stage.over(&task.name).await;
    assert_eq!((task.state(), task.reason(), task.exit_code), (TaskState::Failed, Reason::ImagePull, None));
}

#[tokio::test]
async fn a_secret_that_is_not_there_fails_before_anything_is_made() {
    let stage = Stage::cluster("secret_not_there").await;
    let service = pb::ServiceInstance { secret_name: "not-there".into(), ..Default::default() };
    let parent = format!("spaces/{}", stage.space);
    let request =
        pb::CreateServiceInstanceRequest { parent: parent.clone(), service_id: "db".into(), service: Some(service) };
    stage.client.services.clone().create_service_instance(request).await.unwrap();
    let bound = vec![pb::PushedService { service: "db".into(), ..Default::default() }];
    let source = Some(image_source(IMAGE));
    stage.push_spec(pb::PushAppSpec { services: bound, source, ..stage.spec("b") }, Vec::new()).await;
    let request = pb::RunTaskRequest { parent: format!("{parent}/apps/b"), ..stage.task("true") };
    let task = stage.client.run_task(request).await.unwrap();
    let task = stage.over(&task.name).await;
    assert_eq!(end(&task), failed(Reason::ConfigMissing, ReasonClass::Configuration, None));
    assert!(task.message.contains("not-there"), "{}", task.message);
}

#[tokio::test]
async fn what_a_task_waits_for_is_told_and_it_can_be_cancelled_meanwhile() {
    let stage = Stage::cluster("waits_for").await;
    let resources = Some(pb::Resources { cpu: "500".into(), ..Default::default() });
    let huge = pb::RunTaskRequest { resources, ..stage.task("true") };
    let huge = stage.client.run_task(huge).await.unwrap();
    waits_for(&stage, &huge, WaitReason::Unschedulable).await;
    let nothing = r#"{"spec":{"hard":{"pods":"0"}}}"#;
    kubectl(&["patch", "resourcequota", "taskplane", "-n", &stage.namespace(), "--type=merge", "-p", nothing]);
    let barred = stage.run("true").await;
    waits_for(&stage, &barred, WaitReason::QuotaExceeded).await;
    for task in [huge, barred] {
        assert!(cancelled(&stage, &task).await.start_time.is_none(), "it never started");
    }
}

#[tokio::test]
async fn a_pod_that_is_deleted_while_its_command_runs_fails_the_task() {
    let stage = Stage::cluster("pod_deleted").await;
    let task = running(&stage).await;
    let pod = format!("{}-task-pod", run_of(&task));
    kubectl(&["delete", "pod", &pod, "-n", &stage.namespace(), "--wait=false", "--grace-period=2"]);
    let ended = end(&stage.over(&task.name).await);
    assert_eq!((ended.state, ended.reason, ended.exit_code), (TaskState::Failed, Reason::PodKilled, None));
}

#[tokio::test]
async fn a_run_that_is_deleted_behind_our_back_is_lost_once_and_not_run_again() {
    let stage = Stage::cluster("run_deleted").await;
    let policy = pb::RetryPolicy {
        max_attempts: 3,
        retry_on: vec![ReasonClass::Infrastructure as i32, ReasonClass::User as i32],
        ..Default::default()
    };
    let task = pb::RunTaskRequest { retry_policy: Some(policy), ..stage.task(RUNS_ON) };
    let task = stage.client.run_task(task).await.unwrap();
    stage.running(&task.name).await;
    kubectl(&["delete", "pipelinerun", &run_of(&task), "-n", &stage.namespace(), "--wait=false"]);
    let task = stage.over(&task.name).await;
    assert_eq!((end(&task), task.attempt), (failed(Reason::Lost, ReasonClass::Unknown, None), 1));
}

#[tokio::test]
async fn a_namespace_that_is_deleted_takes_its_tasks_along() {
    let stage = Stage::cluster("namespace_deleted").await;
    let task = running(&stage).await;
    kubectl(&["delete", "namespace", &stage.namespace(), "--wait=false"]);
    let task = stage.over(&task.name).await;
    assert_eq!(task.state(), TaskState::Failed, "{task:?}");
    assert!([Reason::Lost, Reason::PodKilled].contains(&task.reason()), "{task:?}");
}

/// Alone, as everybody else's Tasks would notice too.
mod alone {
    use std::time::Duration;

    use super::*;
    use crate::stage::PATIENCE;

    /// Holds a part of the cluster down until this is dropped.
    struct Held(&'static str);

    impl Held {
        async fn down(part: &'static str) -> Self {
            std::fs::write(rig().join(format!("run/parts/{part}.hold")), "").unwrap();
            signal(part, Signal::SIGKILL).await;
            Self(part)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(rig().join(format!("run/parts/{}.hold", self.0)));
        }
    }

    /// One that has just ended is started again by itself.
    async fn signal(part: &str, signal: Signal) {
        until("a part that runs", || {
            let pid = std::fs::read_to_string(rig().join("run/parts").join(part)).unwrap();
            pid.trim().parse().is_ok_and(|pid| kill(Pid::from_raw(pid), signal).is_ok())
        })
        .await;
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let look = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    #[tokio::test]
    async fn a_restart_of_tektons_controller_changes_nothing() {
        let stage = Stage::cluster("controller_restarts").await;
        let task = stage.run("echo ran; exec sleep 20").await;
        stage.running(&task.name).await;
        kubectl(&["-n", "tekton-pipelines", "delete", "pod", "-l", "app=tekton-pipelines-controller", "--wait=false"]);
        let next = stage.run("true").await;
        for task in [&task, &next] {
            let task = stage.over(&task.name).await;
            assert_eq!((end(&task), task.attempt), (succeeded(), 1));
        }
        assert_eq!(stage.client.log(&task.name).await, "ran\n");
    }

    #[tokio::test]
    async fn while_the_webhook_is_down_tasks_wait_and_cancels_are_not_forgotten() {
        let stage = Stage::cluster("webhook_down").await;
        let before = running(&stage).await;
        let scale = |replicas: &str| {
            let replicas = format!("--replicas={replicas}");
            kubectl(&["-n", "tekton-pipelines", "scale", "deployment/tekton-pipelines-webhook", &replicas]);
        };
        scale("0");
        until("the webhook is gone", || {
            let list = ["-n", "tekton-pipelines", "get", "pods", "-l", "app=tekton-pipelines-webhook", "-o", "name"];
            kubectl(&list).trim().is_empty()
        })
        .await;
        let after = stage.run("echo late").await;
        stage.other.cancel(&before.name).await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        let states = [&before, &after].map(|task| task.name.clone());
        for name in &states {
            let task = stage.client.get(name).await;
            assert!(!crate::client::is_final(task.state()), "{task:?}");
        }
        scale("1");
        assert!(is_cancelled(&stage.over(&before.name).await));
        let after = stage.over(&after.name).await;
        assert_eq!((end(&after), after.attempt), (succeeded(), 1));
    }

    #[tokio::test]
    async fn a_minute_without_apiserver_and_etcd_loses_and_repeats_nothing() {
        let stage = Stage::cluster("apiserver_down").await;
        let runs = stage.run("echo once; exec sleep 20").await;
        stage.running(&runs.name).await;
        let held = [Held::down("etcd").await, Held::down("apiserver").await];
        let meanwhile = stage.run("echo meanwhile").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(held);
        for (task, wrote) in [(runs, "once\n"), (meanwhile, "meanwhile\n")] {
            let task = stage.over(&task.name).await;
            assert_eq!((end(&task), task.attempt), (succeeded(), 1));
            assert_eq!(stage.client.log(&task.name).await, wrote);
        }
    }

    #[tokio::test]
    async fn nothing_is_told_to_be_cancelled_while_its_node_does_not_answer() {
        let stage = Stage::cluster("kubelet_stopped").await;
        let task = running(&stage).await;
        signal("kubelet", Signal::SIGSTOP).await;
        stage.other.cancel(&task.name).await;
        tokio::time::sleep(Duration::from_secs(25)).await;
        let meanwhile = stage.client.get(&task.name).await;
        signal("kubelet", Signal::SIGCONT).await;
        assert_eq!(meanwhile.state(), TaskState::Cancelling, "{meanwhile:?}");
        assert!(is_cancelled(&stage.over(&task.name).await));
    }
}
