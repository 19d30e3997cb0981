//! The command line about Tasks: running, listing, ending, reading what they wrote.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use taskplane_proto::v1::{self as pb, TaskState};

use crate::client::task;
use crate::server::within;
use crate::terminal::{Said, Terminal, cells, said};

/// Waits for a child without keeping the runtime from its work.
async fn ended(child: Child) -> Said {
    within(async { said(tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap()) }).await
}

#[tokio::test]
async fn a_submission_says_what_to_do_next() {
    let terminal = Terminal::with_app().await;
    assert_eq!(
        terminal.ok(&["run-task", "a", "-c", "true", "--name", "nightly sum"]),
        "Task a/1 is submitted successfully for execution.\n\n\
         Follow its log:   taskplane logs a --task 1\n\
         See it:           taskplane task a/1\n\
         Terminate it:     taskplane terminate-task a/1\n"
    );
    assert_eq!(terminal.ok(&["run-task", "a", "-c", "true", "-o", "name"]), "spaces/s/apps/a/tasks/2\n");
    let task: Value = serde_json::from_str(&terminal.ok(&["run-task", "a", "-c", "true", "-o", "json"])).unwrap();
    assert_eq!((&task["id"], &task["state"]), (&"3".into(), &"TASK_STATE_PENDING".into()));
    let same = ["run-task", "a", "-c", "true", "-o", "name", "--request-id", "once"];
    assert_eq!(terminal.ok(&same), terminal.ok(&same));
}

#[tokio::test]
async fn waiting_streams_the_log_and_ends_as_the_task_ends() {
    let terminal = Terminal::with_app().await;
    for (command, flags, code, out, said) in [
        ("cat file; echo on stderr >&2", &[][..], 0, "content\n", ""),
        ("echo three; exit 3", &[], 3, "three\n", "failed with exit code 3"),
        ("exit 255", &[], 255, "", "failed with exit code 255"),
        ("echo last words; kill -SEGV $$", &[], 139, "last words\n", "was ended by signal 11"),
        ("kill -KILL $$", &[], 137, "", "was ended by signal 9"),
        ("echo slow; sleep 600", &["--timeout", "500ms"], 124, "slow\n", "ran into its timeout"),
        ("not-a-command", &[], 127, "", "failed with exit code 127"),
    ] {
        let waited = terminal.run(&[&["run-task", "a", "--wait", "-c", command], flags].concat());
        assert_eq!((waited.code, waited.out.as_str()), (Some(code), out), "{command}: {}", waited.err);
        let last = waited.err.lines().last().unwrap();
        match said {
            "" => assert_eq!(last, "on stderr"),
            said => assert!(last.starts_with("taskplane: Task a/") && last.contains(said), "{command}: {}", waited.err),
        }
        assert!(waited.err.starts_with("Task a/"), "{}", waited.err);
    }
    // Bytes arrive as they were written, whatever they are.
    let output = terminal.command(&["run-task", "a", "-w", "-c", r"printf '\377\033[2Jx\r\ny'"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"\xff\x1b[2Jx\r\ny"[..]));
    let data = terminal.run(&["run-task", "a", "-w", "-c", "echo out; exit 3", "-o", "json"]);
    let task: Value = serde_json::from_str(&data.out).unwrap();
    assert_eq!((data.code, &task["exitCode"]), (Some(3), &3.into()));
    assert!(data.err.contains("\nout\n"), "{}", data.err);
}

#[tokio::test]
async fn waiting_ends_with_the_cancelled_task_and_the_task_survives_the_waiting() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    let waiting = terminal.command(&["run-task", "a", "--wait", "-c", "sleep 600"]).spawn().unwrap();
    let first = "spaces/s/apps/a/tasks/1";
    within(async {
        while client
            .tasks
            .clone()
            .get_task(pb::GetTaskRequest { name: first.into(), ..Default::default() })
            .await
            .is_err()
        {}
    })
    .await;
    client.running(first).await;
    client.cancel(first).await;
    let waited = ended(waiting).await;
    assert_eq!(waited.code, Some(1));
    assert!(waited.err.lines().last().unwrap().starts_with("taskplane: Task a/1 was cancelled"), "{}", waited.err);

    let mut waiting = terminal.command(&["run-task", "a", "-w", "-c", "echo here; sleep 600"]).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(waiting.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    kill(Pid::from_raw(waiting.id().cast_signed()), Signal::SIGINT).unwrap();
    let waited = ended(waiting).await;
    assert_eq!(waited.code, Some(130));
    assert_eq!(
        waited.err.lines().last(),
        Some("taskplane: no longer waiting, Task a/2 goes on; `taskplane terminate-task a/2` ends it")
    );
    assert_eq!(client.running("spaces/s/apps/a/tasks/2").await.state(), TaskState::Running);
    client.cancel("spaces/s/apps/a/tasks/2").await;
}

