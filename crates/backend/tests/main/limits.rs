//! What a run may take of the machine. Limits on memory and CPU need root and cgroups that can be written to.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{AccessFlags, Pid, Uid, access};
use taskplane_backend::Backend;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::{EndCause, Fate, RunSpec};
use taskplane_domain::task::Exit;

use crate::conformance::{run, start, text, until_ended, until_over, until_running, until_written};
use crate::kit::{Kit, marked};

/// Takes memory until it is stopped.
const HOG: &str = "tail /dev/zero";
const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether this machine lets the test limit anything; says so when it does not.
fn can_limit(test: &str) -> bool {
    let hierarchy = [CGROUPS, "/sys/fs/cgroup/memory"].into_iter().rfind(|path| Path::new(path).is_dir());
    let writable = hierarchy.is_some_and(|path| access(path, AccessFlags::W_OK).is_ok());
    if !(Uid::effective().is_root() && writable) {
        eprintln!("SKIPPED {test}: it needs root and a cgroup hierarchy mounted for writing at {CGROUPS}");
    }
    Uid::effective().is_root() && writable
}

fn is_version_1() -> bool {
    Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").is_file()
}

fn limited(kit: &Kit, memory: &str, command: &str) -> RunSpec {
    let resources = Resources { memory: Some(memory.parse().unwrap()), disk: None, cpu: None };
    RunSpec { resources, ..kit.spec(command) }
}

/// The cgroups that this backend made and that are still there.
fn cgroups(kit: &Kit) -> Vec<PathBuf> {
    let prefix = format!("taskplane-{}.", fs::read_to_string(kit.path().join("root/id")).unwrap());
    let (mut open, mut found) = (vec![PathBuf::from(CGROUPS)], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_run_that_needs_more_memory_than_it_may_have_is_ended_and_its_neighbour_does_not_notice() {
    if !can_limit("a run without enough memory") {
        return;
    }
    let kit = Kit::new();
    let (ledger, task_env) = kit.ledger();
    let waiting = "echo up; until test -e $LEDGER; do sleep 0.01; done; head -c 8M /dev/zero | tail | wc -c";
    let neighbour = RunSpec { task_env, ..limited(&kit, "64Mi", waiting) };
    let neighbour = start(kit.backend(), &neighbour).await;
    until_written(kit.backend(), &neighbour, "up").await;

    let hog = limited(&kit, "64Mi", &format!("exec {HOG}"));
    let made = kit.backend().ensure(&hog).await.unwrap();
    assert_eq!(made.conditions, []);
    let end = run(kit.backend(), &hog).await;
    assert_eq!((end.cause, end.exit), (EndCause::OutOfMemory, Exit { code: None, signal: Some(9) }));

    fs::write(ledger, "").unwrap();
    let end = until_ended(kit.backend(), &neighbour).await;
    assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(0)));
    assert_eq!(text(kit.backend(), &neighbour).await, "up\n8388608\n");
    assert_eq!(cgroups(&kit), Vec::<PathBuf>::new(), "both have gone with their runs");
}

#[tokio::test]
async fn a_command_that_outlives_what_was_killed_for_memory_ends_with_its_own_code() {
    if !can_limit("a child without enough memory") {
        return;
    }
    if !is_version_1() {
        eprintln!("SKIPPED a child without enough memory: cgroups of version 2 end a run as a whole");
        return;
    }
    let kit = Kit::new();
    let end = run(kit.backend(), &limited(&kit, "32Mi", &format!("{HOG}; exit 3"))).await;
    assert_eq!((end.cause, end.exit), (EndCause::OutOfMemory, Exit { code: Some(3), signal: None }));
}

#[tokio::test]
async fn a_command_is_inside_from_its_first_instruction_and_its_shim_is_not() {
    if !can_limit("what is in a run's cgroup") {
        return;
    }
    let kit = Kit::new();
    let spec = limited(&kit, "64Mi", "cat /proc/$$/cgroup; echo shim; cat /proc/$PPID/cgroup");
    run(kit.backend(), &spec).await;
    let seen = text(kit.backend(), &spec.key).await;
    let (command, shim) = seen.split_once("shim\n").unwrap();
    let name = spec.key.to_string();
    assert!(command.contains(&name) && !shim.contains(&name), "{seen}");
}

