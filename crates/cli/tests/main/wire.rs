//! How answers, refusals and broken connections come out.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use taskplane_proto::v1::{LogStream, Reason, Task, TaskState};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::scripted::{Running, Script, a_line, a_task};
use crate::{refusal, run, taskplane, text};

#[test]
fn a_refusal_names_every_field_by_its_flag() {
    let home = tempfile::tempdir().unwrap();
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("resources.memory", "must be an amount like 256M");
    details.add_bad_request_violation("env[A-B]", "must be a name");
    let refused = Status::with_error_details(Code::InvalidArgument, "two fields", details);
    let server = Running::start(Script { run_refusals: vec![refused], ..Script::default() });
    let (code, line) = refusal(&run(home.path(), &server.url, &["run-task", "shop"]));
    assert_eq!(code, 1);
    assert_eq!(line, "taskplane: -m/--memory-limit: must be an amount like 256M, -e/--env A-B: must be a name");
}

#[test]
fn a_submission_is_repeated_with_the_same_request_id() {
    let home = tempfile::tempdir().unwrap();
    let away = || Status::unavailable("starting");
    let server = Running::start(Script { run_refusals: vec![away(), away()], ..Script::default() });
    let output = run(home.path(), &server.url, &["run-task", "shop", "-c", "true"]);
    let said = text(&output.stdout);
    assert!(said.starts_with("Task shop/7 is submitted successfully for execution.\n"), "{said}");
    assert!(
        said.contains("taskplane logs shop --task 7") && said.contains("taskplane terminate-task shop/7"),
        "{said}"
    );
    let script = server.script.lock().unwrap();
    assert_eq!(script.run_requests.len(), 3);
    assert!(script.run_requests.iter().all(|request| request.request_id == script.run_requests[0].request_id));
}

#[test]
fn an_api_that_stays_away_is_an_error_in_its_own_words() {
    let home = tempfile::tempdir().unwrap();
    let away = || Status::unavailable("shutting down");
    let server = Running::start(Script { run_refusals: vec![away(), away(), away(), away()], ..Script::default() });
    let (code, line) = refusal(&run(home.path(), &server.url, &["run-task", "shop"]));
    assert_eq!((code, line.as_str()), (1, "taskplane: shutting down"));
}

#[test]
fn waiting_passes_both_streams_and_the_exit_code_on_across_a_broken_connection() {
    let home = tempfile::tempdir().unwrap();
    let task = Task { exit_code: Some(3), reason: Reason::ExitCode.into(), ..a_task(TaskState::Failed) };
    let (out, err) = (LogStream::Stdout, LogStream::Stderr);
    let logs = vec![
        vec![a_line(out, b"one \xff", 6), a_line(err, b"two", 10), Err(Status::unavailable("cut"))],
        vec![a_line(err, b"two", 10), a_line(out, b"\x1b[2Jthree", 20)],
    ];
    let server = Running::start(Script { task: Task { attempt: 1, ..task }, logs, ..Script::default() });
    let output = run(home.path(), &server.url, &["run-task", "shop", "--wait"]);
    assert_eq!(output.stdout, b"one \xff\n\x1b[2Jthree\n");
    let said = text(&output.stderr);
    assert!(said.starts_with("Task shop/7 is submitted successfully for execution.\n"), "{said}");
    assert_eq!(said.matches("two\n").count(), 1, "{said}");
    assert!(said.ends_with("taskplane: Task shop/7 failed with exit code 3\n"), "{said}");
    assert_eq!(output.status.code(), Some(3));
    let script = server.script.lock().unwrap();
    assert_eq!((script.log_requests[1].attempt, script.log_requests[1].offset), (1, 10));
}

#[test]
fn whoever_stops_waiting_is_told_that_the_task_goes_on() {
    let home = tempfile::tempdir().unwrap();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let logs = vec![vec![a_line(LogStream::Stdout, b"begun", 6)]];
        let server =
            Running::start(Script { task: a_task(TaskState::Running), logs, endless: true, ..Script::default() });
        let mut child = taskplane(home.path())
            .args(["run-task", "shop", "-w", "-s", "s", "--api", &server.url])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
        assert_eq!(first, "begun\n");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        let hint = format!("`taskplane terminate-task shop/7 --api {} -s s` ends it\n", server.url);
        assert!(said.ends_with(&format!("no longer waiting, Task shop/7 goes on; {hint}")), "{said}");
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(server.script.lock().unwrap().cancels, 0);
    }
}

#[test]
fn all_pages_of_a_list_are_one_answer() {
    let home = tempfile::tempdir().unwrap();
    let server = Running::start(Script::default());
    let output = run(home.path(), &server.url, &["tasks", "-o", "name"]);
    assert_eq!(text(&output.stdout), "spaces/s/apps/shop/tasks/2\nspaces/s/apps/shop/tasks/1\n");
    let output = run(home.path(), &server.url, &["tasks", "--limit", "1", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(list["tasks"][0]["state"], "TASK_STATE_SUCCEEDED");
    let output = run(home.path(), &server.url, &["tasks", "-o", "yaml"]);
    assert!(text(&output.stdout).starts_with("tasks:\n- "), "{}", text(&output.stdout));
}

#[test]
fn terminating_waits_for_the_end_and_is_no_error_when_it_came_before() {
    let home = tempfile::tempdir().unwrap();
    let server = Running::start(Script { task: a_task(TaskState::Running), ..Script::default() });
    for (words, said) in [
        (
            vec!["terminate-task", "shop", "7"],
            "Task shop/7 is submitted for termination.\nTask shop/7 is terminated.\n",
        ),
        (vec!["terminate-task", "shop/7"], "Task shop/7 is over already (Cancelled).\n"),
    ] {
        let output = run(home.path(), &server.url, &words);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), said));
    }
    assert_eq!(server.script.lock().unwrap().cancels, 1);
    let (code, line) = refusal(&run(home.path(), &server.url, &["terminate-task", "shop", "8"]));
    assert_eq!((code, line.as_str()), (1, "taskplane: no such task"));
}

#[test]
fn logs_join_parts_of_a_line_and_tag_the_lines_of_an_app() {
    let home = tempfile::tempdir().unwrap();
    let logs = || vec![vec![a_line(LogStream::Stdout, b"one", 4), a_line(LogStream::Stderr, b"two", 8)]];
    let server = Running::start(Script { logs: logs(), ..Script::default() });
    let output = run(home.path(), &server.url, &["logs", "shop", "--task", "--recent"]);
    assert_eq!(text(&output.stdout), "[shop/7] one\n[shop/7] two\n");
    server.script.lock().unwrap().logs = logs();
    let output = run(home.path(), &server.url, &["logs", "shop", "--task", "7", "--recent", "-n", "3"]);
    assert_eq!(text(&output.stdout), "one\ntwo\n");
    let requests = &server.script.lock().unwrap().log_requests;
    assert_eq!((requests[0].tail, requests[0].follow, requests[1].tail), (Some(10), false, Some(3)));
}

#[test]
fn a_target_is_stored_only_when_it_answers() {
    let home = tempfile::tempdir().unwrap();
    let server = Running::start(Script::default());
    // The scripted server has no Space service.
    let (code, line) = refusal(&run(home.path(), "", &["target", "--api", &server.url, "-s", "blue"]));
    assert_eq!(code, 1);
    assert!(line.ends_with("is the api older than this program?"), "{line}");
    assert!(!home.path().join("taskplane/config.yaml").exists());
}
