//! What needs no server, and what is said when there is none.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::{refusal, run, taskplane, text};

/// An address where nobody listens.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

#[test]
fn an_api_that_is_not_there_is_named_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let api = nobody();
    let (code, line) = refusal(&run(home.path(), &api, &["tasks"]));
    assert_eq!(code, 1);
    assert!(line.starts_with(&format!("taskplane: cannot reach the api at {api}: connection refused")), "{line}");
    assert!(line.ends_with("; is it running? set --api or TASKPLANE_API"), "{line}");
}

#[test]
fn an_api_that_never_answers_is_not_waited_for_forever() {
    let home = tempfile::tempdir().unwrap();
    // The system takes the connection; nobody reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let (code, line) = refusal(&run(home.path(), &api, &["tasks", "--request-timeout", "200ms"]));
    assert_eq!(code, 1);
    assert_eq!(line, "taskplane: no answer within 0.2s; set --request-timeout to wait longer");
}

#[test]
fn a_push_without_task_is_refused_before_anything_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let (code, line) = refusal(&run(home.path(), &nobody(), &["push", "shop", "-p", "."]));
    assert_eq!(code, 2);
    assert!(line.contains("long-running Apps are not supported") && line.ends_with("add --task"), "{line}");
}

#[test]
fn a_command_line_that_cannot_be_parsed_is_one_line_and_exit_code_2() {
    let home = tempfile::tempdir().unwrap();
    for words in [vec![], vec!["fly"], vec!["run-task"], vec!["apps", "--as", "x"], vec!["tasks", "--state", "odd"]] {
        let (code, line) = refusal(&run(home.path(), &nobody(), &words));
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with("taskplane: ") && line.contains("--help`"), "{line}");
    }
}

#[test]
fn without_a_space_the_way_to_choose_one_is_named() {
    let home = tempfile::tempdir().unwrap();
    let output = taskplane(home.path()).args(["tasks"]).output().unwrap();
    let (code, line) = refusal(&output);
    assert_eq!(
        (code, line.as_str()),
        (1, "taskplane: no Space is targeted; use `taskplane target -s SPACE`, or --space")
    );
}

#[test]
fn nothing_is_deleted_where_nobody_can_be_asked() {
    let home = tempfile::tempdir().unwrap();
    for words in [["delete-app", "shop"], ["delete-space", "s"]] {
        let (code, line) = refusal(&run(home.path(), &nobody(), &words));
        assert_eq!(code, 1);
        assert!(line.ends_with("add -f to delete without asking"), "{line}");
    }
}

#[test]
fn files_that_must_not_be_pushed_are_named() {
    let home = tempfile::tempdir().unwrap();
    symlink("/etc/passwd", home.path().join("escape")).unwrap();
    let (_, line) = refusal(&run(home.path(), &nobody(), &["push", "shop", "--task"]));
    assert!(line.contains("./escape: it points out of the pushed directory, to /etc/passwd"), "{line}");
    let (_, line) = refusal(&run(home.path(), &nobody(), &["push", "shop", "--task", "-p", "missing"]));
    assert!(line.starts_with("taskplane: cannot read missing: "), "{line}");
}

#[test]
fn a_broken_manifest_is_one_line_with_the_place() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("manifest.yml"), "applications:\n- name: [").unwrap();
    let (code, line) = refusal(&run(home.path(), &nobody(), &["push", "shop", "--task"]));
    assert_eq!(code, 1);
    assert!(line.starts_with("taskplane: manifest.yml: ") && line.contains(" line "), "{line}");
}

#[test]
fn linked_as_kf_it_is_kf() {
    let home = tempfile::tempdir().unwrap();
    let kf = home.path().join("kf");
    symlink(env!("CARGO_BIN_EXE_taskplane"), &kf).unwrap();
    let help = Command::new(&kf).args(["run-task", "--help"]).output().unwrap();
    assert!(text(&help.stdout).contains("Usage: kf run-task"));
    let script = Command::new(&kf).args(["completion", "bash"]).output().unwrap();
    assert!(text(&script.stdout).contains("complete -F _kf"));
}

#[test]
fn every_shell_gets_its_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(home.path(), &nobody(), &["completion", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("run-task"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_gone_away_ends_the_program_quietly() {
    let home = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = taskplane(home.path()).args(["completion", "zsh"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(141), ""));
}

#[test]
fn the_version_is_data_too() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &nobody(), &["version", "-o", "json"]);
    assert_eq!(text(&output.stdout), format!("{{\n  \"version\": \"{}\"\n}}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_command_and_flag_of_kf_is_known() {
    let home = tempfile::tempdir().unwrap();
    let flags = |command: &str| text(&run(home.path(), &nobody(), &[command, "--help"]).stdout);
    for (command, expected) in [
        ("push", "-c -e -f -p -m -k --cpu-cores --task --docker-image"),
        ("run-task", "-c -m -k --cpu-cores --command --name --disk-quota --memory-limit --space --config"),
        ("tasks", "[APP] -o --output"),
        ("terminate-task", "--async --retries --retry-delay <TASK|APP> [ID]"),
        ("create-job", "<APP> <JOB> [COMMAND] -s --schedule -c --concurrency-policy --async -m -k --cpu-cores --space"),
        ("run-job", "<JOB> -m --memory-limit -k --disk-quota --cpu-cores"),
        ("schedule-job", "<JOB> <CRON> --add --time-zone --gap --overlap --deadline"),
        ("jobs", "-o --output"),
        ("job-schedules", "[JOB] -o --output"),
        ("job-history", "<JOB> -o --output --tasks"),
        ("delete-job-schedule", "<JOB> [ID|GUID]"),
        ("delete-job", "<JOB> --async --retries --retry-delay --grace -f"),
        ("logs", "--task --recent -n --number [APP]"),
    ] {
        let help = flags(command);
        for flag in expected.split(' ') {
            assert!(help.contains(flag), "{command} has no {flag}:\n{help}");
        }
    }
}
