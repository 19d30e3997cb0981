//! The command line about Spaces and Apps, and what it says when something is wrong.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use serde_json::Value;
use taskplane_proto::v1 as pb;

use crate::client::{archive, archive_source, env, spec};
use crate::server::binary;
use crate::terminal::{Terminal, cells, said};

#[tokio::test]
async fn a_target_is_stored_and_then_need_not_be_said() {
    let terminal = Terminal::start().await;
    let api = terminal.server.address.clone();
    let (code, line) = terminal.refusal(&["apps"]);
    assert_eq!(
        (code, line.as_str()),
        (1, "taskplane: no Space is targeted; use `taskplane target -s SPACE`, or --space")
    );

    let made = terminal.ok(&["create-space", "blue", "--api", &api]);
    assert_eq!(made, format!("Space blue created.\n\nWork in it:   taskplane target -s blue --api {api}\n"));
    let (code, line) = terminal.refusal(&["target", "-s", "red", "--api", &api]);
    assert_eq!((code, line.as_str()), (1, "taskplane: spaces/red not found"));
    assert!(!terminal.home.path().join("config.yaml").exists(), "what is not there was stored");
    let shown = terminal.ok(&["target", "-s", "blue", "--api", &api]);
    assert_eq!(shown, format!("api:   http://{api}\nspace: blue\n"));
    assert_eq!(terminal.ok(&["target"]), shown);
    let json: Value = serde_json::from_str(&terminal.ok(&["target", "-o", "json"])).unwrap();
    assert_eq!(json, serde_json::json!({ "api": format!("http://{api}"), "space": "blue" }));

    assert_eq!(cells(&terminal.ok(&["spaces"]))[0], ["Name", "Age", "Retention", "LogCap", "Env"]);
    terminal.ok(&["update-space", "blue", "-e", "A=1", "--log-cap", "10M", "--task-retention-count", "7"]);
    let row = &cells(&terminal.ok(&["spaces"]))[1].join(" ");
    assert!(row.starts_with("blue ") && row.ends_with(" 7 10.0 MiB A"), "{row}");
    let (code, line) = terminal.refusal(&["create-space", "blue"]);
    assert_eq!(code, 1);
    assert!(line.starts_with("taskplane: spaces/blue exists already"), "{line}");
    let (_, line) = terminal.refusal(&["delete-space", "blue"]);
    assert!(line.ends_with("; add -f to delete without asking"), "{line}");
    assert_eq!(terminal.ok(&["delete-space", "blue", "-f"]), "Space blue deleted.\n");
    let (code, line) = terminal.refusal(&["apps"]);
    assert_eq!((code, line.as_str()), (1, "taskplane: spaces/blue not found"));
}

#[tokio::test]
async fn a_push_takes_what_the_ignore_files_leave_and_the_manifest_says() {
    let terminal = Terminal::start().await;
    terminal.server.client().space("s").await;
    terminal.ok(&["target", "-s", "s", "--api", &terminal.server.address]);
    for (path, content) in [
        ("app/run.sh", "#!/bin/sh\necho \"$GREETING\"\nfind . -type f | sort\n"),
        ("app/data/kept.csv", "1,2\n"),
        ("app/data/dropped.tmp", "x"),
        ("app/secret.env", "zzcanary"),
        ("app/node_modules/x/y.js", "x"),
        ("app/.git/config", "x"),
        ("app/.gitignore", "*.tmp\nnode_modules/\n"),
        ("app/.cfignore", "secret.env\n"),
        (
            "app/manifest.yml",
            "applications:\n- name: shop\n  command: sh run.sh\n  memory: 256M\n  disk_quota: 1G\n  env:\n    GREETING: hello\n",
        ),
    ] {
        terminal.file(path, content);
    }
    let pushed = terminal.ok(&["push", "shop", "--task", "-p", "app"]);
    assert_eq!(
        pushed,
        "App shop is pushed as revision 1. It is stopped: no route, no process, only the Tasks you run.\n\n\
         Run a Task:   taskplane run-task shop\n"
    );
    let waited = terminal.run(&["run-task", "shop", "--wait"]);
    assert_eq!((waited.code, waited.out.as_str()), (Some(0), "hello\n./data/kept.csv\n./run.sh\n"));

    let table = terminal.ok(&["apps"]);
    let table = cells(&table);
    assert_eq!(table[0], ["Name", "Requested State", "Source", "Memory", "Disk", "CPU", "Revision", "Age"]);
    assert_eq!((table[1][0], table[1][1], &table[1][3..7]), ("shop", "stopped", &["256Mi", "1Gi", "<none>", "1"][..]));
    assert!(!terminal.ok(&["app", "shop"]).contains("hello"), "a value is shown");
    let equal = terminal.ok(&["push", "shop", "--task", "-p", "app"]);
    assert!(equal.starts_with("App shop is pushed as revision 1."), "{equal}");
    let flags = terminal.ok(&[
        "push",
        "shop",
        "--task",
        "-p",
        "app",
        "-c",
        "echo $GREETING",
        "-e",
        "GREETING=moin",
        "-m",
        "1Gi",
    ]);
    assert!(flags.starts_with("App shop is pushed as revision 2."), "{flags}");
    assert_eq!(terminal.run(&["run-task", "shop", "-w"]).out, "moin\n");
    assert_eq!(terminal.ok(&["apps", "-o", "name"]), "spaces/s/apps/shop\n");
}

