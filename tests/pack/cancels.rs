//! Tasks that are ended, at every stage of their lives.

use std::time::Duration;

use taskplane_proto::v1::{self as pb, TaskState};

use crate::stage::{Stage, end, is_cancelled, succeeded};

async fn cancel(stage: &Stage, name: &str, grace: Option<Duration>) {
    let grace = grace.map(|grace| grace.try_into().unwrap());
    let request = pb::CancelTaskRequest { name: name.into(), grace, ..Default::default() };
    stage.other.tasks.clone().cancel_task(request).await.unwrap();
}

pub async fn what_was_not_handed_out_is_cancelled_at_once(stage: Stage) {
    let quota = Some(pb::SpaceQuota { running_tasks: 1, ..Default::default() });
    let space = pb::Space { name: format!("spaces/{}", stage.space), quota, ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["quota".into()] });
    let request = pb::UpdateSpaceRequest { space: Some(space), update_mask };
    stage.client.spaces.clone().update_space(request).await.unwrap();
    let first = stage.run("exec sleep 600").await;
    stage.running(&first.name).await;
    let waits = stage.run("exec sleep 600").await;
    assert_eq!(stage.client.get(&waits.name).await.state(), TaskState::Pending);
    cancel(&stage, &waits.name, None).await;
    let waits = stage.client.get(&waits.name).await;
    assert!(is_cancelled(&waits) && waits.start_time.is_none(), "{waits:?}");
    cancel(&stage, &first.name, None).await;
    assert!(is_cancelled(&stage.over(&first.name).await));
}

pub async fn what_is_about_to_start_never_starts_or_is_ended(stage: Stage) {
    let mut tasks = Vec::new();
    for delay in [0, 50, 150, 400, 900] {
        let task = stage.run("echo ran; exec sleep 600").await;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        cancel(&stage, &task.name, None).await;
        // Again: it changes nothing.
        cancel(&stage, &task.name, None).await;
        tasks.push(task);
    }
    for task in tasks {
        let task = stage.over(&task.name).await;
        assert!(is_cancelled(&task), "{task:?}");
        if task.start_time.is_none() {
            assert_eq!(stage.client.log(&task.name).await, "", "it never started");
        }
    }
}

pub async fn what_runs_is_ended_and_its_log_stays(stage: Stage) {
    let task = stage.run("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.2; done").await;
    stage.running(&task.name).await;
    crate::inherits::wrote(&stage, &task.name, "up").await;
    cancel(&stage, &task.name, Some(Duration::from_secs(20))).await;
    let task = stage.over(&task.name).await;
    assert!(is_cancelled(&task), "{task:?}");
    let log = stage.client.log(&task.name).await;
    assert_eq!(log.lines().filter(|line| ["up", "bye"].contains(line)).collect::<Vec<_>>(), ["up", "bye"]);
}

pub async fn what_does_not_heed_the_signal_is_ended_by_force(stage: Stage) {
    let task = stage.run("trap '' TERM; echo up; while :; do sleep 0.2; done").await;
    stage.running(&task.name).await;
    crate::inherits::wrote(&stage, &task.name, "up").await;
    cancel(&stage, &task.name, Some(Duration::from_secs(1))).await;
    let task = stage.over(&task.name).await;
    assert!(is_cancelled(&task), "{task:?}");
}

pub async fn an_end_that_came_first_stays_what_it_was(stage: Stage) {
    let task = stage.run("true").await;
    let task = stage.over(&task.name).await;
    cancel(&stage, &task.name, None).await;
    assert_eq!(end(&stage.client.get(&task.name).await), succeeded());
}
