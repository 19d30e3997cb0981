//! How local runs end: by signals, by the clock, by orders.

use std::time::{Duration, Instant};

use taskplane_backend::Backend;
use taskplane_domain::run::{EndCause, Fate, RunSpec};
use taskplane_domain::task::Exit;

use crate::conformance::{output, run, start, text, until_ended, until_over, until_written};
use crate::kit::{GRACE, Kit};

const STUBBORN: &str = "trap '' TERM; echo up; while :; do sleep 1000; done";

fn by_signal(signal: i32) -> Exit {
    Exit { code: None, signal: Some(signal) }
}

#[tokio::test]
async fn a_signal_is_told_as_one() {
    let kit = Kit::new();
    let end = run(kit.backend(), &kit.spec("kill -SEGV $$")).await;
    assert_eq!((end.cause, end.exit), (EndCause::Natural, by_signal(11)));
}

#[tokio::test]
async fn a_command_that_honours_term_ends_in_its_own_way() {
    let kit = Kit::new();
    let command = "exec 2>/dev/null; trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done";
    let spec = RunSpec { timeout: Some(Duration::from_millis(300)), ..kit.spec(command) };
    let end = run(kit.backend(), &spec).await;
    assert_eq!((end.cause, end.exit), (EndCause::Timeout, Exit { code: Some(5), signal: None }));
    assert_eq!(text(kit.backend(), &spec.key).await, "up\nbye\n");
}

#[tokio::test]
async fn a_stubborn_command_is_killed_after_the_grace() {
    let kit = Kit::new();
    let spec = RunSpec { timeout: Some(Duration::from_millis(100)), ..kit.spec(STUBBORN) };
    let begun = Instant::now();
    let end = run(kit.backend(), &spec).await;
    assert_eq!((end.cause, end.exit), (EndCause::Timeout, by_signal(9)));
    assert!(begun.elapsed() >= Duration::from_millis(100) + GRACE);
    assert!(kit.alive().is_empty());
}

#[tokio::test]
async fn a_stubborn_command_is_killed_when_it_is_cancelled() {
    let kit = Kit::new();
    let key = start(kit.backend(), &kit.spec(STUBBORN)).await;
    until_written(kit.backend(), &key, "up").await;
    kit.backend().cancel(&key, None).await.unwrap();
    let end = until_ended(kit.backend(), &key).await;
    assert_eq!((end.cause, end.exit), (EndCause::Cancel, by_signal(9)));
    assert!(kit.alive().is_empty());
}

#[tokio::test]
async fn what_a_script_started_gets_the_grace_too() {
    let kit = Kit::new();
    // The shell dies of the signal at once; its child takes its leave in order.
    let command =
        "exec 2>/dev/null; (trap 'sleep 0.05; echo saved; exit' TERM; echo up; while :; do sleep 0.01; done); true";
    let key = start(kit.backend(), &kit.spec(command)).await;
    until_written(kit.backend(), &key, "up").await;
    kit.backend().cancel(&key, None).await.unwrap();
    assert_eq!(until_ended(kit.backend(), &key).await.cause, EndCause::Cancel);
    assert_eq!(text(kit.backend(), &key).await, "up\nsaved\n");
}

#[tokio::test]
async fn a_stopped_command_hears_that_it_is_to_end() {
    let kit = Kit::new();
    let key = start(kit.backend(), &kit.spec("trap 'echo woken; exit' TERM; echo up; kill -STOP $$; sleep 1000")).await;
    until_written(kit.backend(), &key, "up").await;
    kit.backend().cancel(&key, None).await.unwrap();
    assert_eq!(until_ended(kit.backend(), &key).await.cause, EndCause::Cancel);
    assert_eq!(text(kit.backend(), &key).await, "up\nwoken\n");
}

#[tokio::test]
async fn an_end_beside_the_cancel_is_the_one_or_the_other() {
    let kit = Kit::new();
    for _ in 0..20 {
        let key = start(kit.backend(), &kit.spec("exit 4")).await;
        kit.backend().cancel(&key, None).await.unwrap();
        let end = until_ended(kit.backend(), &key).await;
        let natural = Exit { code: Some(4), signal: None };
        assert!(end.cause == EndCause::Cancel || (end.cause, end.exit) == (EndCause::Natural, natural), "{end:?}");
    }
}

#[tokio::test]
async fn a_shutdown_ends_what_runs_and_says_that_it_was_lost() {
    let kit = Kit::new();
    let stubborn = start(kit.backend(), &kit.spec(STUBBORN)).await;
    until_written(kit.backend(), &stubborn, "up").await;
    let done = kit.spec("exit 2");
    run(kit.backend(), &done).await;
    let inert = kit.spec("echo started");
    kit.backend().ensure(&inert).await.unwrap();

    kit.backend().shutdown().await;

    assert!(kit.alive().is_empty());
    let lost = Fate::Lost { message: "the executor was stopped while the command ran".into() };
    assert_eq!(until_over(kit.backend(), &stubborn).await, lost);
    assert_eq!(until_over(kit.backend(), &inert.key).await, Fate::NeverStarted);
    assert_eq!(until_ended(kit.backend(), &done.key).await.exit.code, Some(2));
    assert!(kit.backend().ensure(&kit.spec("true")).await.is_err(), "nothing is made any more");
    assert!(output(kit.backend(), &inert.key, 0).await.is_empty());
}

#[tokio::test]
async fn fifty_at_once_all_end_as_they_should() {
    let kit = Kit::new();
    let specs: Vec<_> = (0..50).map(|i| kit.spec(&format!("echo {i}; sleep 0.2; exit {i}"))).collect();
    let ends = futures::future::join_all(specs.iter().map(|spec| run(kit.backend(), spec))).await;
    for (i, (end, spec)) in ends.iter().zip(&specs).enumerate() {
        assert_eq!(end.exit.code, i32::try_from(i).ok());
        assert_eq!(text(kit.backend(), &spec.key).await, format!("{i}\n"));
    }
}
