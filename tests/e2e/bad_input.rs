//! Values that are not right: each is refused by name, and nothing comes of it.

use std::collections::BTreeMap;

use prost_types::{Duration, FieldMask, Timestamp};
use taskplane_proto::v1 as pb;
use tonic::{Code, Status};

use crate::client::{archive, archive_source, env, image_source, spec, task, violations};
use crate::unharmed::{CANARY, Unharmed, is_printable};

/// Text that somebody sends who means no good, or does not know better.
fn hostile() -> Vec<(&'static str, String)> {
    [
        ("upper case", "ZZ{}".to_owned()),
        ("a leading hyphen", "-{}".to_owned()),
        ("a trailing hyphen", "{}-".to_owned()),
        ("a way up", "../{}".to_owned()),
        ("an escaped slash", "{}%2f..".to_owned()),
        ("a space", "{} x".to_owned()),
        ("NUL", "{}\0x".to_owned()),
        ("ESC", "{}\u{1b}[2J".to_owned()),
        ("BEL", "{}\u{7}".to_owned()),
        ("C1", "{}\u{9b}31m".to_owned()),
        ("a link", "\u{1b}]8;;http://x\u{1b}\\{}\u{1b}]8;;\u{1b}\\".to_owned()),
        ("a faked log line", "{}\r\n2026-01-01T00:00:00Z ERROR all is lost".to_owned()),
        ("right to left", "{}\u{202e}x".to_owned()),
        ("zero width", "{}\u{200b}".to_owned()),
        ("a homoglyph", "{}\u{430}".to_owned()),
        ("not composed", "{}e\u{301}".to_owned()),
        ("a combining bomb", format!("{{}}{}", "\u{301}".repeat(10_000))),
        ("SQL", "{}' OR 1=1--".to_owned()),
        ("a pattern", "{}%_".to_owned()),
        ("a subject", "{}.$JS.API.>".to_owned()),
        ("a wildcard", "{}.*".to_owned()),
        ("251 characters", format!("{{}}{}", "x".repeat(243))),
        ("half a megabyte", format!("{{}}{}", "x".repeat(500_000))),
    ]
    .map(|(what, text)| (what, text.replace("{}", CANARY)))
    .into()
}

