//! Reading logs: live, afterwards, in part, of a whole App.

use std::time::Duration;

use taskplane_proto::v1::{self as pb, LogStream, TaskState};
use tonic::Code;

use crate::client::{Client, archive, archive_source, spec, task, violations};
use crate::server::{Options, Server, within};

fn of(name: &str) -> pb::StreamLogsRequest {
    pb::StreamLogsRequest { name: name.into(), ..Default::default() }
}

fn texts(lines: &[pb::LogLine]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(&line.content).into_owned()).collect()
}

#[tokio::test]
async fn a_line_is_seen_while_its_task_still_runs() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let go = server.path("go");
    let run = client.run(&format!("echo first; until [ -e {} ]; do sleep 0.02; done; echo last", go.display())).await;
    within(async {
        let request = pb::StreamLogsRequest { follow: true, ..of(&run.name) };
        let mut stream = client.tasks.clone().stream_logs(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert_eq!(texts(&first.lines), ["first"]);
        client.running(&run.name).await;
        std::fs::write(go, "").unwrap();
        let mut rest = Vec::new();
        while let Some(response) = stream.message().await.unwrap() {
            rest.extend(texts(&response.lines));
        }
        assert_eq!(rest, ["last"], "following ends with the Task, and repeats nothing");
    })
    .await;
}

#[tokio::test]
async fn streams_keep_their_order_and_bytes_are_kept_as_they_are() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client
        .run("echo out; sleep 0.1; echo err >&2; sleep 0.1; printf '\\377\\000\\033[31m\\n\\n'; printf 'no end'")
        .await;
    client.over(&run.name).await;
    let lines = client.lines(of(&run.name)).await;
    let seen: Vec<_> = lines.iter().map(|line| (line.stream(), line.content.to_vec(), line.partial)).collect();
    let (out, err) = (LogStream::Stdout, LogStream::Stderr);
    assert_eq!(
        seen,
        [
            (out, b"out".to_vec(), false),
            (err, b"err".to_vec(), false),
            (out, b"\xff\0\x1b[31m".to_vec(), false),
            (out, Vec::new(), false),
            (out, b"no end".to_vec(), true),
        ]
    );
    assert!(lines.windows(2).all(|pair| pair[0].time.as_ref().map(|t| (t.seconds, t.nanos))
        <= pair[1].time.as_ref().map(|t| (t.seconds, t.nanos))));
}

#[tokio::test]
async fn a_part_of_a_log_can_be_asked_for() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run("seq 1 1000").await;
    client.over(&run.name).await;
    let all = client.lines(of(&run.name)).await;
    assert_eq!(all.len(), 1000);
    let tail = client.lines(pb::StreamLogsRequest { tail: Some(3), ..of(&run.name) }).await;
    assert_eq!(texts(&tail), ["998", "999", "1000"]);
    assert!(client.lines(pb::StreamLogsRequest { tail: Some(0), ..of(&run.name) }).await.is_empty());
    for cut in [0, 1, 499, 999] {
        let rest =
            client.lines(pb::StreamLogsRequest { attempt: 1, offset: all[cut].next_offset, ..of(&run.name) }).await;
        assert_eq!(rest, all[cut + 1..], "resumed behind line {}", cut + 1);
    }
    let late = client
        .lines(pb::StreamLogsRequest {
            since: client
                .get(&run.name)
                .await
                .end_time
                .map(|end| prost_types::Timestamp { seconds: end.seconds + 60, ..end }),
            ..of(&run.name)
        })
        .await;
    assert!(late.is_empty());
    let early = client.lines(pb::StreamLogsRequest { since: all[0].time, ..of(&run.name) }).await;
    assert_eq!(early.len(), 1000);
}

#[tokio::test]
async fn logs_stay_readable_after_every_end_and_a_restart() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let done = client.run("echo done").await;
    let cancelled = client.run("echo cancelled; sleep 600").await;
    let timed_out = pb::RunTaskRequest {
        timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..task("echo timed out; sleep 600")
    };
    let timed_out = client.run_task(timed_out).await.unwrap();
    let lost = client.run("echo lost; sleep 600").await;
    seen(&client, &cancelled.name, "cancelled").await;
    client.cancel(&cancelled.name).await;
    for run in [&done, &cancelled, &timed_out] {
        client.over(&run.name).await;
    }
    seen(&client, &lost.name, "lost").await;
    let server = server.restarted(Options::default()).await;
    let client = server.client();
    assert_eq!(client.over(&lost.name).await.state(), TaskState::Failed);
    for (run, text) in [(done, "done\n"), (cancelled, "cancelled\n"), (timed_out, "timed out\n"), (lost, "lost\n")] {
        let lines = client.lines(pb::StreamLogsRequest { follow: true, ..of(&run.name) }).await;
        assert_eq!(texts(&lines).join("\n") + "\n", text);
    }
}