#[tokio::test]
async fn a_container_image_is_pushed_by_name() {
    let terminal = Terminal::with_app().await;
    let pushed = terminal.ok(&["push", "img", "--task", "--docker-image", "registry.example/team/app:1"]);
    assert!(pushed.starts_with("App img is pushed as revision 1."), "{pushed}");
    let app: Value = serde_json::from_str(&terminal.ok(&["app", "img", "-o", "json"])).unwrap();
    assert_eq!(app["source"]["image"], "registry.example/team/app:1");
    let (code, line) = terminal.refusal(&["run-task", "img", "-c", "true"]);
    assert_eq!(code, 1);
    assert!(line.contains("only executors for uploaded source") && line.ends_with("push the source instead"), "{line}");
}

#[tokio::test]
async fn what_cannot_be_pushed_is_said_in_a_line() {
    let terminal = Terminal::with_app().await;
    terminal.file("app/run.sh", "true\n");
    let (code, line) = terminal.refusal(&["push", "shop", "-p", "app"]);
    assert_eq!(code, 2);
    assert!(line.ends_with("add --task"), "{line}");
    for (words, expected) in [
        (&["push", "Shop", "--task", "-p", "app"][..], "must consist of a-z"),
        (&["push", "shop", "--task", "-p", "nowhere"], "nowhere"),
        (&["push", "shop", "--task", "-p", "app", "-m", "1e400"], "-m/--memory-limit: must be an amount"),
        (&["push", "shop", "--task", "-p", "app", "-e", "VCAP_X=zzcanary"], "-e/--env VCAP_X: "),
        (&["push", "shop", "--task", "--docker-image", "a b"], "--docker-image: must be an image reference"),
        (&["push", "shop", "--task", "-s", "nowhere", "-p", "app"], "spaces/nowhere not found"),
    ] {
        let (code, line) = terminal.refusal(words);
        assert_eq!(code, 1, "{line}");
        assert!(line.starts_with("taskplane: ") && line.contains(expected) && !line.contains("zzcanary"), "{line}");
    }
    let (_, line) = terminal.refusal(&["app", "shop"]);
    assert_eq!(line, "taskplane: spaces/s/apps/shop not found");
}

