//! What is told after the server was killed.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use taskplane_backend::{Backend, BackendError};
use taskplane_domain::run::{EndCause, Fate, RunKey, RunSpec};

use crate::conformance::{run, start, text, until_running, until_written};
use crate::kit::{self, Kit};

const DIR: &str = "TASKPLANE_TEST_SERVER_DIR";
const READY: &str = "the server is ready";
const HELD: &str =
    "(setsid sh -c 'trap \"\" TERM; echo deep; sleep 1000' &); trap '' TERM; echo x >> $LEDGER; sleep 1000";

/// The runs of the server that is killed: never released, ended, running.
const INERT: u64 = 1;
const ENDED: u64 = 2;
const RUNNING: u64 = 3;

fn key(number: u64) -> RunKey {
    kit::spec(number, "").key
}

/// The other process of the tests below: does nothing unless it is told where.
#[tokio::test]
async fn a_server_to_be_killed() {
    #[expect(clippy::disallowed_methods, reason = "the way a test tells its child process what it is")]
    let Some(dir) = std::env::var_os(DIR) else { return };
    let kit = Kit::at(&PathBuf::from(dir));
    let (_, task_env) = kit.ledger();
    let of = |number, command: &str| RunSpec { task_env: task_env.clone(), ..kit::spec(number, command) };
    kit.backend().ensure(&of(INERT, "echo x >> $LEDGER")).await.unwrap();
    run(kit.backend(), &of(ENDED, "echo x >> $LEDGER; echo kept; exit 3")).await;
    let running = start(kit.backend(), &of(RUNNING, HELD)).await;
    until_running(kit.backend(), &running).await;
    until_written(kit.backend(), &running, "deep").await;
    println!("{READY}");
    std::future::pending::<()>().await;
}

fn server(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_server_to_be_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains(READY)), "the server came up");
    child
}

async fn fates(kit: &Kit) -> HashMap<RunKey, Fate> {
    let recovered = kit.backend().recover().await.unwrap();
    recovered.into_iter().map(|run| (run.key, run.fate)).collect()
}

fn assert_fates(fates: &HashMap<RunKey, Fate>) {
    assert_eq!(fates.len(), 3);
    assert_eq!(fates[&key(INERT)], Fate::NeverStarted);
    assert_eq!(fates[&key(RUNNING)], Fate::Lost { message: "the executor was killed while the command ran".into() });
    let Fate::Ended(end) = &fates[&key(ENDED)] else { panic!("its end was seen") };
    assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(3)));
}

#[tokio::test]
async fn a_killed_servers_runs_end_by_themselves_and_their_fates_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = server(dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let kit = Kit::at(dir.path());
    kit.until_none_alive().await;
    assert_fates(&fates(&kit).await);

    // The output stays until the run is removed, and what never started can start now.
    assert_eq!(text(kit.backend(), &key(ENDED)).await, "kept\n");
    assert_eq!(text(kit.backend(), &key(RUNNING)).await, "deep\n");
    kit.backend().remove(&key(ENDED)).await.unwrap();
    let (ledger, task_env) = kit.ledger();
    run(kit.backend(), &RunSpec { task_env, ..kit::spec(INERT, "echo x >> $LEDGER") }).await;
    assert_eq!(fs::read_to_string(ledger).unwrap(), "x\nx\nx\n");
}

/// Every thread of it: the order to stop has been given, and each takes it at its own time.
async fn until_held(pid: Pid) {
    let held = || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut states = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).unwrap());
        states.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    };
    while !held() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn recovery_ends_what_lost_its_shim_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = server(dir.path());
    let server_pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // First the server is held, so that it does not sweep itself.
    kill(server_pid, Signal::SIGSTOP).unwrap();
    until_held(server_pid).await;
    for number in [INERT, RUNNING] {
        let journal = fs::read(dir.path().join("root/runs").join(key(number).to_string()).join("journal")).unwrap();
        let journal: serde_json::Value = serde_json::from_slice(&journal).unwrap();
        kill(Pid::from_raw(i32::try_from(journal["shim"].as_i64().unwrap()).unwrap()), Signal::SIGKILL).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kit = Kit::at(dir.path());
    assert!(!kit.alive().is_empty(), "something survived");
    assert_fates(&fates(&kit).await);
    assert_eq!(kit.alive(), [0; 0]);
}

#[tokio::test]
async fn recovery_waits_for_survivors_and_then_kills_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = server(dir.path());
    let journal = fs::read(dir.path().join("root/runs").join(key(RUNNING).to_string()).join("journal")).unwrap();
    let journal: serde_json::Value = serde_json::from_slice(&journal).unwrap();
    kill(Pid::from_raw(i32::try_from(journal["shim"].as_i64().unwrap()).unwrap()), Signal::SIGSTOP).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let kit = Kit::at(dir.path());
    assert_fates(&fates(&kit).await);
    assert_eq!(kit.alive(), [0; 0]);
}

#[tokio::test]
async fn another_backends_runs_are_left_alone() {
    let (one, other) = (Kit::new(), Kit::new());
    let key = start(one.backend(), &one.spec("echo up; sleep 1000")).await;
    until_written(one.backend(), &key, "up").await;
    assert!(other.backend().recover().await.unwrap().is_empty());
    assert!(!one.alive().is_empty());
}

#[tokio::test]
async fn a_dropped_backend_ends_its_runs() {
    let mut kit = Kit::new();
    let key = start(kit.backend(), &kit.spec("trap '' TERM; echo up; (setsid sleep 1000 &); sleep 1000")).await;
    until_written(kit.backend(), &key, "up").await;
    kit.drop_backend();
    kit.until_none_alive().await;
}

#[tokio::test]
async fn a_run_that_was_not_reported_is_removed_without_a_word() {
    let mut kit = Kit::new();
    kit.drop_backend();
    let half = kit.run_dir(&key(9));
    fs::create_dir_all(half.join("work")).unwrap();
    fs::write(half.join("journal.draft"), "{").unwrap();
    let kit = Kit::at(kit.path());
    assert!(kit.backend().recover().await.unwrap().is_empty());
    assert!(!half.exists());
}

#[tokio::test]
async fn a_run_of_before_is_not_made_again_until_it_was_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = server(dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let kit = Kit::at(dir.path());
    assert!(matches!(kit.backend().ensure(&kit::spec(RUNNING, "true")).await, Err(BackendError::Unavailable { .. })));
    assert_fates(&fates(&kit).await);
}

#[tokio::test]
async fn a_cancel_that_was_under_way_is_remembered() {
    let mut kit = Kit::new();
    let spec = kit.spec("trap 'echo leaving; sleep 1000' TERM; echo up; sleep 1000 & wait");
    let run = start(kit.backend(), &spec).await;
    until_written(kit.backend(), &run, "up").await;
    kit.backend().cancel(&run, None).await.unwrap();
    until_written(kit.backend(), &run, "leaving").await;
    kit.drop_backend();
    kit.until_none_alive().await;
    let kit = Kit::at(kit.path());
    let Fate::Ended(end) = fates(&kit).await.remove(&run).unwrap() else { panic!("its end was ordered and seen") };
    assert_eq!(end.cause, EndCause::Cancel);
}
