//! Asking for the end, at every stage.

use taskplane_proto::v1::{self as pb, Reason, TaskState};
use tonic::Code;

use crate::client::{reason, task};
use crate::server::{Options, Server};

#[tokio::test]
async fn a_pending_task_is_cancelled_at_once_and_never_starts() {
    let server =
        Server::start_with(Options { args: vec!["--capacity".into(), "1".into()], ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let blocker = client.run("sleep 600").await;
    client.running(&blocker.name).await;
    let ledger = server.path("ledger");
    let waiting = client.run(&format!("echo started >>{}", ledger.display())).await;
    let cancelled = client.cancel(&waiting.name).await;
    assert_eq!(
        (cancelled.state(), cancelled.reason(), cancelled.attempts.len()),
        (TaskState::Cancelled, Reason::Cancelled, 0)
    );
    client.cancel(&blocker.name).await;
    client.over(&blocker.name).await;
    let last = client.run("true").await;
    client.over(&last.name).await;
    assert!(!ledger.exists(), "a cancelled Task started");
}

#[tokio::test]
async fn a_running_task_is_cancelled_when_nothing_of_it_is_left() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let beats = server.path("beats");
    // Ignores the gentle signal, and keeps a process of its own session besides.
    let beat = format!("trap '' TERM; while :; do echo x >>{}; sleep 0.02; done", beats.display());
    let run = client.run(&format!("setsid sh -c '{}' & {beat}", beat.replace('\'', "'\\''"))).await;
    client.running(&run.name).await;
    let asked = client.cancel(&run.name).await;
    assert_eq!(asked.state(), TaskState::Cancelling);
    assert_eq!(client.cancel(&run.name).await.state(), TaskState::Cancelling, "asking twice is no error");
    let over = client.over(&run.name).await;
    assert_eq!((over.state(), over.reason()), (TaskState::Cancelled, Reason::Cancelled));
    let then = std::fs::metadata(&beats).unwrap().len();
    let after = client.run("sleep 0.3").await;
    client.over(&after.name).await;
    assert_eq!(std::fs::metadata(&beats).unwrap().len(), then, "something still ran after CANCELLED was readable");
    assert_eq!(client.cancel(&run.name).await.state(), TaskState::Cancelled, "too late is no error");
}

#[tokio::test]
async fn an_end_after_the_signal_is_cancelled_whatever_its_code() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run("trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done").await;
    client.running(&run.name).await;
    client.cancel(&run.name).await;
    let over = client.over(&run.name).await;
    assert_eq!(over.state(), TaskState::Cancelled);
    assert!(client.log(&run.name).await.starts_with("ready\n"), "the log stays");
}

#[tokio::test]
async fn cancels_at_any_moment_leave_no_task_undecided() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let ledger = server.path("ledger");
    let mut names = Vec::new();
    for step in 0..40_u64 {
        let run = client.run(&format!("echo {step} >>{}; sleep 600", ledger.display())).await;
        let client = client.clone();
        names.push(tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(step * 5)).await;
            client.cancel(&run.name).await;
            client.over(&run.name).await
        }));
    }
    for over in names {
        let over = over.await.unwrap();
        assert_eq!(over.state(), TaskState::Cancelled, "{}", over.message);
        assert_eq!(over.start_time.is_some(), over.attempts.iter().any(|attempt| attempt.start_time.is_some()));
    }
    let started = std::fs::read_to_string(ledger).unwrap_or_default();
    let mut lines: Vec<_> = started.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), started.lines().count(), "a command started twice");
}

#[tokio::test]
async fn an_etag_that_is_no_longer_true_aborts() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let accepted = client.run_task(task("sleep 600")).await.unwrap();
    client.running(&accepted.name).await;
    let request = pb::CancelTaskRequest { name: accepted.name.clone(), etag: accepted.etag, ..Default::default() };
    let stale = client.tasks.clone().cancel_task(request).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    let request = pb::CancelTaskRequest {
        name: accepted.name.clone(),
        etag: client.get(&accepted.name).await.etag,
        ..Default::default()
    };
    client.tasks.clone().cancel_task(request).await.unwrap();
    assert_eq!(client.over(&accepted.name).await.state(), TaskState::Cancelled);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_cancelled() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    for (name, code) in [
        ("spaces/s/apps/a/tasks/7", Code::NotFound),
        ("spaces/s/apps/b/tasks/1", Code::NotFound),
        ("spaces/t/apps/a/tasks/1", Code::NotFound),
        ("spaces/s/apps/a/tasks/0", Code::InvalidArgument),
        ("spaces/s/apps/a", Code::InvalidArgument),
        ("", Code::InvalidArgument),
    ] {
        let request = pb::CancelTaskRequest { name: name.into(), ..Default::default() };
        assert_eq!(client.tasks.clone().cancel_task(request).await.unwrap_err().code(), code, "{name}");
    }
}