/// Sends `text` as every name that the API takes, and returns what was said to it.
#[expect(clippy::needless_update, reason = "some of these requests have a single field, others have more")]
async fn as_every_name(target: &Unharmed, text: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let (mut spaces, mut apps) = (target.client.spaces.clone(), target.client.apps.clone());
    let (mut tasks, mut events) = (target.client.tasks.clone(), target.client.events.clone());
    let mut groups = target.client.security_groups.clone();
    let (space, app) = (format!("spaces/{text}"), format!("spaces/s/apps/{text}"));
    let (far, id) = (format!("spaces/{text}/apps/a/tasks/1"), format!("spaces/s/apps/a/tasks/{text}"));
    let settings = pb::Space { name: space.clone(), ..Default::default() };
    let mask = FieldMask { paths: vec!["env".into()] };
    let mut said = Vec::new();
    macro_rules! say {
        ($what:literal, $client:ident.$rpc:ident($message:ident { $($field:ident: $value:expr),* $(,)? })) => {{
            let request = pb::$message { $($field: $value.into(),)* ..Default::default() };
            said.push(($what, $client.$rpc(request).await.map(|_| ())));
        }};
    }
    say!("CreateSpace", spaces.create_space(CreateSpaceRequest { space_id: text }));
    say!("GetSpace", spaces.get_space(GetSpaceRequest { name: space.clone() }));
    say!("GetSpace, bare", spaces.get_space(GetSpaceRequest { name: text }));
    say!("UpdateSpace", spaces.update_space(UpdateSpaceRequest { space: Some(settings), update_mask: Some(mask) }));
    say!("DeleteSpace", spaces.delete_space(DeleteSpaceRequest { name: space.clone() }));
    say!("GetApp", apps.get_app(GetAppRequest { name: app.clone() }));
    say!("ListApps", apps.list_apps(ListAppsRequest { parent: space.clone() }));
    say!("DeleteApp", apps.delete_app(DeleteAppRequest { name: app.clone(), etag: "\"1\"" }));
    say!("RunTask", tasks.run_task(RunTaskRequest { parent: app.clone(), command: "true" }));
    say!("GetTask", tasks.get_task(GetTaskRequest { name: id.clone() }));
    say!("GetTask, far", tasks.get_task(GetTaskRequest { name: far.clone() }));
    say!("CancelTask", tasks.cancel_task(CancelTaskRequest { name: id.clone() }));
    say!("AbandonTask", tasks.abandon_task(AbandonTaskRequest { name: id.clone() }));
    say!("ExplainTask", tasks.explain_task(ExplainTaskRequest { name: id.clone() }));
    say!("ListTasks", tasks.list_tasks(ListTasksRequest { parent: app.clone() }));
    say!("ListTasks, all", tasks.list_tasks(ListTasksRequest { parent: format!("{space}/apps/-") }));
    say!("WatchTasks", tasks.watch_tasks(WatchTasksRequest { parent: app.clone() }));
    say!("StreamLogs", tasks.stream_logs(StreamLogsRequest { name: app.clone() }));
    say!("StreamLogs of a Task", tasks.stream_logs(StreamLogsRequest { name: id.clone() }));
    let group = format!("spaces/s/securityGroups/{text}");
    say!("GetSecurityGroup", groups.get_security_group(GetSecurityGroupRequest { name: group.clone() }));
    say!("ListSecurityGroups", groups.list_security_groups(ListSecurityGroupsRequest { parent: space.clone() }));
    say!("DeleteSecurityGroup", groups.delete_security_group(DeleteSecurityGroupRequest { name: group.clone() }));
    say!(
        "BindSecurityGroup",
        groups.bind_security_group(BindSecurityGroupRequest { name: group, target: "spaces/s/apps/a" })
    );
    say!(
        "UnbindSecurityGroup",
        groups.unbind_security_group(UnbindSecurityGroupRequest {
            name: "spaces/s/securityGroups/g",
            target: app.clone()
        })
    );
    say!(
        "CreateSecurityGroup",
        groups.create_security_group(CreateSecurityGroupRequest { parent: "spaces/s", security_group_id: text })
    );
    say!("ListEvents", events.list_events(ListEventsRequest { parent: space.clone() }));
    say!("WatchEvents", events.watch_events(WatchEventsRequest { parent: app.clone() }));
    let push = pb::PushAppSpec { app_id: text.into(), ..spec("a", archive_source()) };
    said.push(("PushApp", target.client.push(push, archive(&[("a", "")])).await.map(|_| ())));
    let push = pb::PushAppSpec { parent: space, ..spec("a", archive_source()) };
    said.push(("PushApp, far", target.client.push(push, archive(&[("a", "")])).await.map(|_| ())));
    said
}

#[tokio::test]
async fn hostile_names_are_refused_by_every_call() {
    let target = Unharmed::start().await;
    for (what, text) in hostile() {
        for (call, said) in as_every_name(&target, &text).await {
            let refused = said.expect_err(&format!("{call} took {what}"));
            assert!(is_printable(&refused), "{call}, {what}: {:?}", refused.message());
            assert_eq!(violations(refused).len(), 1, "{call}, {what}");
        }
    }
    for bad in ["", "-", ".", "..", "s/", "/s"] {
        for (call, said) in as_every_name(&target, bad).await {
            // As an App of all Apps, a hyphen is right where Tasks are listed or watched.
            if bad == "-" && ["ListTasks", "WatchTasks"].contains(&call) {
                continue;
            }
            let refused = said.expect_err(&format!("{call} took {bad:?}"));
            violations(refused);
        }
    }
    target.check().await;
}

#[tokio::test]
async fn names_may_have_fifty_characters_and_no_more() {
    let target = Unharmed::start().await;
    for length in [51, 63, 64, 253] {
        for (call, said) in as_every_name(&target, &"x".repeat(length)).await {
            violations(said.expect_err(&format!("{call} took {length} characters")));
        }
    }
    for id in ["0", "01", "+1", "-1", "1.0", "1e3", "0x1", "\u{661}", "9223372036854775808", " 1"] {
        let name = format!("spaces/s/apps/a/tasks/{id}");
        let refused =
            target.client.tasks.clone().get_task(pb::GetTaskRequest { name, ..Default::default() }).await.unwrap_err();
        assert_eq!(violations(refused), ["name"], "{id}");
    }
    target.check().await;
}

