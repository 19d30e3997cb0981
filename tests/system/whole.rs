//! The whole system at work, through one api and the other, and when one of each is killed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use taskplane_domain::session::LEASE;
use taskplane_proto::v1::{self as pb, TaskState};

use crate::client::{archive, archive_source, spec};
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
    let mut system = System::prepare().await;
    system.extra.executor = vec!["--capacity".into(), "2".into()];
    let (late, early): (Vec<&str>, Vec<&str>) = TWO_OF_EACH.iter().partition(|name| **name == "executor-2");
    system.launch(&early).await;
    let (one, other) = (system.client("api-1"), system.client("api-2"));
    one.app(&[("x", "x")]).await;
    // One executor is full, so that what comes then is the other one's.
    let doomed = [one.run("sleep 1000").await, one.run("sleep 1000").await];
    for task in &doomed {
        other.running(&task.name).await;
    }
    system.launch(&late).await;
    let lucky = one.run("sleep 1000").await;
    other.running(&lucky.name).await;
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

    for name in ["api-1", "scheduler-1", "reaper-1", "executor-1"] {
        system.kill(name);
    }

    // What is accepted now is done by those who are left.
    let task = other.run("echo after").await;
    assert_eq!(other.over(&task.name).await.state(), TaskState::Succeeded);
    // The dead executor's Tasks are lost, and said to be, although it does not come back; the others run on.
    for task in &doomed {
        let task = other.over(&task.name).await;
        assert_eq!((task.state(), task.reason()), (TaskState::Failed, pb::Reason::Lost));
    }
    assert_eq!(other.get(&lucky.name).await.state(), TaskState::Running);
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

#[tokio::test]
async fn an_api_that_hangs_is_left_within_seconds_and_costs_no_session() {
    let mut system = System::start(&["api-1", "api-2", "executor-1"]).await;
    system.client("api-1").app(&[("x", "x")]).await;
    let running = system.client("api-1").run("sleep 1000").await;
    system.client("api-1").running(&running.name).await;
    // The executor is with one of them: one of these two turns makes it move.
    for (hangs, lives) in [("api-1", "api-2"), ("api-2", "api-1")] {
        system.process(hangs).signal(Signal::SIGSTOP);
        let client = system.client(lives);
        let asked = Instant::now();
        let task = client.run("echo moved").await;
        assert_eq!(client.over(&task.name).await.state(), TaskState::Succeeded);
        assert!(asked.elapsed() < LEASE, "it took {:?}", asked.elapsed());
        system.process(hangs).signal(Signal::SIGCONT);
    }
    assert_eq!(system.client("api-2").get(&running.name).await.state(), TaskState::Running);
}