#[tokio::test]
async fn tasks_are_listed_in_the_columns_of_kf() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    assert_eq!(cells(&terminal.ok(&["tasks"])).len(), 1, "nothing but the header");
    let named = |name: &str, command: &str| pb::RunTaskRequest { display_name: name.into(), ..task(command) };
    for request in [named("one", "true"), named("two", "exit 3"), named("three", "sleep 600")] {
        let task = client.run_task(request.clone()).await.unwrap();
        match request.command.starts_with("sleep") {
            true => client.running(&task.name).await,
            false => client.over(&task.name).await,
        };
    }
    let table = terminal.ok(&["tasks", "a"]);
    assert!(table.lines().all(|line| !line.ends_with(' ') && !line.contains('|')), "{table}");
    let table = cells(&table);
    assert_eq!(table[0], ["Name", "ID", "DisplayName", "Age", "Duration", "Succeeded", "Reason"]);
    let row = |at: usize| (table[at][0], table[at][1], table[at][2], table[at][5], table[at][6]);
    assert_eq!(row(1), ("a/3", "3", "three", "Unknown", "Running"));
    assert_eq!(row(2), ("a/2", "2", "two", "False", "ExitCode"));
    assert_eq!(row(3), ("a/1", "1", "one", "True", "Succeeded"));
    for row in &table[1..] {
        assert!(row[3].ends_with('s') && row[4].ends_with('s'), "{row:?}");
    }
    let names = |words: &[&str]| terminal.ok(&[words, &["-o", "name"]].concat()).replace("spaces/s/apps/a/tasks/", "");
    assert_eq!(names(&["tasks", "--state", "failed"]), "2\n");
    assert_eq!(names(&["tasks", "--state", "failed,running"]), "3\n2\n");
    assert_eq!(names(&["tasks", "-n", "1"]), "3\n");
    assert_eq!(names(&["tasks", "--job", "nightly"]), "");

    let sheet = terminal.ok(&["task", "a/2"]);
    for (key, value) in
        [("Name", "a/2"), ("DisplayName", "two"), ("State", "Failed"), ("Exit code", "3"), ("Command", "exit 3")]
    {
        let line = sheet.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap();
        assert!(line.ends_with(&format!(" {value}")), "{sheet}");
    }
    for same in [&["task", "a", "2"][..], &["task", "spaces/s/apps/a/tasks/2"]] {
        assert!(terminal.ok(same).contains("exit 3"));
    }
    let (code, line) = terminal.refusal(&["task", "a/99"]);
    assert_eq!((code, line.as_str()), (1, "taskplane: spaces/s/apps/a/tasks/99 not found"));
    let (_, line) = terminal.refusal(&["tasks", "nothing"]);
    assert_eq!(line, "taskplane: spaces/s/apps/nothing not found");
}

