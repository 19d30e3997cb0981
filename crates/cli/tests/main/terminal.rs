//! What changes when a person sits at a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use nix::pty::openpty;
use taskplane_proto::v1::{Job, LogStream, TaskState};

use crate::scripted::{Running, Script, a_line, a_task};
use crate::scripted_jobs::{JobScript, a_job};
use crate::taskplane;

const END: &[u8] = b"\x00the end";

/// Runs the program with a terminal on all three streams, types `typed`, and returns what the terminal was sent.
fn at_a_terminal(home: &Path, api: &str, words: &[&str], typed: &str) -> (Option<i32>, String) {
    let pty = openpty(None, None).unwrap();
    let mut terminal = File::from(pty.slave);
    let mut person = File::from(pty.master);
    let stream = || Stdio::from(terminal.try_clone().unwrap());
    let mut command = taskplane(home);
    command.env("TERM", "xterm").args(["--api", api, "-s", "s"]).args(words);
    let mut child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
    person.write_all(typed.as_bytes()).unwrap();
    // The mark goes through the terminal behind all that the program wrote, so nothing is missed.
    let waiting = std::thread::spawn(move || {
        let code = child.wait().unwrap().code();
        terminal.write_all(END).unwrap();
        (code, terminal)
    });
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    while !seen.ends_with(END) {
        let count = person.read(&mut chunk).unwrap();
        seen.extend_from_slice(&chunk[..count]);
    }
    let (code, _terminal) = waiting.join().unwrap();
    seen.truncate(seen.len() - END.len());
    (code, String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn a_log_cannot_steer_the_terminal() {
    let home = tempfile::tempdir().unwrap();
    let logs = vec![vec![a_line(LogStream::Stdout, b"\x1b[2J\x1b]0;title\x07 \x1b[31mred\x1b[0m 50%\rfake\xff", 9)]];
    let server = Running::start(Script { logs, ..Script::default() });
    let (code, seen) = at_a_terminal(home.path(), &server.url, &["logs", "shop", "--task", "7", "--recent"], "");
    assert_eq!(code, Some(0));
    assert_eq!(seen, "\\x1b[2J\\x1b]0;title\\x07 \x1b[31mred\x1b[0m 50%\\rfake\\xff\r\n");
}

#[test]
fn a_deletion_asks_and_no_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let server = Running::start(Script::default());
    for typed in ["n\n", "\n"] {
        let (code, seen) = at_a_terminal(home.path(), &server.url, &["delete-app", "shop"], typed);
        assert_eq!(code, Some(0));
        assert!(seen.contains("Really delete App shop with all its Tasks and their logs? [y/N]"), "{seen}");
        assert!(seen.ends_with("nothing was deleted\r\n"), "{seen}");
    }
    // With a yes it goes on to the App service, which the scripted server does not have.
    let (code, seen) = at_a_terminal(home.path(), &server.url, &["delete-app", "shop"], "y\n");
    assert_eq!(code, Some(1));
    assert!(seen.ends_with("is the api older than this program?\r\n"), "{seen}");
}

#[test]
fn the_deletion_of_a_job_asks_and_says_how_many_tasks_it_ends() {
    let home = tempfile::tempdir().unwrap();
    let jobs = || JobScript { job: Some(Job { live_task_count: 1, ..a_job(&[]) }), ..JobScript::default() };
    let server = Running::start(Script { jobs: jobs(), ..Script::default() });
    let question =
        "Really delete Job nightly with all its Tasks and their logs? 1 live Task of it ends by force. [y/N]";
    let (code, seen) = at_a_terminal(home.path(), &server.url, &["delete-job", "nightly"], "n\n");
    assert_eq!(code, Some(0));
    assert!(seen.contains(question) && seen.ends_with("nothing was deleted\r\n"), "{seen}");
    let (code, seen) = at_a_terminal(home.path(), &server.url, &["delete-job", "nightly", "-f"], "");
    assert_eq!(code, Some(0));
    assert!(!seen.contains(question) && seen.ends_with("Job nightly deleted.\r\n"), "{seen}");
}

#[test]
fn a_wait_leaves_no_spinner_behind() {
    let home = tempfile::tempdir().unwrap();
    let server = Running::start(Script { task: a_task(TaskState::Running), ..Script::default() });
    let (code, seen) = at_a_terminal(home.path(), &server.url, &["terminate-task", "shop", "7"], "");
    assert_eq!(code, Some(0));
    assert!(seen.ends_with("Task shop/7 is terminated.\r\n"), "{seen}");
}
