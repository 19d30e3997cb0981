//! Nothing survives its run, however it hides.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use taskplane_backend::Backend;
use taskplane_domain::run::{EndCause, Fate, RunSpec};

use crate::conformance::{run, start, text, until_over, until_written};
use crate::kit::Kit;

/// Runs `command` to its natural end and sees that nothing of it is left at that moment.
async fn leaves_nothing(command: &str) {
    let kit = Kit::new();
    let spec = kit.spec(command);
    let end = run(kit.backend(), &spec).await;
    assert_eq!(kit.alive(), [0; 0], "{command}");
    assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(0)), "{command}");
    assert_eq!(text(kit.backend(), &spec.key).await, "up\n", "{command}");
}

#[tokio::test]
async fn children_in_the_background_are_ended() {
    leaves_nothing("sleep 1000 & sleep 1000 & echo up").await;
}

#[tokio::test]
async fn children_in_sessions_of_their_own_are_ended() {
    leaves_nothing("setsid sh -c 'trap \"\" TERM HUP; setsid sleep 1000 & sleep 1000' & sleep 0.1; echo up").await;
}

#[tokio::test]
async fn daemons_are_ended() {
    leaves_nothing("(setsid sh -c 'sleep 1000 >/dev/null 2>&1 </dev/null & exit' &) ; sleep 0.1; echo up").await;
}

#[tokio::test]
async fn daemons_without_the_mark_are_ended() {
    let kit = Kit::new();
    let spec = kit.spec("env -i HIDDEN=$CF_INSTANCE_GUID setsid sleep 1000 & sleep 0.1; echo $CF_INSTANCE_GUID");
    run(kit.backend(), &spec).await;
    let guid = text(kit.backend(), &spec.key).await;
    assert_eq!(crate::kit::marked(&format!("HIDDEN={}", guid.trim())), [0; 0]);
}

#[tokio::test]
async fn processes_that_make_others_as_they_die_are_ended() {
    leaves_nothing(
        "for i in 1 2 3; do sh -c 'f() { sleep 0.001; (f) & }; while :; do f; sleep 0.01; done' & done; sleep 0.2; echo up",
    )
    .await;
}

#[tokio::test]
async fn a_chain_that_forks_and_exits_for_ever_is_ended() {
    leaves_nothing("cat > hop <<'E'\n(setsid sh hop &)\nE\nsh hop; sleep 0.2; echo up").await;
}

#[tokio::test]
async fn a_process_that_is_another_one_every_moment_is_ended() {
    leaves_nothing(
        "python3 -c 'import os\nwhile True:\n if os.fork(): os._exit(0)\n os.setsid()' & sleep 0.2; echo up",
    )
    .await;
}

#[tokio::test]
async fn a_timeout_ends_what_left_the_group_as_well() {
    let kit = Kit::new();
    let command = "setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' & echo up; wait";
    let spec = RunSpec { timeout: Some(std::time::Duration::from_millis(200)), ..kit.spec(command) };
    assert_eq!(run(kit.backend(), &spec).await.cause, EndCause::Timeout);
    assert_eq!(kit.alive(), [0; 0]);
}

#[tokio::test]
async fn a_killed_shim_takes_all_along_and_its_run_is_lost() {
    let kit = Kit::new();
    let command =
        "(setsid sleep 1000 &); env -i HIDDEN=$CF_INSTANCE_GUID sleep 1000 & echo $CF_INSTANCE_GUID; sleep 1000";
    let key = start(kit.backend(), &kit.spec(command)).await;
    until_written(kit.backend(), &key, "\n").await;
    kill(Pid::from_raw(kit.shim_of(&key)), Signal::SIGKILL).unwrap();
    let fate = until_over(kit.backend(), &key).await;
    assert_eq!(fate, Fate::Lost { message: "its supervisor was killed while the command ran".into() });
    assert_eq!(kit.alive(), [0; 0]);
    let guid = text(kit.backend(), &key).await;
    assert_eq!(crate::kit::marked(&format!("HIDDEN={}", guid.trim())), [0; 0], "its session is swept too");
}

#[tokio::test]
async fn a_command_that_kills_its_shim_is_lost_and_ended() {
    let kit = Kit::new();
    let spec = kit.spec("kill -9 $PPID; sleep 1000");
    let key = start(kit.backend(), &spec).await;
    assert!(matches!(until_over(kit.backend(), &key).await, Fate::Lost { .. }));
    assert_eq!(kit.alive(), [0; 0]);
}

#[tokio::test]
async fn a_shim_that_is_killed_before_the_go_never_started_and_is_made_again() {
    let kit = Kit::new();
    let spec = kit.spec("echo up");
    let first = kit.backend().ensure(&spec).await.unwrap();
    kill(Pid::from_raw(kit.shim_of(&spec.key)), Signal::SIGKILL).unwrap();
    assert_eq!(until_over(kit.backend(), &spec.key).await, Fate::NeverStarted);
    let second = kit.backend().ensure(&spec).await.unwrap();
    assert_ne!(first, second);
    kit.backend().release(&spec.key).await.unwrap();
    assert_eq!(text(kit.backend(), &spec.key).await, "up\n");
}

#[tokio::test]
async fn a_shim_is_not_ended_by_the_signals_of_a_service_manager() {
    let kit = Kit::new();
    let key = start(kit.backend(), &kit.spec("echo up; sleep 0.3; exit 6")).await;
    until_written(kit.backend(), &key, "up").await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(Pid::from_raw(kit.shim_of(&key)), signal).unwrap();
    }
    let Fate::Ended(end) = until_over(kit.backend(), &key).await else { panic!("its end was seen") };
    assert_eq!(end.exit.code, Some(6));
}

#[tokio::test]
async fn a_shim_that_is_held_up_does_not_keep_its_task_from_being_cancelled() {
    let kit = Kit::new();
    let key = start(kit.backend(), &kit.spec("echo up; sleep 1000")).await;
    until_written(kit.backend(), &key, "up").await;
    kill(Pid::from_raw(kit.shim_of(&key)), Signal::SIGSTOP).unwrap();
    kit.backend().cancel(&key, Some(std::time::Duration::ZERO)).await.unwrap();
    assert!(matches!(until_over(kit.backend(), &key).await, Fate::Lost { .. }));
    assert_eq!(kit.alive(), [0; 0]);
}