#[tokio::test]
async fn what_is_elsewhere_is_told_like_what_is_nowhere() {
    let target = Unharmed::start().await;
    // Of another Space, and of none: `b` and `t` are there, `x` is not.
    for (there, nowhere) in [("spaces/s/apps/b", "spaces/s/apps/x"), ("spaces/t/apps/a", "spaces/t/apps/x")] {
        let mut answers = Vec::new();
        for app in [there, nowhere] {
            let (mut apps, mut tasks) = (target.client.apps.clone(), target.client.tasks.clone());
            let task = format!("{app}/tasks/1");
            let run = pb::RunTaskRequest { parent: app.into(), command: "true".into(), ..Default::default() };
            let of_task = pb::StreamLogsRequest { name: task.clone(), ..Default::default() };
            let of_app = pb::StreamLogsRequest { name: app.into(), ..Default::default() };
            let gone = pb::DeleteAppRequest { name: app.into(), etag: "\"1\"".into(), force: true };
            let mine = [
                apps.get_app(pb::GetAppRequest { name: app.into() }).await.map(|_| ()),
                apps.delete_app(gone).await.map(|_| ()),
                tasks.run_task(run).await.map(|_| ()),
                tasks.list_tasks(pb::ListTasksRequest { parent: app.into(), ..Default::default() }).await.map(|_| ()),
                tasks.get_task(pb::GetTaskRequest { name: task.clone(), ..Default::default() }).await.map(|_| ()),
                tasks.cancel_task(pb::CancelTaskRequest { name: task, ..Default::default() }).await.map(|_| ()),
                tasks.watch_tasks(pb::WatchTasksRequest { parent: app.into(), ..Default::default() }).await.map(|_| ()),
                tasks.stream_logs(of_task).await.map(|_| ()),
                tasks.stream_logs(of_app).await.map(|_| ()),
            ];
            answers.push(mine.map(|said| {
                let said = said.unwrap_err();
                assert_eq!(said.code(), Code::NotFound, "{said:?}");
                (said.code(), said.message().replace(app, "APP"), said.details().len() + said.message().len())
            }));
        }
        let text = |at: usize| answers[at].clone().map(|(code, text, _)| (code, text));
        assert_eq!(text(0), text(1));
    }
    target.check().await;
}

fn vars(count: usize, name: impl Fn(usize) -> String) -> BTreeMap<String, String> {
    (0..count).map(|number| (name(number), "x".into())).collect()
}

