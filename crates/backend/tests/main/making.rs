//! What a run is made of, and what comes of a run that cannot be made.

use std::fs;
use std::path::Path;

use taskplane_backend::local::LocalBackend;
use taskplane_backend::{Backend, BackendError};
use taskplane_domain::app::{Command, Source};
use taskplane_domain::env::Env;
use taskplane_domain::run::RunSpec;
use taskplane_domain::security_group::{GroupRef, GroupRules};
use taskplane_domain::task::{ConditionStatus, Reason};
use taskplane_domain::uid::SecurityGroupUid;
use uuid::Uuid;

use crate::conformance::{run, text, until_over};
use crate::kit::{self, Kit};

#[tokio::test]
async fn the_environment_is_what_it_is_said_to_be_and_nothing_else() {
    let kit = Kit::new();
    let spec = RunSpec {
        inherited_env: Env::stored([("A".into(), "app".into()), ("B".into(), "app".into())]),
        task_env: Env::stored([("B".into(), "ta sk\n'$x\"".into())]),
        resources: taskplane_domain::quantity::Resources { memory: "256M".parse().ok(), disk: None, cpu: None },
        ..kit.spec("exec env -0")
    };
    let uid = kit.backend().ensure(&spec).await.unwrap().run.0;
    kit.backend().release(&spec.key).await.unwrap();
    let seen = text(kit.backend(), &spec.key).await;
    let mut seen: Vec<_> = seen.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    seen.retain(|var| !var.starts_with("VCAP_APPLICATION="));
    seen.sort();
    let id = fs::read_to_string(kit.path().join("root/id")).unwrap();
    let work = kit.run_dir(&spec.key).join("work").display().to_string();
    let mut expected = vec![
        "A=app".to_owned(),
        "B=ta sk\n'$x\"".to_owned(),
        "CF_INSTANCE_GUID=".to_owned() + &uid,
        "CF_INSTANCE_INTERNAL_IP=127.0.0.1".to_owned(),
        "CF_INSTANCE_IP=127.0.0.1".to_owned(),
        "CF_INSTANCE_PORT=8080".to_owned(),
        "CF_INSTANCE_ADDR=127.0.0.1:8080".to_owned(),
        format!("CF_TASK_ID={}", spec.key.task),
        "CF_TASK_NAME=test".to_owned(),
        "HOME=".to_owned() + &work,
        "INSTANCE_GUID=".to_owned() + &uid,
        "LANG=C.UTF-8".to_owned(),
        "MEMORY_LIMIT=256M".to_owned(),
        "MEMORY_LIMIT_IN_MB=256".to_owned(),
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        // The shell's own.
        "PWD=".to_owned() + &work,
        "TASKPLANE_ATTEMPT=1".to_owned(),
        format!("TASKPLANE_RUN={}@{id}", spec.key),
        format!("TASKPLANE_TASK={}", spec.name),
        "VCAP_APP_HOST=127.0.0.1".to_owned(),
        "VCAP_SERVICES={}".to_owned(),
    ];
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn security_groups_are_said_not_to_be_enforced() {
    let kit = Kit::new();
    let reference = GroupRef { uid: SecurityGroupUid(Uuid::nil()), name: "db".parse().unwrap(), revision: 3 };
    let spec =
        RunSpec { security_groups: vec![GroupRules { group: reference, rules: Vec::new() }], ..kit.spec("true") };
    let made = kit.backend().ensure(&spec).await.unwrap();
    let said = made.conditions.iter().find(|condition| condition.kind == "SecurityGroupsEnforced").unwrap();
    assert_eq!((said.status, said.reason.as_str()), (ConditionStatus::False, "LocalProcess"));
    assert!(said.message.contains("db (revision 3)"), "{}", said.message);
    assert_eq!(kit.backend().ensure(&spec).await.unwrap(), made, "the same run says the same");
    let other = kit.backend().ensure(&kit.spec("true")).await.unwrap();
    assert!(other.conditions.iter().all(|condition| condition.kind != "SecurityGroupsEnforced"));
}

#[tokio::test]
async fn commands_arrive_byte_for_byte() {
    let kit = Kit::new();
    for (command, expected) in [
        ("printf %s 'a  $HOME \"q\" \\ $(x) $$ $(NAME)'", "a  $HOME \"q\" \\ $(x) $$ $(NAME)"),
        ("echo one\necho 'two\nthree'", "one\ntwo\nthree\n"),
        ("# only a remark\n\techo ü €", "ü €\n"),
        ("-c 2>/dev/null || echo dash", "dash\n"),
        ("echo \"$0 $#\"", "/bin/sh 0\n"),
        ("cat; echo closed", "closed\n"),
    ] {
        let spec = kit.spec(command);
        run(kit.backend(), &spec).await;
        assert_eq!(text(kit.backend(), &spec.key).await, expected, "{command}");
    }
}

#[tokio::test]
async fn neither_command_nor_values_show_while_a_run_waits() {
    let kit = Kit::new();
    let spec = RunSpec { task_env: Env::stored([("A".into(), "canary".into())]), ..kit.spec("echo canary") };
    kit.backend().ensure(&spec).await.unwrap();
    let shim = kit.shim_of(&spec.key);
    for file in ["cmdline", "environ"] {
        let shown = fs::read(format!("/proc/{shim}/{file}")).unwrap();
        assert!(!shown.windows(6).any(|window| window == b"canary"), "{file}");
    }
    assert!(!holds(&kit.path().join("root"), b"canary"), "nothing of it is on disk");
}

#[tokio::test]
async fn working_copies_are_separate_and_go_with_their_runs() {
    let kit = Kit::new();
    let specs = [kit.spec("cat data/rows.csv; echo 3 >> data/rows.csv"), kit.spec("cat data/rows.csv; chmod 0 data")];
    for spec in &specs {
        run(kit.backend(), spec).await;
        assert_eq!(text(kit.backend(), &spec.key).await, "a,1\nb,2\n");
        assert!(kit.run_dir(&spec.key).exists());
    }
    for spec in &specs {
        kit.backend().remove(&spec.key).await.unwrap();
        assert!(!kit.run_dir(&spec.key).exists());
    }
    assert_eq!(fs::read_dir(kit.path().join("root/trash")).unwrap().count(), 0);
}

#[tokio::test]
async fn two_releases_start_it_once() {
    let kit = Kit::new();
    let (ledger, task_env) = kit.ledger();
    let spec = RunSpec { task_env, ..kit.spec("echo x >> $LEDGER") };
    kit.backend().ensure(&spec).await.unwrap();
    let releases = (0..10).map(|_| kit.backend().release(&spec.key));
    for released in futures::future::join_all(releases).await {
        released.unwrap();
    }
    until_over(kit.backend(), &spec.key).await;
    assert_eq!(fs::read_to_string(ledger).unwrap(), "x\n");
}

#[tokio::test]
async fn what_cannot_be_made_says_why_and_leaves_nothing() {
    let kit = Kit::new();
    let junk = b"no tar at all".repeat(100);
    let damaged = kit::described(b"something else");
    fs::write(kit.path().join(kit::described(&junk).sha256), &junk).unwrap();
    fs::write(kit.path().join(&damaged.sha256), kit::archive()).unwrap();
    for (source, reason) in [
        (Source::Image("registry.example/app:1".into()), Reason::InvalidSpec),
        (Source::Archive(kit::described(b"nowhere")), Reason::SourceUnavailable),
        (Source::Archive(kit::described(&junk)), Reason::SourceInvalid),
        (Source::Archive(damaged), Reason::SourceInvalid),
    ] {
        refused(kit.backend(), &RunSpec { source, ..kit.spec("true") }, reason).await;
    }
    let nul = RunSpec { command: Command::stored("a\0b".into()), ..kit.spec("true") };
    refused(kit.backend(), &nul, Reason::InvalidSpec).await;
    assert_eq!(fs::read_dir(kit.path().join("root/runs")).unwrap().count(), 0);
    assert_eq!(kit.alive(), [0; 0]);
}

#[tokio::test]
async fn a_shim_that_is_none_makes_no_run() {
    let dir = tempfile::tempdir().unwrap();
    for shim in ["/no/such/shim", "/bin/true"] {
        let config = taskplane_backend::local::LocalConfig { shim: shim.into(), ..kit::config(dir.path()) };
        let backend = LocalBackend::open(config).unwrap();
        refused(&backend, &kit::spec(1, "true"), Reason::StartFailed).await;
        assert_eq!(fs::read_dir(dir.path().join("root/runs")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_directory_has_one_backend_at_a_time() {
    let mut kit = Kit::new();
    assert!(matches!(LocalBackend::open(kit::config(kit.path())), Err(BackendError::Unavailable { .. })));
    kit.drop_backend();
    LocalBackend::open(kit::config(kit.path())).unwrap();
}

async fn refused(backend: &LocalBackend, spec: &RunSpec, expected: Reason) {
    match backend.ensure(spec).await {
        Err(BackendError::NotMade { reason, message }) => assert_eq!(reason, expected, "{message}"),
        other => panic!("not refused for {expected:?}: {other:?}"),
    }
    assert_eq!(backend.observe(&spec.key).await.unwrap(), taskplane_backend::Observation::Absent);
}

/// Whether any file below holds these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().flatten().any(|entry| {
        if entry.file_type().unwrap().is_dir() {
            holds(&entry.path(), bytes)
        } else {
            fs::read(entry.path()).unwrap().windows(bytes.len()).any(|window| window == bytes)
        }
    })
}