#[tokio::test]
async fn a_run_weighs_as_much_as_the_cores_that_it_asks_for() {
    if !can_limit("the weight of a run") {
        return;
    }
    let kit = Kit::new();
    let (root, file) = if is_version_1() { ("/sys/fs/cgroup/cpu*", "cpu.shares") } else { (CGROUPS, "cpu.weight") };
    let asked = |cpu: Option<&str>| {
        let resources = Resources { memory: None, disk: None, cpu: cpu.map(|cpu| cpu.parse().unwrap()) };
        let command = format!("cat {root}$(grep -E '^0:|[:,]cpu[:,]' /proc/$$/cgroup | head -1 | cut -d: -f3)/{file}");
        RunSpec { resources, ..kit.spec(&command) }
    };
    let spec = asked(Some("2"));
    assert_eq!(kit.backend().ensure(&spec).await.unwrap().conditions, []);
    run(kit.backend(), &spec).await;
    let expected = if is_version_1() { "2048\n" } else { "200\n" };
    assert_eq!(text(kit.backend(), &spec.key).await, expected);
}

#[tokio::test]
async fn what_hides_from_everything_else_is_ended_with_its_killed_shim() {
    if !can_limit("what hides from its shim") {
        return;
    }
    let kit = Kit::new();
    // Without the mark, in a session of its own, and nobody's child.
    let spec = kit.spec("(env -i HIDDEN=$CF_INSTANCE_GUID setsid sh -c 'echo up; sleep 1000' &); sleep 1000");
    let hidden = format!("HIDDEN={}", kit.backend().ensure(&spec).await.unwrap().run.0);
    let key = start(kit.backend(), &spec).await;
    until_written(kit.backend(), &key, "up").await;
    assert!(!marked(&hidden).is_empty());
    assert_eq!(cgroups(&kit).len(), 1);
    kill(Pid::from_raw(kit.shim_of(&key)), Signal::SIGKILL).unwrap();
    assert!(matches!(until_over(kit.backend(), &key).await, Fate::Lost { .. }));
    assert_eq!(marked(&hidden), [0; 0]);
    assert_eq!(cgroups(&kit), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_run_that_is_not_made_leaves_no_cgroup() {
    if !can_limit("the cgroup of a run that is not made") {
        return;
    }
    let kit = Kit::new();
    let spec =
        RunSpec { task_env: taskplane_domain::env::Env::stored([("A".into(), "a\0b".into())]), ..kit.spec("true") };
    kit.backend().ensure(&spec).await.unwrap_err();
    assert_eq!(cgroups(&kit), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn recovery_ends_what_is_in_a_cgroup_of_before_and_removes_it() {
    if !can_limit("cgroups after a crash") {
        return;
    }
    let mut kit = Kit::new();
    // Whoever made it got no further: there is no journal that names it.
    let key = start(kit.backend(), &kit.spec("echo up; sleep 1000")).await;
    until_written(kit.backend(), &key, "up").await;
    let [cgroup] = cgroups(&kit).try_into().unwrap();
    let (parent, name) = (cgroup.parent().unwrap(), cgroup.file_name().unwrap().to_str().unwrap());
    let orphan = parent.join(format!("{}t-orphan-1", name.split_once('.').unwrap().0.to_owned() + "."));
    fs::create_dir(&orphan).unwrap();
    let mut left = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(orphan.join("cgroup.procs"), left.id().to_string()).unwrap();
    let elsewhere = parent.join(format!("taskplane-{}.t-1-1", uuid::Uuid::from_u128(std::process::id().into())));
    fs::create_dir(&elsewhere).unwrap();

    kit.drop_backend();
    let again = Kit::at(kit.path());
    again.backend().recover().await.unwrap();

    assert_eq!(cgroups(&again), Vec::<PathBuf>::new());
    assert!(!left.wait().unwrap().success(), "it was killed");
    fs::remove_dir(&elsewhere).expect("another house's is left alone");
}

#[tokio::test]
async fn a_run_whose_working_copy_outgrows_its_quota_is_ended() {
    let kit = Kit::new();
    let quota = |disk: &str, command: &str| {
        let resources = Resources { memory: None, disk: Some(disk.parse().unwrap()), cpu: None };
        RunSpec { resources, ..kit.spec(command) }
    };
    let modest = quota("8Mi", "head -c 4M /dev/zero > some; echo up; until test -e over; do sleep 0.01; done");
    let modest = start(kit.backend(), &modest).await;
    until_running(kit.backend(), &modest).await;
    until_written(kit.backend(), &modest, "up").await;

    let greedy = quota("8Mi", "trap '' TERM; mkdir -p a/b; head -c 9M /dev/zero > a/b/big; sleep 1000");
    let end = run(kit.backend(), &greedy).await;
    assert_eq!((end.cause, end.exit), (EndCause::DiskQuota, Exit { code: None, signal: Some(9) }));
    fs::write(kit.run_dir(&modest).join("work/over"), "").unwrap();
    let end = until_ended(kit.backend(), &modest).await;
    assert_eq!((end.cause, end.exit.code), (EndCause::Natural, Some(0)));
}