#[tokio::test]
async fn a_task_that_is_not_right_is_refused_by_field() {
    let target = Unharmed::start().await;
    let seconds = |seconds, nanos| Some(Duration { seconds, nanos });
    let base = || task("true");
    let resources = |memory: &str, disk: &str, cpu: &str| pb::RunTaskRequest {
        resources: Some(pb::Resources { memory: memory.into(), disk: disk.into(), cpu: cpu.into() }),
        ..base()
    };
    let retry = |policy: pb::RetryPolicy| pb::RunTaskRequest { retry_policy: Some(policy), ..base() };
    let policy = |max_attempts, retry_on: &[i32]| pb::RetryPolicy {
        max_attempts,
        retry_on: retry_on.to_vec(),
        ..Default::default()
    };
    let mut cases = Vec::new();
    let mut case = |field: &str, request: pb::RunTaskRequest| cases.push((field.to_owned(), request));

    for command in ["", " ", "\n\t ", "\u{a0}", "echo zzcanary\0", &"x".repeat(16 * 1024 + 1)] {
        case("command", task(command));
    }
    for name in ["a\0", "a\u{1b}[31m", "a\nb", "a\u{85}", "a\u{202e}b", "a\u{200b}", "\u{feff}a", &"x".repeat(10_000)] {
        case("display_name", pb::RunTaskRequest { display_name: name.into(), ..base() });
    }
    for id in ["a\0", "a\nb", "\u{9b}", &"x".repeat(129)] {
        case("request_id", pb::RunTaskRequest { request_id: id.into(), ..base() });
    }
    let digits = "9".repeat(100_000);
    for text in
        ["-1", "0", "1e400", "NaN", "inf", "1Ei", "0.1m", "1 Gi", "\u{661}", "+1G", "0x10", "1023", "1025T", " "]
    {
        case("resources.memory", resources(text, "", ""));
        case("resources.disk", resources("", text, ""));
    }
    for text in ["-1", "0", "0m", "1e400", "NaN", "0.1m", "0.0001", "1 ", "\u{661}", "1025", "1Gi", &digits] {
        case("resources.cpu", resources("", "", text));
    }
    case("resources.memory", resources(&digits, "", ""));
    case("resources.memory", resources("9223372036854775808", "", ""));
    case("resources.disk", resources("", "18446744073709551616", ""));

    for name in ["", "=", "A=B", "1A", "A-B", "A B", "A\0", "\u{c4}", "VCAP_X", "KUBERNETES_PORT", "CF_INSTANCE_IP"] {
        let shown: String = name.chars().flat_map(char::escape_default).collect();
        case(&format!("env[{shown}]"), pb::RunTaskRequest { env: env(&[(name, CANARY)]), ..base() });
    }
    case("env[A]", pb::RunTaskRequest { env: env(&[("A", "zzcanary\0")]), ..base() });
    case("env", pb::RunTaskRequest { env: env(&[("A", &"x".repeat(32 * 1024))]), ..base() });
    case("env", pb::RunTaskRequest { env: vars(10_000, |number| format!("V{number}")), ..base() });

    let long = "x".repeat(64);
    for (key, value) in
        [("", "x"), ("a=b", "x"), ("a b", "x"), ("/a", "x"), ("a/b/c", "x"), (&long, "x"), ("\u{430}", "x")]
    {
        let shown: String = key.chars().take(63).flat_map(char::escape_default).collect();
        case(&format!("labels[{shown}]"), pb::RunTaskRequest { labels: env(&[(key, value)]), ..base() });
    }
    for value in ["-b", "b-", "b,c", "a=b,c!=d", "in (a)", "' OR 1=1--", "%", "a\0", "\u{1b}", "\u{202e}", &long] {
        case("labels[a]", pb::RunTaskRequest { labels: env(&[("a", value)]), ..base() });
    }
    case("labels", pb::RunTaskRequest { labels: vars(65, |number| format!("l{number}")), ..base() });
    case("labels", pb::RunTaskRequest { labels: vars(10_000, |number| format!("l{number}")), ..base() });

    for (whole, nanos) in [
        (0, 0),
        (0, 999_999),
        (-1, 0),
        (0, -1),
        (1, -1),
        (-1, 1),
        (1, 1_000_000_000),
        (1, i32::MAX),
        (1, i32::MIN),
        (365 * 86_400, 1),
        (i64::MAX, 0),
        (i64::MIN, 0),
    ] {
        case("timeout", pb::RunTaskRequest { timeout: seconds(whole, nanos), ..base() });
    }
    for (whole, nanos) in [(-1, 0), (3600, 1), (1, -1), (i64::MAX, 999_999_999), (i64::MIN, 0)] {
        let backoff = seconds(whole, nanos);
        case("retry_policy.backoff", retry(pb::RetryPolicy { backoff, ..policy(1, &[]) }));
    }
    for attempts in [0, -1, 11, i32::MAX, i32::MIN] {
        case("retry_policy.max_attempts", retry(policy(attempts, &[1])));
    }
    for classes in [&[][..], &[0], &[4], &[5], &[-1], &[1, i32::MAX], &[4; 10_000]] {
        case("retry_policy.retry_on", retry(policy(2, classes)));
    }

    for (field, request) in cases {
        let shown = format!("{field}: {request:.200?}");
        let refused = target.client.run_task(request).await.expect_err(&shown);
        assert!(is_printable(&refused), "{shown}: {:?}", refused.message());
        assert!(!refused.message().contains(CANARY), "{shown}: {}", refused.message());
        let mut fields = violations(refused);
        fields.dedup();
        assert_eq!(fields, [field], "{shown:.200}");
    }
    target.check().await;
}

