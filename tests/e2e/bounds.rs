//! What is just within the bounds, or merely looks odd, is taken as it is.

use taskplane_proto::v1::{self as pb, Reason, TaskState};

use crate::client::{Client, archive, archive_source, env, spec, task};
use crate::server::Server;

async fn succeeds(client: &Client, request: pb::RunTaskRequest) -> pb::Task {
    let task = client.run_task(request).await.unwrap();
    let over = client.over(&task.name).await;
    assert_eq!(over.state(), TaskState::Succeeded, "{}", over.message);
    over
}

#[tokio::test]
async fn a_command_arrives_byte_for_byte() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let odd = r#"$(params.x) $$(X) "quotes" \n %s %2f ; | & ' -c --help 工作"#;
    let odd = format!("{odd} \u{202e}\u{200b}\u{1b}[31m");
    let command = format!("cat <<'END'\n{odd}\n\ttabs and\r returns  \nEND\n");
    let over = succeeds(&client, task(&command)).await;
    assert_eq!(over.command, command);
    assert_eq!(client.log(&over.name).await, format!("{odd}\n\ttabs and\r returns  \n"));

    let longest = format!("printf %s '{}' | wc -c", "x".repeat(16 * 1024 - 20));
    assert_eq!(longest.len(), 16 * 1024);
    let over = succeeds(&client, task(&longest)).await;
    assert_eq!(client.log(&over.name).await.trim(), (16 * 1024 - 20).to_string());
}

#[tokio::test]
async fn a_command_that_looks_like_a_flag_is_a_command() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    for command in ["-c", "--help", "-x"] {
        let task = client.run(command).await;
        let over = client.over(&task.name).await;
        assert_eq!((over.reason(), over.exit_code), (Reason::ExitCode, Some(127)), "{command}");
    }
}

#[tokio::test]
async fn variables_arrive_byte_for_byte() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let value = "$HOME `id` \"'\\ \n\t\u{1b}[31m 工作 =%2f ";
    let request = pb::RunTaskRequest {
        env: env(&[("_a1", value), ("A", ""), ("a", "lower")]),
        ..task("printf '%s|%s|%s' \"$_a1\" \"$A\" \"$a\"")
    };
    let over = succeeds(&client, request).await;
    assert_eq!(client.log(&over.name).await, format!("{value}||lower\n"));
    for (name, value) in [("PATH", "/odd:/usr/bin:/bin"), ("LD_PRELOAD", "/not/there.so"), ("HOME", "/x")] {
        let command = format!("printf %s \"${name}\"");
        let over = succeeds(&client, pb::RunTaskRequest { env: env(&[(name, value)]), ..task(&command) }).await;
        assert!(client.log(&over.name).await.contains(value), "{name}");
    }
    let large = "x".repeat(32 * 1024 - 1);
    let request = pb::RunTaskRequest { env: env(&[("A", &large)]), ..task("printf %s \"$A\" | wc -c") };
    let over = succeeds(&client, request).await;
    assert_eq!(client.log(&over.name).await.trim(), large.len().to_string());
}

#[tokio::test]
async fn space_app_and_task_may_each_bring_all_they_may() {
    let server = Server::start().await;
    let client = server.client();
    let fill = |names: [&str; 2]| {
        let value = "x".repeat(32 * 1024 - 1);
        env(&[(names[0], &value), (names[1], &value)])
    };
    let space = pb::Space { env: fill(["A", "B"]), ..Default::default() };
    let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) };
    client.spaces.clone().create_space(request).await.unwrap();
    let app = pb::PushAppSpec { env: fill(["C", "D"]), ..spec("a", archive_source()) };
    client.push(app, archive(&[("a", "")])).await.unwrap();
    let value = "x".repeat(32 * 1024 - 1);
    let command = "printf %s \"$A$B$C$D$E\" | wc -c";
    let over = succeeds(&client, pb::RunTaskRequest { env: env(&[("E", &value)]), ..task(command) }).await;
    assert_eq!(client.log(&over.name).await.trim(), (5 * value.len()).to_string());
}

#[tokio::test]
async fn everything_else_may_be_as_large_as_its_bound() {
    let server = Server::start().await;
    let client = server.client();
    let long = "x".repeat(50);
    client.space(&long).await;
    let parent = format!("spaces/{long}");
    let app = pb::PushAppSpec { parent: parent.clone(), ..spec(&long, archive_source()) };
    client.push(app, archive(&[("a", "")])).await.unwrap();
    let token = "x".repeat(63);
    let labels = (0..64).map(|number| (format!("example.com/{number:0>63}"), token.clone())).collect();
    let request = pb::RunTaskRequest {
        parent: format!("{parent}/apps/{long}"),
        display_name: "工作 of the пятница e\u{301} 🚀 ' OR 1=1--".into(),
        request_id: "é".repeat(64),
        timeout: Some(prost_types::Duration { seconds: 365 * 86_400, nanos: 0 }),
        retry_policy: Some(pb::RetryPolicy {
            max_attempts: 10,
            backoff: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
            retry_on: [1, 2, 3].repeat(3000),
            retry_unknown: true,
        }),
        resources: Some(pb::Resources { memory: "1024Ti".into(), disk: "1Mi".into(), cpu: "1m".into() }),
        labels,
        ..task("true")
    };
    let over = succeeds(&client, request.clone()).await;
    assert_eq!((over.display_name, over.labels), (request.display_name, request.labels));
    assert_eq!(over.retry_policy.unwrap().retry_on, [1, 2, 3]);
}

#[tokio::test]
async fn a_page_may_be_asked_for_with_any_size_that_is_one() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    client.space("t").await;
    let list = |page_size, page_token: &str| {
        let request = pb::ListSpacesRequest { page_size, page_token: page_token.into() };
        let mut spaces = client.spaces.clone();
        async move { spaces.list_spaces(request).await.map(tonic::Response::into_inner) }
    };
    assert_eq!(list(i32::MAX, "").await.unwrap().spaces.len(), 2);
    let token = list(1, "").await.unwrap().next_page_token;
    for size in [-1, i32::MIN] {
        assert_eq!(crate::client::violations(list(size, "").await.unwrap_err()), ["page_size"]);
    }
    // What the token stands behind may go: the list goes on after where it was.
    let request = pb::ListAppsRequest { parent: "spaces/s".into(), page_token: token.clone(), ..Default::default() };
    let foreign = client.apps.clone().list_apps(request).await.unwrap_err();
    assert_eq!(crate::client::violations(foreign), ["page_token"]);
    let rest: Vec<_> = list(1, &token).await.unwrap().spaces.into_iter().map(|space| space.name).collect();
    assert_eq!(rest, ["spaces/t"]);
    client
        .spaces
        .clone()
        .delete_space(pb::DeleteSpaceRequest { name: "spaces/t".into(), etag: String::new(), force: false })
        .await
        .unwrap();
    assert!(list(1, &token).await.unwrap().spaces.is_empty());

    // A server with other keys did not make it.
    let other = Server::start().await;
    let request = pb::ListSpacesRequest { page_size: 1, page_token: token };
    let foreign = other.client().spaces.list_spaces(request).await.unwrap_err();
    assert_eq!(crate::client::violations(foreign), ["page_token"]);
}
