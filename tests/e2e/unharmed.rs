//! What refused requests leave behind: no row, no event, no file, no line of theirs in the log, and a server in good health.

use std::path::Path;
use std::time::Duration;

use taskplane_proto::v1 as pb;
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{Client, archive, archive_source, spec};
use crate::server::{Server, within};

/// Stands in every hostile text, so that it can be looked for where it must not be.
pub const CANARY: &str = "zzcanary";

#[derive(Debug, PartialEq, Eq)]
struct Kept {
    spaces: usize,
    apps: usize,
    tasks: usize,
    events: usize,
    sources: usize,
}

/// A server with something in it that must stay as it is: Space `s` with App `a`, Space `t` with App `b`, and one finished
/// Task on each of them.
pub struct Unharmed {
    pub server: Server,
    pub client: Client,
    before: Kept,
}

impl Unharmed {
    pub async fn start() -> Self {
        let server = Server::start().await;
        let client = server.client();
        client.app(&[("file", "")]).await;
        client.space("t").await;
        let other = pb::PushAppSpec { parent: "spaces/t".into(), ..spec("b", archive_source()) };
        client.push(other, archive(&[("other", "")])).await.unwrap();
        for parent in ["spaces/s/apps/a", "spaces/t/apps/b"] {
            let request = pb::RunTaskRequest { parent: parent.into(), command: "true".into(), ..Default::default() };
            let task = client.run_task(request).await.unwrap();
            client.over(&task.name).await;
        }
        let before = within(async {
            loop {
                // Events come into the feed a little behind what they tell of.
                let kept = kept(&server, &client).await;
                if kept.events == 2 * ["created", "pushed", "requested", "starting", "started", "succeeded"].len() {
                    return kept;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        Self { server, client, before }
    }

    /// Fails when anything that was sent since the start has left a trace.
    pub async fn check(self) {
        let Self { server, client, before } = self;
        assert_eq!(kept(&server, &client).await, before, "something was written");
        assert_eq!(health(&server, "").await, ServingStatus::Serving);
        let next = client.run("true").await;
        assert_eq!(next.id, 2, "a refused Task used a number up");
        client.over(&next.name).await;
        let log = server.log();
        let raw: Vec<char> = log.chars().filter(|c| c.is_control() && *c != '\n').collect();
        assert!(raw.is_empty(), "the log holds {raw:?}: {log}");
        for word in [CANARY, "panic", "internal error"] {
            assert!(!log.contains(word), "the log speaks of {word}: {log}");
        }
    }
}

pub async fn health(server: &Server, service: &str) -> ServingStatus {
    let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
    HealthClient::new(server.channel()).check(request).await.unwrap().into_inner().status()
}

/// What a client may be told: one line, without what a terminal would obey.
pub fn is_printable(refused: &Status) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}');
    !refused.message().is_empty() && !refused.message().contains(odd)
}

async fn kept(server: &Server, client: &Client) -> Kept {
    let request = pb::ListSpacesRequest { page_size: 500, ..Default::default() };
    let spaces = client.spaces.clone().list_spaces(request).await.unwrap().into_inner().spaces;
    let (mut apps, mut tasks, mut events) = (0, 0, 0);
    for pb::Space { name, .. } in &spaces {
        let request = pb::ListAppsRequest { parent: name.clone(), page_size: 500, ..Default::default() };
        apps += client.apps.clone().list_apps(request).await.unwrap().into_inner().apps.len();
        let parent = format!("{name}/apps/-");
        let request = pb::ListTasksRequest { parent, page_size: 500, ..Default::default() };
        tasks += client.tasks.clone().list_tasks(request).await.unwrap().into_inner().tasks.len();
        let request = pb::ListEventsRequest { parent: name.clone(), page_size: 500, ..Default::default() };
        events += client.events.clone().list_events(request).await.unwrap().into_inner().events.len();
    }
    let sources = files(&server.path("data/objects/sources"));
    assert!(sources > 0, "sources are kept elsewhere");
    Kept { spaces: spaces.len(), apps, tasks, events, sources }
}

/// Files below a directory.
fn files(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}
