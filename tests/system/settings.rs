//! What a process says of its settings before it does anything.

use std::process::{Command, Output};

use crate::kit::System;
use crate::server::binary;

const SERVICES: [&str; 4] = ["api", "scheduler", "reaper", "executor"];

fn check(service: &str, args: &[String]) -> Output {
    let mut command = Command::new(binary(&format!("taskplane-{service}")));
    command.args(args).arg("--check-config").output().unwrap()
}

/// The one line of a refusal.
fn refusal(service: &str, args: &[String]) -> String {
    let output = check(service, args);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(output.stdout.is_empty());
    line.trim_end().to_owned()
}

/// The same with another value for a flag.
fn with(args: &[String], flag: &str, value: &str) -> Vec<String> {
    let mut args = args.to_vec();
    match args.iter().position(|arg| arg == flag) {
        Some(at) => value.clone_into(&mut args[at + 1]),
        None => args.extend([flag.to_owned(), value.to_owned()]),
    }
    args
}

/// Nothing is listened on, and the database need not be there.
async fn good(service: &str) -> (System, Vec<String>) {
    let mut system = System::prepare().await;
    system.database = "postgres://u:zzcanary@nowhere.invalid/x".into();
    let args = with(&system.args(&format!("{service}-1")), "--api-address", "localhost:7071");
    let args = if service == "executor" { args } else { system.args(&format!("{service}-1")) };
    (system, args)
}

#[tokio::test]
async fn settings_that_can_work_are_told_from_others_without_anybody_else() {
    for service in SERVICES {
        let (_system, args) = good(service).await;
        let output = check(service, &args);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("taskplane-{service}: the settings can work\n"));
    }
}

#[tokio::test]
async fn a_wrong_setting_is_refused_in_one_line_that_names_its_flag_and_no_secret() {
    for service in ["api", "scheduler", "reaper"] {
        let (system, args) = good(service).await;
        let text = system.path("text");
        std::fs::write(&text, "zzcanary").unwrap();
        let text = text.display().to_string();
        for (flag, value, says) in [
            ("--database-url", "mysql://zzcanary", "must begin with"),
            ("--database-url", "sqlite:x.db", "taskplane-standalone"),
            ("--database-url", "postgres://zzcanary@host:notaport/x", "postgres://USER"),
            ("--secret-key-file", "/nowhere", "cannot be read"),
            ("--secret-key-file", &text, "64 hexadecimal digits"),
            ("--log", "a=b=c", "filter"),
        ] {
            let line = refusal(service, &with(&args, flag, value));
            assert!(line.starts_with(&format!("taskplane-{service}: ")), "{line}");
            assert!(line.contains(flag) && line.contains(says) && !line.contains("zzcanary"), "{line}");
        }
    }
    let (_system, args) = good("api").await;
    for (flag, value, says) in [
        ("--listen", "0.0.0.0:7070", "--insecure-listen"),
        ("--internal-listen", "0.0.0.0:7071", "--insecure-internal"),
        ("--token-key-file", "/nowhere", "cannot be read"),
        ("--objects-url", "ftp://x", "file:///absolute/path"),
    ] {
        let line = refusal("api", &with(&args, flag, value));
        assert!(line.contains(flag) && line.contains(says), "{line}");
    }
    let (_system, args) = good("executor").await;
    for (flag, value, says) in [
        ("--api-address", "10.0.0.1:7071", "--insecure-internal"),
        ("--logs-listen", "10.0.0.1:0", "--insecure-internal"),
        ("--shim", "/nowhere", "is not there"),
    ] {
        let line = refusal("executor", &with(&args, flag, value));
        assert!(line.contains(flag) && line.contains(says), "{line}");
    }
    let line = refusal(
        "executor",
        &[&with(&args, "--logs-listen", "0.0.0.0:0")[..], &["--insecure-internal".into()]].concat(),
    );
    assert!(line.contains("--logs-advertise HOST:PORT"), "{line}");
}

#[tokio::test]
async fn what_is_missing_or_no_value_at_all_is_refused_as_well() {
    for service in SERVICES {
        let output = check(service, &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text.contains("required") && text.contains("--"), "{text}");
    }
    let (_system, args) = good("executor").await;
    for bad in ["localhost", "http://localhost:1", "a:0", ""] {
        let output = check("executor", &with(&args, "--api-address", bad));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("--api-address") && text.contains("HOST:PORT"), "{text}");
    }
}

#[tokio::test]
async fn a_database_that_refuses_us_is_told_at_once() {
    let system = System::prepare().await;
    let nobody = system.database.rsplit_once('/').map(|(server, _)| format!("{server}/nowhere")).unwrap();
    let mut command = Command::new(binary("taskplane-scheduler"));
    command.args(with(&system.args("scheduler-1"), "--database-url", &nobody)).args(["--log", "error"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line, "taskplane-scheduler: the database cannot be used: database \"nowhere\" does not exist\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_standalone_looks_at_its_settings_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let check = |args: &[&str]| {
        let mut command = Command::new(binary("taskplane-standalone"));
        command.arg("--check-config").arg("--data-dir").arg(&data).args(args).output().unwrap()
    };
    assert!(check(&[]).status.success() && !data.exists());
    for (flag, value) in [
        ("--listen", "0.0.0.0:1"),
        ("--secret-key-file", "/nowhere"),
        ("--database-url", "x:y"),
        ("--shim", "/nowhere"),
    ] {
        let refused = check(&[flag, value]);
        assert_eq!(refused.status.code(), Some(1));
        let line = String::from_utf8(refused.stderr).unwrap();
        assert!(line.lines().count() == 1 && line.contains(flag), "{line}");
    }
    assert!(!data.exists());
}
