//! Source archives: kept while something needs them, and cleared away after, whatever is killed on the way.

use std::time::Duration;

use taskplane_proto::v1 as pb;

use crate::client::{Client, archive, archive_source, spec};
use crate::server::{Options, Server, within};

const TWO_DAYS: Duration = Duration::from_secs(2 * 24 * 3600);

/// In two days, and dying at this point.
fn later(point: Option<&str>) -> Options {
    Options { ahead: TWO_DAYS, failpoints: point.map(str::to_owned), ..Options::default() }
}

fn archives(server: &Server) -> usize {
    let Ok(entries) = std::fs::read_dir(server.path("data/objects/sources")) else { return 0 };
    entries.count()
}

async fn left(server: &Server, count: usize) {
    within(async {
        while archives(server) != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn push(client: &Client, content: &str) -> Result<pb::App, tonic::Status> {
    client.push(spec("a", archive_source()), archive(&[("file", content)])).await
}

#[tokio::test]
async fn an_archive_goes_when_no_revision_and_no_task_needs_it_through_a_crash_at_every_step() {
    let server = Server::start().await;
    let client = server.client();
    client.space("s").await;
    push(&client, "old\n").await.unwrap();
    let task = client.run("cat file").await;
    client.over(&task.name).await;
    let first = push(&client, "new\n").await.unwrap();
    let again = push(&client, "new\n").await.unwrap();
    assert_eq!((first.revision, again.revision, archives(&server)), (2, 2, 2), "the same bytes are kept once");
    let mut server = server.restarted(later(None)).await;
    let client = server.client();
    assert_eq!(client.output("cat file").await, "new\n");
    assert_eq!(archives(&server), 2, "a Task of the first revision is there");
    let delete = pb::DeleteTaskRequest { name: task.name, force: false };
    client.tasks.clone().delete_task(delete).await.unwrap();
    let get = pb::GetTaskRequest { name: "spaces/s/apps/a/tasks/1".into(), ..Default::default() };
    within(async {
        while client.tasks.clone().get_task(get.clone()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for step in ["app_revisions_trim", "sources_trim", "sources_removed"] {
        for moment in ["before_commit", "after_commit"] {
            server = server.crashed(later(Some(&format!("store::{step}::{moment}")))).await;
        }
    }
    let server = server.restarted(later(None)).await;
    left(&server, 1).await;
    assert_eq!(server.client().output("cat file").await, "new\n");
}

#[tokio::test]
async fn an_upload_whose_push_was_cut_off_goes_after_its_time_and_can_be_pushed_again_at_once() {
    let server = Server::start().await;
    server.client().space("s").await;
    let mut server = server
        .restarted(Options { failpoints: Some("store::app_create::before_commit".into()), ..Options::default() })
        .await;
    assert!(push(&server.client(), "content\n").await.is_err(), "the answer was cut off by the kill");
    server.ended().await;
    let server = server.restarted(Options::default()).await;
    let client = server.client();
    assert_eq!(archives(&server), 1);
    push(&client, "content\n").await.unwrap();
    assert_eq!(archives(&server), 2, "nobody knows of the first whether it is whole");
    assert_eq!(client.output("cat file").await, "content\n");
    let server = server.restarted(later(None)).await;
    left(&server, 1).await;
    assert_eq!(server.client().output("cat file").await, "content\n");
}
