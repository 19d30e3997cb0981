//! The whole system at work, through one api and the other, and when one of each is killed.

use std::time::Duration;

use taskplane_proto::v1::{self as pb, TaskState};

use crate::client::{archive, archive_source, is_final, spec};
use crate::kit::{System, TWO_OF_EACH};
use crate::server::within;

#[tokio::test]
async fn what_one_api_is_told_the_other_knows_and_both_are_served_by_all_executors() {
    let system = System::start(TWO_OF_EACH).await;
    let (one, other) = (system.client("api-1"), system.client("api-2"));
    one.app(&[("hello.sh", "echo hello from $TASKPLANE_TASK_ID")]).await;
    let pushed = spec("b", archive_source());
    other.push(pushed, archive(&[("x", "content of x")])).await.unwrap();

    let (through_one, through_other) = (one.run("sh hello.sh").await, other.run("sh hello.sh").await);
    assert_eq!(other.over(&through_one.name).await.state(), TaskState::Succeeded);
    assert_eq!(one.over(&through_other.name).await.state(), TaskState::Succeeded);
    assert!(other.log(&through_one.name).await.starts_with("hello from"));
    let task = pb::RunTaskRequest { parent: "spaces/s/apps/b".into(), command: "cat x".into(), ..Default::default() };
    let task = one.run_task(task).await.unwrap();
    other.over(&task.name).await;
    assert_eq!(one.log(&task.name).await, "content of x\n");

    // One that runs is seen, followed while it writes, and ended through whichever.
    let running = one.run("echo before; while [ ! -e go ]; do sleep 0.1; done; sleep 1000").await;
    other.running(&running.name).await;
    for client in [&one, &other] {
        let request = pb::StreamLogsRequest { name: running.name.clone(), follow: true, ..Default::default() };
        let mut lines = client.tasks.clone().stream_logs(request).await.unwrap().into_inner();
        let first = within(lines.message()).await.unwrap().unwrap();
        assert_eq!(first.lines[0].content, "before");
    }
    other.cancel(&running.name).await;
    assert_eq!(one.over(&running.name).await.state(), TaskState::Cancelled);
}

#[tokio::test]
async fn when_one_of_each_is_killed_the_others_go_on() {
    let mut system = System::start(TWO_OF_EACH).await;
    let (one, other) = (system.client("api-1"), system.client("api-2"));
    one.app(&[("x", "x")]).await;
    let job = pb::Job {
        app: "spaces/s/apps/a".into(),
        template: Some(pb::TaskTemplate { command: "echo tick".into(), ..Default::default() }),
        ..Default::default()
    };
    let schedule = pb::Schedule { cron: "* * * * *".into(), ..Default::default() };
    let request = pb::CreateJobRequest {
        parent: "spaces/s".into(),
        job_id: "j".into(),
        job: Some(job),
        schedule: Some(schedule),
    };
    one.jobs.clone().create_job(request).await.unwrap();
    let before: Vec<_> = futures::future::join_all((0..4).map(|_| one.run("sleep 1000"))).await;
    for task in &before {
        other.running(&task.name).await;
    }

    for name in ["api-1", "scheduler-1", "reaper-1", "executor-1"] {
        system.kill(name);
    }

    // What is accepted now is done by those who are left.
    let task = other.run("echo after").await;
    assert_eq!(other.over(&task.name).await.state(), TaskState::Succeeded);
    // The dead executor's Tasks are lost, and said to be; the others run on.
    let mut lost = 0;
    for task in &before {
        let task = other.reaches(&task.name, |task| is_final(task.state()) || task.state() == TaskState::Running).await;
        lost += usize::from(is_final(task.state()));
    }
    assert!(lost < before.len());
    // A tick comes within its minute.
    let ticked = async {
        loop {
            let request = pb::ListTasksRequest { parent: "spaces/s/apps/a".into(), ..Default::default() };
            let tasks = other.tasks.clone().list_tasks(request).await.unwrap().into_inner().tasks;
            if let Some(task) = tasks.into_iter().find(|task| !task.job.is_empty()) {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ticked = tokio::time::timeout(Duration::from_secs(75), ticked).await.unwrap();
    assert_eq!(other.over(&ticked.name).await.state(), TaskState::Succeeded);
}
