//! kill -9 at every named point, then a restart: nothing accepted is lost, nothing runs twice. The witness is a ledger that
//! the commands themselves write.

use std::collections::BTreeMap;

use taskplane_proto::v1::{self as pb, Reason, TaskState};

use crate::client::task;
use crate::server::{Options, Server};

/// From the acceptance of a Task to the last word about it.
const POINTS: &[&str] = &[
    "store::task_accept::before_commit",
    "store::task_accept::after_commit",
    "backend::ensure::after_journal",
    "executor::before_made",
    "store::task_report::before_commit@1",
    "store::task_report::after_commit@1",
    "executor::after_made",
    "backend::release::after_go_marker",
    "backend::release::after_go",
    "executor::after_release",
    "executor::before_started",
    "store::task_report::before_commit@2",
    "store::task_report::after_commit@2",
    "executor::before_over",
    "store::task_report::before_commit@3",
    "store::task_report::after_commit@3",
    "executor::after_over",
];

#[tokio::test]
async fn a_kill_at_any_point_loses_nothing_and_repeats_nothing() {
    for point in POINTS {
        kill_at(point).await;
    }
}

async fn kill_at(point: &str) {
    let server = Server::start().await;
    server.client().app(&[("a", "")]).await;
    let mut server = server.restarted(Options { failpoints: Some(point.to_owned()), ..Options::default() }).await;
    let ledger = server.path("ledger");
    // `start` is written before anything else can happen, `end` only when nobody interfered.
    let request = |key: &str| pb::RunTaskRequest {
        request_id: key.into(),
        ..task(&format!("echo {key} start >>{0}; sleep 0.1; echo {key} end >>{0}", ledger.display()))
    };
    let first = server.client().run_task(request("first")).await;
    server.ended().await;

    let server = server.restarted(Options::default()).await;
    let client = server.client();
    // A caller that was left without an answer asks again.
    let again = client.run_task(request("first")).await.unwrap();
    if let Ok(first) = first {
        assert_eq!(first.uid, again.uid, "{point}: an acknowledged Task is gone");
    }
    let next = client.run_task(request("next")).await.unwrap();
    assert_eq!((again.id, next.id), (1, 2), "{point}");
    let (first, next) = (client.over(&again.name).await, client.over(&next.name).await);
    assert_eq!(next.state(), TaskState::Succeeded, "{point}: what comes after is not harmed");

    let mut lines: BTreeMap<String, u32> = BTreeMap::new();
    for line in std::fs::read_to_string(&ledger).unwrap_or_default().lines() {
        *lines.entry(line.to_owned()).or_default() += 1;
    }
    let count = |line: &str| lines.get(line).copied().unwrap_or(0);
    assert!(count("first start") <= 1, "{point}: the command started twice");
    match first.state() {
        TaskState::Succeeded => assert_eq!((count("first start"), count("first end")), (1, 1), "{point}"),
        TaskState::Failed => assert_eq!(first.reason(), Reason::Lost, "{point}: {}", first.message),
        state => panic!("{point}: ended as {state:?}"),
    }
    // Before the go nothing can have happened: such a Task is not lost, it runs.
    let before_go = ["task_accept", "after_journal", "before_made", "@1", "after_made"];
    if before_go.iter().any(|part| point.contains(part)) {
        assert_eq!(first.state(), TaskState::Succeeded, "{point}: {}", first.message);
    }
    // Its end was written down by its shim: it is told after the restart as what it was.
    if ["before_over", "@3", "after_over"].iter().any(|part| point.contains(part)) {
        assert_eq!(first.state(), TaskState::Succeeded, "{point}: {}", first.message);
    }
}

#[tokio::test]
async fn a_crash_with_many_tasks_under_way_decides_each_of_them_once() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let ledger = server.path("ledger");
    let mut runs = Vec::new();
    for number in 0..100 {
        let command =
            format!("echo {number} start >>{0}; sleep 0.{1}; echo {number} end >>{0}", ledger.display(), number % 7);
        runs.push(client.run(&command).await);
    }
    let server = server.restarted(Options::default()).await;
    let client = server.client();
    let mut over = Vec::new();
    for run in &runs {
        over.push(client.over(&run.name).await);
    }
    let text = std::fs::read_to_string(&ledger).unwrap();
    for (number, over) in over.iter().enumerate() {
        let count = |what: &str| text.lines().filter(|line| *line == format!("{number} {what}")).count();
        match (over.state(), over.reason()) {
            (TaskState::Succeeded, _) => assert_eq!((count("start"), count("end")), (1, 1), "Task {number}"),
            (TaskState::Failed, Reason::Lost) => assert!(count("start") <= 1, "Task {number} started twice"),
            end => panic!("Task {number} ended as {end:?}"),
        }
    }
}

#[tokio::test]
async fn what_ran_has_ended_before_it_is_called_lost() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let beats = server.path("beats");
    let beat = format!("trap '' TERM; while :; do echo x >>{}; sleep 0.01; done", beats.display());
    let run = client.run(&format!("setsid sh -c \"{beat}\" & {beat}")).await;
    client.running(&run.name).await;
    let server = server.restarted(Options::default()).await;
    let client = server.client();
    let over = client.over(&run.name).await;
    assert_eq!((over.state(), over.reason()), (TaskState::Failed, Reason::Lost));
    let then = std::fs::metadata(&beats).unwrap().len();
    let after = client.run("sleep 0.3").await;
    client.over(&after.name).await;
    assert_eq!(std::fs::metadata(&beats).unwrap().len(), then, "it was called lost while it still ran");
}
