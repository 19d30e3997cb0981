//! Accepting Tasks: numbers, repeats, what is frozen, what is refused.

use std::collections::BTreeSet;

use futures::future::join_all;
use taskplane_proto::v1::{self as pb, TaskState};
use tonic::Code;

use crate::client::{archive, archive_source, env, image_source, reason, spec, task, violations};
use crate::server::{Options, Server};

#[tokio::test]
async fn two_hundred_at_once_get_the_numbers_from_1_to_200() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let tasks = join_all((0..200).map(|_| client.run("true"))).await;
    let ids: BTreeSet<i64> = tasks.iter().map(|task| task.id).collect();
    assert_eq!(ids, (1..=200).collect());
    for task in tasks {
        assert_eq!(task.name, format!("spaces/s/apps/a/tasks/{}", task.id));
        assert_eq!(client.over(&task.name).await.state(), TaskState::Succeeded);
    }
}

#[tokio::test]
async fn a_repeated_request_id_returns_the_first_task() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let request = pb::RunTaskRequest { request_id: "once".into(), ..task("echo hello >>ran; cat ran") };
    let answers = join_all((0..20).map(|_| client.run_task(request.clone()))).await;
    let uids: BTreeSet<String> = answers.into_iter().map(|answer| answer.unwrap().uid).collect();
    assert_eq!(uids.len(), 1);
    assert_eq!(client.run("true").await.id, 2, "no number was used up by the repeats");

    let other = client.run_task(pb::RunTaskRequest { command: "false".into(), ..request }).await.unwrap_err();
    assert_eq!((other.code(), reason(&other).as_str()), (Code::FailedPrecondition, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn a_repeated_request_id_returns_the_first_task_after_a_crash_too() {
    let server = Server::start().await;
    server.client().app(&[("a", "")]).await;
    let request = pb::RunTaskRequest { request_id: "once".into(), ..task("true") };
    let first = server.client().run_task(request.clone()).await.unwrap();
    let server = server.restarted(Options::default()).await;
    assert_eq!(server.client().run_task(request).await.unwrap().uid, first.uid);
}

#[tokio::test]
async fn a_task_keeps_the_revision_it_was_accepted_on() {
    let server =
        Server::start_with(Options { args: vec!["--capacity".into(), "1".into()], ..Options::default() }).await;
    let client = server.client();
    client.space("s").await;
    let app = |command: &str, file: &str| {
        (
            pb::PushAppSpec { command: Some(command.into()), env: env(&[("V", file)]), ..spec("a", archive_source()) },
            archive(&[("file", file)]),
        )
    };
    let (first, source) = app("cat file; echo $V", "one\n");
    client.push(first, source).await.unwrap();
    let release = server.path("release");
    let blocker = client.run(&format!("until [ -e {} ]; do sleep 0.05; done", release.display())).await;
    client.running(&blocker.name).await;
    let waiting = client.run("").await;

    let (second, source) = app("echo new; cat file; echo $V", "two\n");
    assert_eq!(client.push(second, source).await.unwrap().revision, 2);
    std::fs::write(release, "").unwrap();
    let next = client.run("").await;
    assert_eq!((waiting.app_revision, next.app_revision), (1, 2));
    client.over(&waiting.name).await;
    client.over(&next.name).await;
    assert_eq!(client.log(&waiting.name).await, "one\none\n");
    assert_eq!(client.log(&next.name).await, "new\ntwo\ntwo\n");
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once_and_nothing_is_written() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let refused = client
        .run_task(pb::RunTaskRequest {
            parent: "spaces/S/apps/a".into(),
            command: " ".into(),
            display_name: "\u{1b}[31m".into(),
            resources: Some(pb::Resources { memory: "1e400".into(), disk: "-1".into(), cpu: "NaN".into() }),
            env: env(&[("1A", "x"), ("VCAP_SERVICES", "x")]),
            timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            retry_policy: Some(pb::RetryPolicy { max_attempts: 99, ..Default::default() }),
            labels: env(&[("a b", "c")]),
            request_id: "x".repeat(200),
        })
        .await;
    assert_eq!(
        violations(refused.unwrap_err()).into_iter().collect::<BTreeSet<_>>(),
        [
            "parent",
            "command",
            "display_name",
            "resources.memory",
            "resources.disk",
            "resources.cpu",
            "env[1A]",
            "env[VCAP_SERVICES]",
            "timeout",
            "retry_policy.max_attempts",
            "labels[a b]",
            "request_id",
        ]
        .map(str::to_owned)
        .into(),
    );
    assert_eq!(client.run("true").await.id, 1, "a refused Task used a number up");
}

#[tokio::test]
async fn a_task_without_a_command_names_the_flag_to_set() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let refused = client.run_task(task("")).await.unwrap_err();
    assert!(refused.message().contains("--command"), "{}", refused.message());
    assert_eq!(violations(refused), ["command"]);
}

#[tokio::test]
async fn an_image_app_is_refused_where_only_local_executors_serve() {
    let server = Server::start().await;
    let client = server.client();
    client.space("s").await;
    client.push(spec("a", image_source("registry.example/a:1")), Vec::new()).await.unwrap();
    let refused = client.run_task(task("true")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "IMAGES_NOT_RUN"));
}

#[tokio::test]
async fn more_than_a_burst_is_refused_with_a_time_to_come_again() {
    use tonic_types::StatusExt as _;
    let args = ["--run-task-rate", "1", "--run-task-burst", "3"].map(str::to_owned).to_vec();
    let server = Server::start_with(Options { args, ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let answers = join_all((0..10).map(|_| client.run_task(task("true")))).await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(!refused.is_empty());
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    }
}

#[tokio::test]
async fn values_of_variables_are_in_no_answer() {
    let server = Server::start().await;
    let client = server.client();
    let space = pb::Space { env: env(&[("IN_SPACE", "canary-space")]), ..Default::default() };
    let space = client
        .spaces
        .clone()
        .create_space(pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) })
        .await
        .unwrap()
        .into_inner();
    let app = pb::PushAppSpec { env: env(&[("IN_APP", "canary-app")]), ..spec("a", archive_source()) };
    let app = client.push(app, archive(&[("a", "")])).await.unwrap();
    let run = pb::RunTaskRequest { env: env(&[("IN_TASK", "canary-task")]), ..task("echo $IN_SPACE $IN_APP $IN_TASK") };
    let run = client.run_task(run).await.unwrap();
    let over = client.over(&run.name).await;
    assert_eq!(
        (space.env_names.as_slice(), app.env_names.as_slice(), run.env_names.as_slice()),
        (&["IN_SPACE".into()][..], &["IN_APP".into()][..], &["IN_TASK".into()][..])
    );
    assert!(!format!("{space:?}{app:?}{run:?}{over:?}").replace("echo $", "").contains("canary"));
    assert_eq!(client.log(&run.name).await, "canary-space canary-app canary-task\n");
    let log = std::fs::read_to_string(server.path("server.log")).unwrap();
    assert!(!log.contains("canary"), "the server's own log has a value: {log}");
}