#[tokio::test]
async fn an_app_is_deleted_with_force_and_not_while_its_tasks_run() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    let live = client.run("sleep 600").await;
    client.running(&live.name).await;
    let (code, line) = terminal.refusal(&["delete-app", "a"]);
    assert_eq!((code, line.ends_with("; add -f to delete without asking")), (1, true), "{line}");
    let (code, line) = terminal.refusal(&["delete-app", "a", "-f"]);
    assert_eq!(code, 1);
    assert!(line.starts_with("taskplane: spaces/s/apps/a "), "{line}");
    let (_, line) = terminal.refusal(&["delete-space", "s", "-f"]);
    assert!(line.starts_with("taskplane: spaces/s "), "{line}");
    terminal.ok(&["terminate-task", "a/1"]);
    assert_eq!(terminal.ok(&["delete-app", "a", "-f"]), "App a deleted.\n");
    let (code, line) = terminal.refusal(&["delete-app", "a", "-f"]);
    assert_eq!((code, line.as_str()), (1, "taskplane: spaces/s/apps/a not found"));
    assert_eq!(terminal.ok(&["delete-space", "s", "-f"]), "Space s deleted.\n");
}

#[tokio::test]
async fn every_list_comes_in_every_form() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    let task = client.run("echo out").await;
    client.over(&task.name).await;
    for (words, key, name) in [
        (&["spaces"][..], "spaces", "spaces/s"),
        (&["apps"], "apps", "spaces/s/apps/a"),
        (&["tasks"], "tasks", "spaces/s/apps/a/tasks/1"),
    ] {
        let form = |form: &str| terminal.ok(&[words, &["-o", form]].concat());
        let json: Value = serde_json::from_str(&form("json")).unwrap();
        assert_eq!(json[key][0]["name"], name);
        let yaml = form("yaml");
        assert!(yaml.starts_with(&format!("{key}:\n")) && yaml.contains(&format!("name: {name}\n")), "{yaml}");
        assert_eq!(form("name"), format!("{name}\n"));
    }
    for words in [&["space", "s"][..], &["app", "a"], &["task", "a/1"]] {
        let json: Value = serde_json::from_str(&terminal.ok(&[words, &["-o", "json"]].concat())).unwrap();
        assert!(json["uid"].as_str().unwrap().len() == 36, "{json}");
        assert!(terminal.ok(&[words, &["-o", "yaml"]].concat()).contains("uid: "));
    }
    let lines = terminal.ok(&["logs", "a", "--task", "1", "--recent", "-o", "json"]);
    let line: Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!((line["task"].as_str(), line["content"].as_str()), (Some("spaces/s/apps/a/tasks/1"), Some("b3V0")));
    let (code, line) = terminal.refusal(&["tasks", "-o", "xml"]);
    assert_eq!(code, 2);
    assert!(line.contains("invalid value 'xml'"), "{line}");
}

#[tokio::test]
async fn the_same_program_answers_as_kf() {
    let terminal = Terminal::with_app().await;
    let kf = terminal.home.path().join("kf");
    symlink(binary("taskplane"), &kf).unwrap();
    let run = |words: &[&str]| said(terminal.program(&kf, words).output().unwrap());
    let submitted = run(&["run-task", "a", "-c", "true"]);
    assert_eq!((submitted.code, submitted.err.as_str()), (Some(0), ""));
    assert!(
        submitted.out.contains("kf logs a --task 1\n") && !submitted.out.contains("taskplane"),
        "{}",
        submitted.out
    );
    assert!(run(&["tasks", "a"]).out.contains("a/1"));
    let (_, line) = run(&["app", "nothing"]).refusal();
    assert_eq!(line, "kf: spaces/s/apps/nothing not found");
    assert!(run(&["completion", "bash"]).out.contains("complete -F _kf"));
}

#[tokio::test]
async fn a_server_that_is_gone_is_one_line() {
    let mut terminal = Terminal::with_app().await;
    terminal.file("app/run.sh", "true\n");
    assert!(terminal.server.stop().await);
    for words in [
        &["apps"][..],
        &["tasks"],
        &["task", "a/1"],
        &["run-task", "a", "-c", "true"],
        &["run-task", "a", "-c", "true", "--wait"],
        &["push", "shop", "--task", "-p", "app"],
        &["terminate-task", "a/1", "--retries", "0"],
        &["delete-app", "a", "-f"],
        &["events"],
        &["target", "-s", "s"],
    ] {
        let (code, line) = terminal.refusal(words);
        assert_eq!(code, 1, "{words:?}: {line}");
        let expected = format!("taskplane: cannot reach the api at http://{}: ", terminal.server.address);
        assert!(line.starts_with(&expected), "{words:?}: {line}");
    }
}