/// Waits until a running Task has written this line.
async fn seen(client: &Client, name: &str, text: &str) {
    within(async {
        let request = pb::StreamLogsRequest { follow: true, ..of(name) };
        let mut stream = client.tasks.clone().stream_logs(request).await.unwrap().into_inner();
        while let Some(response) = stream.message().await.unwrap() {
            if texts(&response.lines).iter().any(|line| line == text) {
                return;
            }
        }
        panic!("{name} ended without writing {text}");
    })
    .await;
}

#[tokio::test]
async fn the_log_of_an_app_has_all_its_tasks_those_that_start_later_included() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let first = client.run("echo one; sleep 0.1; echo three").await;
    client.over(&first.name).await;
    let lines = client.lines(of("spaces/s/apps/a")).await;
    assert_eq!(texts(&lines), ["one", "three"]);
    within(async {
        let request = pb::StreamLogsRequest { follow: true, tail: Some(1), ..of("spaces/s/apps/a") };
        let mut stream = client.tasks.clone().stream_logs(request).await.unwrap().into_inner();
        let line = stream.message().await.unwrap().unwrap().lines.remove(0);
        assert_eq!((line.task.as_str(), &line.content[..]), (first.name.as_str(), &b"three"[..]));
        for number in 2..5 {
            let later = client.run(&format!("echo task {number}")).await;
            let line = stream.message().await.unwrap().unwrap().lines.remove(0);
            assert_eq!((line.task, line.content.to_vec()), (later.name, format!("task {number}").into_bytes()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_capped_log_keeps_its_head_and_its_tail_and_says_what_went() {
    let server = Server::start().await;
    let client = server.client();
    let run = run_capped(&client, "seq 1 200000").await;
    client.over(&run.name).await;
    assert_capped(&client.lines(of(&run.name)).await);
}

#[tokio::test]
async fn a_log_that_is_archived_after_a_crash_is_capped_too() {
    let server = Server::start().await;
    let (go, written) = (server.path("go"), server.path("written"));
    let client = server.client();
    let (wait, done) = (go.display(), written.display());
    let script = format!("until [ -e {wait} ]; do sleep 0.02; done; seq 1 200000; touch {done}; exec sleep 600");
    let run = run_capped(&client, &script).await;
    client.running(&run.name).await;
    std::fs::write(&go, "").unwrap();
    within(async {
        while !written.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let server = server.restarted(Options::default()).await;
    let client = server.client();
    client.over(&run.name).await;
    let lines = within(async {
        // What a crash left is archived beside everything else, and cut behind that.
        loop {
            let lines = client.lines(of(&run.name)).await;
            if kept(&lines) < 2 * 64 * 1024 && lines.last().is_some_and(|line| line.content == "200000") {
                break lines;
            }
        }
    })
    .await;
    assert_capped(&lines);
}

/// In a Space whose logs keep 64 KiB.
async fn run_capped(client: &Client, command: &str) -> pb::Task {
    let space = pb::Space { log_cap_bytes: 64 * 1024, ..Default::default() };
    let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) };
    client.spaces.clone().create_space(request).await.unwrap();
    client.push(spec("a", archive_source()), archive(&[("a", "")])).await.unwrap();
    client.run(command).await
}

fn kept(lines: &[pb::LogLine]) -> usize {
    lines.iter().map(|line| line.content.len() + 1).sum()
}

/// The log of `seq 1 200000` in it.
#[track_caller]
fn assert_capped(lines: &[pb::LogLine]) {
    assert!(kept(lines) < 2 * 64 * 1024, "{} bytes were kept", kept(lines));
    assert_eq!(texts(&lines[..1]), ["1"]);
    assert_eq!(texts(&lines[lines.len() - 1..]), ["200000"]);
    assert_eq!(lines.iter().filter(|line| line.stream() == LogStream::System).count(), 1);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run("true").await;
    let ask = |request| async { client.tasks.clone().stream_logs(request).await.unwrap_err() };
    let wrong = pb::StreamLogsRequest {
        tail: Some(-1),
        attempt: -1,
        offset: -1,
        since: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 }),
        ..of(&run.name)
    };
    assert_eq!(violations(ask(wrong).await), ["tail", "since", "attempt", "offset"]);
    assert_eq!(violations(ask(pb::StreamLogsRequest { offset: 1, ..of("spaces/s/apps/a") }).await), ["name"]);
    assert_eq!(violations(ask(of("spaces/s")).await), ["name"]);
    assert_eq!(ask(of("spaces/s/apps/a/tasks/9")).await.code(), Code::NotFound);
    assert_eq!(ask(of("spaces/s/apps/b")).await.code(), Code::NotFound);
}