#[tokio::test]
async fn a_task_is_terminated_by_either_spelling_and_being_late_is_no_error() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    for _ in 0..3 {
        let run = client.run("sleep 600").await;
        client.running(&run.name).await;
    }
    assert_eq!(
        terminal.ok(&["terminate-task", "a/1"]),
        "Task a/1 is submitted for termination.\nTask a/1 is terminated.\n"
    );
    assert_eq!(client.get("spaces/s/apps/a/tasks/1").await.state(), TaskState::Cancelled);
    assert_eq!(
        terminal.ok(&["terminate-task", "a", "2"]),
        "Task a/2 is submitted for termination.\nTask a/2 is terminated.\n"
    );
    assert_eq!(terminal.ok(&["terminate-task", "a/3", "--async"]), "Task a/3 is submitted for termination.\n");
    client.over("spaces/s/apps/a/tasks/3").await;
    assert_eq!(terminal.ok(&["terminate-task", "a/3"]), "Task a/3 is over already (Cancelled).\n");
    let done = client.run("true").await;
    client.over(&done.name).await;
    assert_eq!(terminal.ok(&["terminate-task", "a", "4"]), "Task a/4 is over already (Succeeded).\n");
    assert_eq!(
        terminal.ok(&["terminate-task", "a", "4", "--delete-logs"]),
        "Task a/4 is over already (Succeeded). What it wrote is deleted.\n"
    );
    let gone = "taskplane: the log of spaces/s/apps/a/tasks/4 was deleted, as was asked for";
    assert!(terminal.refusal(&["logs", "a", "--task", "4", "--recent"]).1.starts_with(gone));
    assert!(terminal.ok(&["why", "a", "4"]).starts_with("Task a/4 is Succeeded.\n"));
    assert_eq!(terminal.ok(&["why", "a/4", "-o", "name"]), "spaces/s/apps/a/tasks/4\n");
    let refused =
        "taskplane: spaces/s/apps/a/tasks/4 is SUCCEEDED, and not stuck in its end: only such a Task can be given up";
    assert!(terminal.refusal(&["abandon-task", "a", "4"]).1.starts_with(refused));
    for (words, expected) in [
        (&["terminate-task", "a/99"][..], "taskplane: spaces/s/apps/a/tasks/99 not found"),
        (&["terminate-task", "a", "99"], "taskplane: spaces/s/apps/a/tasks/99 not found"),
        (&["terminate-task", "b", "1"], "taskplane: spaces/s/apps/b/tasks/1 not found"),
    ] {
        assert_eq!(terminal.refusal(words), (1, expected.to_owned()));
    }
    for words in [&["terminate-task", "a"][..], &["terminate-task", "a", "x"], &["terminate-task", "a/0"]] {
        assert_eq!(terminal.refusal(words).0, 1);
    }
}

#[tokio::test]
async fn logs_show_the_last_lines_and_follow_until_the_task_is_over() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    let twelve = client.run("for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $n; done").await;
    client.over(&twelve.name).await;
    let lines = |from: u32| (from..=12).map(|n| format!("line {n}\n")).collect::<String>();
    for (words, from) in
        [(&[][..], 3), (&["-n", "2"], 11), (&["-n", "all"], 1), (&["-n", "-1"], 1), (&["--since", "1h"], 1)]
    {
        let recent = terminal.ok(&[&["logs", "a", "--task", "1", "--recent"], words].concat());
        assert_eq!(recent, lines(from), "{words:?}");
        // Following one that is over ends at once.
        assert_eq!(terminal.ok(&[&["logs", "a", "--task", "1"], words].concat()), lines(from), "{words:?}");
    }
    assert_eq!(terminal.ok(&["logs", "a", "--task", "1", "--recent", "-n", "0"]), "");

    let gate = terminal.home.path().join("gate");
    let slow =
        client.run(&format!("echo early; until [ -e {} ]; do sleep 0.05; done; echo late", gate.display())).await;
    let mut following = terminal.command(&["logs", "a", "--task", "2"]).spawn().unwrap();
    let mut out = BufReader::new(following.stdout.take().unwrap());
    let mut early = String::new();
    out.read_line(&mut early).unwrap();
    assert_eq!(early, "early\n", "it comes while the Task runs");
    std::fs::write(&gate, "").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let followed = ended(following).await;
    assert_eq!((followed.code, rest.as_str(), followed.err.as_str()), (Some(0), "late\n", ""));
    client.over(&slow.name).await;

    let whole = terminal.ok(&["logs", "a", "--task", "--recent", "-n", "3"]);
    assert_eq!(whole, "[a/1] line 12\n[a/2] early\n[a/2] late\n");
    assert_eq!(terminal.refusal(&["logs", "a"]).0, 2);
    assert_eq!(
        terminal.refusal(&["logs", "a", "--task", "9"]),
        (1, "taskplane: spaces/s/apps/a/tasks/9 not found".into())
    );
}

#[tokio::test]
async fn what_is_recent_is_there_while_the_task_runs() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    let run = client.run("echo early; sleep 600").await;
    let mut following = terminal.command(&["logs", "a", "--task", "1"]).spawn().unwrap();
    let mut early = String::new();
    BufReader::new(following.stdout.take().unwrap()).read_line(&mut early).unwrap();
    // Who follows has seen it, so who asks now is shown it too.
    assert_eq!(terminal.ok(&["logs", "a", "--task", "1", "--recent"]), early);
    assert_eq!(terminal.ok(&["logs", "a", "--task", "--recent"]), format!("[a/1] {early}"));
    following.kill().unwrap();
    following.wait().unwrap();
    client.cancel(&run.name).await;
}