#[tokio::test]
async fn nothing_that_is_stored_steers_a_terminal() {
    let terminal = Terminal::with_app().await;
    let client = terminal.server.client();
    let app = pb::PushAppSpec {
        command: Some("echo '\u{1b}]0;zz\u{7}\u{202e}'\n\techo".into()),
        env: env(&[("A", "\u{1b}[2J")]),
        ..spec("odd", archive_source())
    };
    client.push(app, archive(&[("f", "")])).await.unwrap();
    let request = pb::RunTaskRequest { parent: "spaces/s/apps/odd".into(), ..Default::default() };
    let task = client.run_task(request).await.unwrap();
    client.over(&task.name).await;
    for words in [&["app", "odd"][..], &["apps"], &["task", "odd/1"], &["tasks"], &["events"]] {
        let out = terminal.ok(words);
        assert!(out.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')), "{words:?}: {out:?}");
    }
    let shown = terminal.ok(&["app", "odd"]);
    assert!(shown.contains(r"echo '\x1b]0;zz\x07\u{202e}'\n\techo"), "{shown}");
    // Data is data: JSON has its own escapes, and gives back what was pushed.
    let json: Value = serde_json::from_str(&terminal.ok(&["app", "odd", "-o", "json"])).unwrap();
    assert_eq!(json["command"], "echo '\u{1b}]0;zz\u{7}\u{202e}'\n\techo");
    let (_, line) = terminal.refusal(&["app", "\u{1b}[2J"]);
    assert!(line.contains("must consist of a-z"), "{line}");
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_quietly() {
    let terminal = Terminal::with_app().await;
    for words in [&["completion", "bash"][..], &["apps"], &["tasks"], &["events", "--follow", "--from-start"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = terminal.command(words).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
            (Some(141), ""),
            "{words:?}"
        );
    }
    assert!(terminal.ok(&["completion", "bash"]).contains("run-task"));
}

#[tokio::test]
async fn an_app_is_scaled_for_the_tasks_to_come() {
    let terminal = Terminal::start().await;
    let client = terminal.server.client();
    client.app(&[("a", "")]).await;
    terminal.ok(&["target", "-s", "s", "--api", &terminal.server.address]);
    let one_line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let facts = |text: String| text.lines().map(one_line).collect::<Vec<_>>();
    let shown = facts(terminal.ok(&["scale", "a"]));
    assert_eq!(shown[1..4], ["Memory: as the Space says", "Disk: as the Space says", "CPU: as the Space says"]);
    let scaled = facts(terminal.ok(&["scale", "a", "-m", "256M", "-k", "1G"]));
    let scaled_to = ["Name: a", "Memory: 256Mi", "Disk: 1Gi", "CPU: as the Space says", "Revision: 2"];
    assert_eq!(scaled, scaled_to);
    assert_eq!(
        facts(terminal.ok(&["scale", "a", "--cpu-cores", "0.5"]))[1..4],
        ["Memory: 256Mi", "Disk: 1Gi", "CPU: 500m"]
    );
    let run = client.run("true").await.resources.unwrap();
    assert_eq!((run.memory.as_str(), run.disk.as_str(), run.cpu.as_str()), ("256Mi", "1Gi", "500m"));

    terminal.ok(&["update-space", "s", "--max-memory", "128M"]);
    let (code, line) = terminal.refusal(&["scale", "a", "-m", "129M"]);
    let why = "taskplane: -m/--memory-limit: must be at most 128Mi, the Space's maximum, and is 129Mi";
    assert_eq!((code, line.as_str()), (1, why));
    let (code, line) = terminal.refusal(&["run-task", "a", "-c", "true"]);
    assert_eq!(
        (code, line.contains("is 256Mi by its App: give the Task its own, or scale the App")),
        (1, true),
        "{line}"
    );
    let (_, line) = terminal.refusal(&["scale", "none", "-m", "1G"]);
    assert_eq!(line, "taskplane: spaces/s/apps/none not found");
}
