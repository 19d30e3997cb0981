//! How Tasks end by themselves.

use std::time::Duration;

use taskplane_proto::v1::{self as pb, Reason, ReasonClass, TaskState};

use crate::stage::{Stage, end, failed, succeeded};

pub async fn success_and_failure_have_the_commands_own_exit_code(stage: Stage) {
    assert_eq!(stage.end_of("true").await, succeeded());
    for code in [3, 127] {
        let ended = stage.end_of(&format!("exit {code}")).await;
        assert_eq!(ended, failed(Reason::ExitCode, ReasonClass::User, Some(code)));
    }
}

pub async fn a_signal_is_the_commands_own_end_and_no_exit_code(stage: Stage) {
    let ended = stage.end_of("kill -9 $$").await;
    assert_eq!(ended, failed(stage.signalled(), ReasonClass::User, None));
}

pub async fn too_much_memory_ends_a_command(stage: Stage) {
    let ended = stage.end_of("exec tail /dev/zero").await;
    assert_eq!(ended, failed(Reason::OutOfMemory, ReasonClass::User, None));
}

pub async fn a_timeout_ends_a_command_and_without_one_it_runs_on(stage: Stage) {
    let timeout = Some(Duration::from_secs(3).try_into().unwrap());
    let short = pb::RunTaskRequest { timeout, ..stage.task("echo up; exec sleep 600") };
    // Longer than the minute that the rig's Tekton gives a run for which nothing is said.
    let long = stage.run("sleep 70").await;
    let short = stage.client.run_task(short).await.unwrap();
    let short = stage.over(&short.name).await;
    assert_eq!(end(&short), failed(Reason::TimedOut, ReasonClass::User, None));
    assert_eq!(stage.other.log(&short.name).await.lines().next(), Some("up"));
    assert_eq!(end(&stage.over(&long.name).await), succeeded());
}

pub async fn a_failure_is_tried_again_as_asked_and_each_attempt_is_remembered(stage: Stage) {
    let policy = pb::RetryPolicy {
        max_attempts: 3,
        backoff: Some(Duration::from_millis(100).try_into().unwrap()),
        retry_on: vec![ReasonClass::User as i32],
        retry_unknown: false,
    };
    let command = "echo attempt $TASKPLANE_ATTEMPT; [ $TASKPLANE_ATTEMPT -eq 2 ]";
    let task = pb::RunTaskRequest { retry_policy: Some(policy), ..stage.task(command) };
    let task = stage.client.run_task(task).await.unwrap();
    let task = stage.over(&task.name).await;
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 2));
    let first = &task.attempts[0];
    assert_eq!((first.reason(), first.reason_class(), first.exit_code), (Reason::ExitCode, ReasonClass::User, Some(1)));
    assert_eq!(stage.other.log(&task.name).await, "attempt 1\nattempt 2\n");
}