#[tokio::test]
async fn the_log_of_an_app_goes_on_with_tasks_that_come_later() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    let first = client.run("echo first").await;
    client.over(&first.name).await;
    let mut following = terminal.command(&["logs", "a", "--task"]).spawn().unwrap();
    let mut out = BufReader::new(following.stdout.take().unwrap());
    let mut next = move || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(next(), "[a/1] first\n");
    let second = client.run("echo second").await;
    client.over(&second.name).await;
    assert_eq!(next(), "[a/2] second\n");
    kill(Pid::from_raw(following.id().cast_signed()), Signal::SIGKILL).unwrap();
    following.wait().unwrap();
}

#[tokio::test]
async fn events_are_listed_and_followed() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    let run = client.run("true").await;
    client.over(&run.name).await;
    let listed: Value = serde_json::from_str(&terminal.ok(&["events", "-o", "json"])).unwrap();
    let facts: Vec<&str> =
        listed["events"].as_array().unwrap().iter().filter_map(|event| event["fact"].as_str()).collect();
    assert_eq!(facts, ["created", "pushed", "requested", "starting", "started", "succeeded"]);
    assert_eq!(cells(&terminal.ok(&["events"])).len(), 1 + facts.len());
    assert_eq!(cells(&terminal.ok(&["events", "a/1"])).len(), 1 + 4);
    let mut following = terminal.command(&["events", "--follow", "--from-start", "-o", "name"]).spawn().unwrap();
    let out = BufReader::new(following.stdout.take().unwrap());
    let subjects: Vec<String> = out.lines().take(facts.len()).map(Result::unwrap).collect();
    assert_eq!(subjects[..2], ["spaces/s", "spaces/s/apps/a"]);
    assert!(subjects[2..].iter().all(|subject| *subject == run.name));
    kill(Pid::from_raw(following.id().cast_signed()), Signal::SIGKILL).unwrap();
    following.wait().unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_task_is_one_line_that_names_the_flags() {
    let terminal = Terminal::with_app().await;
    for (words, code, expected) in [
        (&["run-task", "a"][..], 1, "--command"),
        (&["run-task", "a", "-c", "true", "-m", "much"], 1, "taskplane: -m/--memory-limit: must be an amount"),
        (&["run-task", "a", "-c", "true", "--cpu-cores=-1"], 1, "taskplane: --cpu-cores: must be a number"),
        (&["run-task", "a", "-c", "true", "-e", "1=zzcanary"], 1, "taskplane: -e/--env 1: "),
        (&["run-task", "a", "-c", "true", "--label", "a b=c"], 1, "taskplane: --label a b: "),
        (&["run-task", "a", "-c", "true", "--name", "\u{1b}[2J"], 1, "taskplane: --name: "),
        (&["run-task", "A", "-c", "true"], 1, "must consist of a-z"),
        (&["run-task", "b", "-c", "true"], 1, "taskplane: spaces/s/apps/b not found"),
        (&["run-task", "a", "-c", "true", "--timeout", "0s"], 1, "taskplane: --timeout: must be more than 0"),
        (&["run-task", "a", "-c", "true", "--timeout", "soon"], 2, "write for example 90s"),
        (&["run-task", "a", "-c", "true", "-e", "novalue"], 2, "write KEY=VALUE"),
        (&["run-task", "a", "-c", "true", "-s", "nowhere"], 1, "taskplane: spaces/nowhere not found"),
        (&["run-task"], 2, "<APP>"),
        (&["fly"], 2, "unrecognized subcommand 'fly'"),
        (&[], 2, "which command?"),
    ] {
        let (exit, line) = terminal.refusal(words);
        assert_eq!(exit, code, "{line}");
        assert!(line.contains(expected) && !line.contains("zzcanary"), "{words:?}: {line}");
    }
    let all = ["run-task", "a", "-c", " ", "-m", "0", "-k", "0", "--cpu-cores", "0", "--max-attempts", "99"];
    let (_, line) = terminal.refusal(&all);
    for flag in ["-c/--command: ", "-m/--memory-limit: ", "-k/--disk-quota: ", "--cpu-cores: ", "--max-attempts: "] {
        assert!(line.contains(flag), "{flag}: {line}");
    }
    assert_eq!(terminal.server.client().run("true").await.id, 1, "a refused Task used a number up");
}