#[tokio::test]
async fn ten_thousand_wrong_fields_are_still_one_readable_answer() {
    let target = Unharmed::start().await;
    for request in [
        pb::RunTaskRequest { labels: vars(10_000, |number| format!("a b{number}")), ..task("true") },
        pb::RunTaskRequest { env: vars(10_000, |number| format!("1{number}")), ..task("true") },
        pb::RunTaskRequest { env: vars(200, |number| format!("1{number}")), ..task("true") },
    ] {
        assert!(!violations(target.client.run_task(request).await.unwrap_err()).is_empty());
    }
    let paths = (0..10_000).map(|number| format!("field{number}")).collect();
    let request = pb::UpdateSpaceRequest {
        space: Some(pb::Space { name: "spaces/s".into(), ..Default::default() }),
        update_mask: Some(FieldMask { paths }),
    };
    assert!(!violations(target.client.spaces.clone().update_space(request).await.unwrap_err()).is_empty());
    target.check().await;
}

#[tokio::test]
async fn an_etag_of_something_else_changes_nothing() {
    let target = Unharmed::start().await;
    for etag in ["\"99\"", "1", "zzcanary\u{1b}", "*", "W/\"1\"", &"x".repeat(100_000)] {
        let (mut spaces, mut apps) = (target.client.spaces.clone(), target.client.apps.clone());
        let mut tasks = target.client.tasks.clone();
        let space = Some(pb::Space { name: "spaces/s".into(), etag: etag.into(), ..Default::default() });
        let update_mask = Some(FieldMask { paths: vec!["env".into()] });
        let push = pb::PushAppSpec { etag: etag.into(), ..spec("a", image_source("x")) };
        let gone = pb::DeleteSpaceRequest { name: "spaces/s".into(), etag: etag.into(), force: true };
        for said in [
            spaces.update_space(pb::UpdateSpaceRequest { space, update_mask }).await.map(|_| ()),
            spaces.delete_space(gone).await.map(|_| ()),
            apps.delete_app(pb::DeleteAppRequest { name: "spaces/s/apps/a".into(), etag: etag.into(), force: false })
                .await
                .map(|_| ()),
            tasks
                .cancel_task(pb::CancelTaskRequest {
                    name: "spaces/s/apps/a/tasks/1".into(),
                    etag: etag.into(),
                    ..Default::default()
                })
                .await
                .map(|_| ()),
            target.client.push(push, Vec::new()).await.map(|_| ()),
        ] {
            let said = said.expect_err(etag);
            assert_eq!(said.code(), Code::Aborted, "{said:?}");
            assert!(is_printable(&said), "{said:?}");
        }
    }
    target.check().await;
}

#[tokio::test]
async fn a_log_is_not_read_from_nowhere() {
    let target = Unharmed::start().await;
    let name = "spaces/s/apps/a/tasks/1";
    let base = || pb::StreamLogsRequest { name: name.into(), ..Default::default() };
    let since = |seconds, nanos| pb::StreamLogsRequest { since: Some(Timestamp { seconds, nanos }), ..base() };
    let year_0 = -62_167_219_200;
    let year_10_000 = 253_402_300_800;
    for (field, request) in [
        ("since", since(year_0, 0)),
        ("since", since(year_10_000, 0)),
        ("since", since(i64::MIN, 0)),
        ("since", since(i64::MAX, 999_999_999)),
        ("since", since(0, -1)),
        ("since", since(0, 1_000_000_000)),
        ("tail", pb::StreamLogsRequest { tail: Some(-1), ..base() }),
        ("tail", pb::StreamLogsRequest { tail: Some(i32::MAX), ..base() }),
        ("attempt", pb::StreamLogsRequest { attempt: -1, ..base() }),
        ("offset", pb::StreamLogsRequest { offset: -1, ..base() }),
        ("name", pb::StreamLogsRequest { name: "spaces/s/apps/a".into(), offset: 1, ..base() }),
    ] {
        let shown = format!("{request:?}");
        let refused = target.client.tasks.clone().stream_logs(request).await.expect_err(&shown);
        assert_eq!(violations(refused), [field], "{shown}");
    }
    target.check().await;
}
