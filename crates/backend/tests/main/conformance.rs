//! What every backend does: orders that can be repeated, ends that are told as they were, output to the byte.
//!
//! Each rule takes a backend and a maker of runs: a fresh run of the command that is given, on an App with a shell.

use std::time::Duration;

use futures::StreamExt;
use taskplane_backend::{Backend, BackendError, Observation};
use taskplane_domain::log::LogStream;
use taskplane_domain::run::{EndCause, Fate, RunEnd, RunKey, RunSpec};
use taskplane_domain::task::Exit;

/// Long enough for a loaded machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(60);

type Make<'a> = &'a (dyn Fn(&str) -> RunSpec + Sync);

/// Waits until what is observed is as wanted, looking when the backend says that something changed.
pub async fn until<T>(backend: &dyn Backend, key: &RunKey, wanted: impl Fn(Observation) -> Option<T>) -> T {
    let look = async {
        let mut changes = backend.changes();
        loop {
            if let Some(found) = wanted(backend.observe(key).await.unwrap()) {
                return found;
            }
            // A hint may be lost.
            let _ = tokio::time::timeout(Duration::from_millis(500), changes.next()).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the run became what it should")
}

pub async fn until_running(backend: &dyn Backend, key: &RunKey) {
    until(backend, key, |seen| matches!(seen, Observation::Running { .. }).then_some(())).await;
}

pub async fn until_over(backend: &dyn Backend, key: &RunKey) -> Fate {
    until(backend, key, |seen| if let Observation::Over { fate, .. } = seen { Some(fate) } else { None }).await
}

pub async fn until_ended(backend: &dyn Backend, key: &RunKey) -> RunEnd {
    match until_over(backend, key).await {
        Fate::Ended(end) => end,
        other => panic!("no end was seen: {other:?}"),
    }
}

pub async fn start(backend: &dyn Backend, spec: &RunSpec) -> RunKey {
    backend.ensure(spec).await.unwrap();
    backend.release(&spec.key).await.unwrap();
    spec.key
}

pub async fn run(backend: &dyn Backend, spec: &RunSpec) -> RunEnd {
    let key = start(backend, spec).await;
    until_ended(backend, &key).await
}

/// All output from `offset`, with what came on which stream.
pub async fn output(backend: &dyn Backend, key: &RunKey, offset: u64) -> Vec<(LogStream, Vec<u8>)> {
    let read = async {
        let mut at = offset;
        let mut records = backend.output(key, offset, true);
        let mut seen = Vec::new();
        while let Some(record) = records.next().await {
            let record = record.unwrap();
            assert_eq!(record.offset, at, "records follow each other without a gap");
            at = record.end();
            seen.push((record.stream, record.content.to_vec()));
        }
        seen
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the output ends with the run")
}

pub async fn text(backend: &dyn Backend, key: &RunKey) -> String {
    let all: Vec<u8> = output(backend, key, 0).await.into_iter().flat_map(|(_, content)| content).collect();
    String::from_utf8(all).unwrap()
}

/// Waits until the run has written `wanted`.
pub async fn until_written(backend: &dyn Backend, key: &RunKey, wanted: &str) {
    let read = async {
        let (mut records, mut seen) = (backend.output(key, 0, true), Vec::new());
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            seen.extend_from_slice(&records.next().await.expect("it is written before the end").unwrap().content);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it is written");
}

pub async fn an_unknown_run_is_absent_and_takes_no_orders(backend: &dyn Backend, make: Make<'_>) {
    let key = make("true").key;
    assert_eq!(backend.observe(&key).await.unwrap(), Observation::Absent);
    assert!(matches!(backend.release(&key).await, Err(BackendError::Absent)));
    assert!(matches!(backend.cancel(&key, None).await, Err(BackendError::Absent)));
    assert!(matches!(backend.output(&key, 0, true).next().await, Some(Err(BackendError::Absent))));
    backend.remove(&key).await.unwrap();
}

pub async fn a_run_is_inert_until_it_is_released(backend: &dyn Backend, make: Make<'_>) {
    let spec = make("echo started");
    let uid = backend.ensure(&spec).await.unwrap().run;
    assert_eq!(backend.observe(&spec.key).await.unwrap(), Observation::Inert { run: uid });
    assert!(backend.remove(&spec.key).await.is_err(), "what is not over is not removed");
    backend.release(&spec.key).await.unwrap();
    assert_eq!(text(backend, &spec.key).await, "started\n");
}

pub async fn the_same_run_again_is_the_same_run(backend: &dyn Backend, make: Make<'_>) {
    let spec = make("echo once");
    let (first, second) = tokio::join!(backend.ensure(&spec), backend.ensure(&spec));
    let first = first.unwrap();
    assert_eq!(first, second.unwrap());
    for _ in 0..2 {
        backend.release(&spec.key).await.unwrap();
    }
    until_over(backend, &spec.key).await;
    backend.release(&spec.key).await.unwrap();
    assert_eq!(backend.ensure(&spec).await.unwrap(), first);
    assert_eq!(text(backend, &spec.key).await, "once\n");
}

pub async fn exit_codes_are_told_as_they_are(backend: &dyn Backend, make: Make<'_>) {
    for (command, code) in [("true", 0), ("exit 3", 3), ("/no/such/program", 127), ("exit 255", 255)] {
        let end = run(backend, &make(command)).await;
        assert_eq!((end.cause, end.exit), (EndCause::Natural, Exit { code: Some(code), signal: None }), "{command}");
        assert!(end.started_at.is_some_and(|started_at| started_at <= end.finished_at));
    }
}

pub async fn a_cancelled_inert_run_never_starts(backend: &dyn Backend, make: Make<'_>) {
    let spec = make("echo started");
    let uid = backend.ensure(&spec).await.unwrap().run;
    backend.cancel(&spec.key, None).await.unwrap();
    backend.cancel(&spec.key, None).await.unwrap();
    backend.release(&spec.key).await.unwrap();
    assert_eq!(until_over(backend, &spec.key).await, Fate::NeverStarted);
    assert_eq!(backend.ensure(&spec).await.unwrap().run, uid, "asking again does not undo it");
    assert_eq!(until_over(backend, &spec.key).await, Fate::NeverStarted);
    assert!(output(backend, &spec.key, 0).await.is_empty());
}

pub async fn a_cancelled_run_is_over_when_nothing_is_left(backend: &dyn Backend, make: Make<'_>) {
    let key = start(backend, &make("echo up; while :; do sleep 1000; done")).await;
    until_written(backend, &key, "up").await;
    backend.cancel(&key, None).await.unwrap();
    backend.cancel(&key, None).await.unwrap();
    assert_eq!(until_ended(backend, &key).await.cause, EndCause::Cancel);
}

pub async fn a_run_that_takes_too_long_is_timed_out(backend: &dyn Backend, make: Make<'_>) {
    let spec = RunSpec { timeout: Some(Duration::from_millis(300)), ..make("echo up; while :; do sleep 1000; done") };
    let end = run(backend, &spec).await;
    assert_eq!(end.cause, EndCause::Timeout);
    assert_eq!(text(backend, &spec.key).await, "up\n");
}

pub async fn a_natural_end_stays_one_after_a_cancel(backend: &dyn Backend, make: Make<'_>) {
    let spec = make("exit 3");
    let end = run(backend, &spec).await;
    backend.cancel(&spec.key, None).await.unwrap();
    assert_eq!(until_ended(backend, &spec.key).await, end);
}

pub async fn output_is_kept_to_the_byte_and_read_from_anywhere(backend: &dyn Backend, make: Make<'_>) {
    let spec = make("printf 'one\\n\\377\\000two\\nrest'");
    run(backend, &spec).await;
    let all = b"one\n\xff\0two\nrest";
    for offset in 0..=all.len() + 2 {
        let records = output(backend, &spec.key, offset as u64).await;
        let read: Vec<u8> = records.iter().flat_map(|(_, content)| content.clone()).collect();
        assert_eq!(read, all.get(offset..).unwrap_or_default(), "from {offset}");
        assert!(records.iter().all(|(_, line)| line.iter().rev().skip(1).all(|byte| *byte != b'\n')), "one line each");
    }
}

pub async fn output_is_followed_until_the_end(backend: &dyn Backend, make: Make<'_>) {
    let spec = make("for i in 1 2 3 4 5; do echo out $i; sleep 0.05; echo err $i >&2; done");
    backend.ensure(&spec).await.unwrap();
    let (records, ()) =
        tokio::join!(output(backend, &spec.key, 0), async { backend.release(&spec.key).await.unwrap() });
    let expected: Vec<_> = (1..=5)
        .flat_map(|i| {
            [
                (LogStream::Stdout, format!("out {i}\n").into_bytes()),
                (LogStream::Stderr, format!("err {i}\n").into_bytes()),
            ]
        })
        .collect();
    assert_eq!(records, expected);
}

pub async fn changes_tell_of_the_start_and_of_the_end(backend: &dyn Backend, make: Make<'_>) {
    let spec = make("sleep 0.2");
    backend.ensure(&spec).await.unwrap();
    let mut changes = backend.changes();
    backend.release(&spec.key).await.unwrap();
    let told = async {
        let mut seen = Vec::new();
        while !matches!(seen.last(), Some(Observation::Over { .. })) {
            if changes.next().await == Some(spec.key) {
                seen.push(backend.observe(&spec.key).await.unwrap());
            }
        }
        seen
    };
    let seen = tokio::time::timeout(PATIENCE, told).await.expect("the changes are told");
    assert!(matches!(seen.first(), Some(Observation::Running { .. } | Observation::Over { .. })), "{seen:?}");
}

pub async fn a_removed_run_is_absent(backend: &dyn Backend, make: Make<'_>) {
    let spec = make("echo left");
    run(backend, &spec).await;
    backend.remove(&spec.key).await.unwrap();
    backend.remove(&spec.key).await.unwrap();
    assert_eq!(backend.observe(&spec.key).await.unwrap(), Observation::Absent);
}
