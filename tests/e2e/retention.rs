//! Retention to the very end: rows, logs and working copies go, and whatever is killed on the way.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use taskplane_proto::v1::retention_service_client::RetentionServiceClient;
use taskplane_proto::v1::{self as pb, TaskState};
use tonic::Code;

use crate::client::{Client, SPACE, archive, archive_source, spec};
use crate::jobs;
use crate::server::{Options, Server, within};
use crate::terminal::Terminal;

const APP: &str = "spaces/s/apps/a";

/// Space `s` that keeps so many Tasks of App `a`.
async fn keeping(client: &Client, count: i32, minimum: i32) -> pb::Space {
    let space =
        pb::Space { task_retention_count: count, minimum_finished_tasks: Some(minimum), ..pb::Space::default() };
    let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) };
    let space = client.spaces.clone().create_space(request).await.unwrap().into_inner();
    client.push(spec("a", archive_source()), archive(&[("a", "")])).await.unwrap();
    space
}

async fn ids(client: &Client) -> BTreeSet<i64> {
    let request = pb::ListTasksRequest { parent: APP.into(), ..Default::default() };
    client.tasks.clone().list_tasks(request).await.unwrap().into_inner().tasks.iter().map(|task| task.id).collect()
}

/// Waits until these Tasks are there and no others.
async fn left(client: &Client, expected: impl IntoIterator<Item = i64>) {
    let expected: BTreeSet<i64> = expected.into_iter().collect();
    until(async || ids(client).await == expected).await;
}

async fn until(condition: impl AsyncFn() -> bool) {
    within(async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn run_to_its_end(client: &Client, command: &str) -> pb::Task {
    let task = client.run(command).await;
    client.over(&task.name).await
}

fn children(path: PathBuf) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The Tasks that have a log, by uid.
fn logs(server: &Server, space: &pb::Space) -> BTreeSet<String> {
    children(server.path("data/objects/logs").join(&space.uid)).into_iter().collect()
}

fn working_copies(server: &Server) -> usize {
    children(server.path("data/runs/runs")).len()
}

/// How often each Task was told to be removed, by number; and that it was the last word on it.
async fn removed(client: &Client) -> Vec<i64> {
    let request = pb::ListEventsRequest { parent: SPACE.into(), page_size: 500, ..Default::default() };
    let events = client.events.clone().list_events(request).await.unwrap().into_inner().events;
    let of_tasks = events.iter().filter(|event| event.subject.starts_with(&format!("{APP}/tasks/")));
    let mut told: Vec<(i64, &str)> = of_tasks
        .map(|event| (event.subject.rsplit('/').next().unwrap().parse().unwrap(), event.fact.as_str()))
        .collect();
    told.sort_by_key(|(id, _)| *id);
    for task in told.chunk_by(|one, other| one.0 == other.0) {
        assert!(task[..task.len() - 1].iter().all(|(_, fact)| *fact != "removed"), "something came after: {task:?}");
    }
    told.into_iter().filter(|(_, fact)| *fact == "removed").map(|(id, _)| id).collect()
}

/// Each of these was told to be removed once. Events come into the feed a little behind what they tell of.
async fn told(client: &Client, expected: impl IntoIterator<Item = i64>) {
    let expected: Vec<i64> = expected.into_iter().collect();
    until(async || removed(client).await == expected).await;
}

#[tokio::test]
async fn the_newest_stay_and_of_the_others_nothing_is_left() {
    let server = Server::start().await;
    let client = server.client();
    let space = keeping(&client, 3, 0).await;
    let mut kept = BTreeSet::new();
    let mut gone = String::new();
    for number in 1..=6 {
        let task = run_to_its_end(&client, "echo to be kept").await;
        if number > 3 {
            kept.insert(task.uid);
        } else {
            gone = task.name;
        }
    }
    left(&client, 4..=6).await;
    until(async || logs(&server, &space) == kept).await;
    until(async || working_copies(&server) == 0).await;
    told(&client, 1..=3).await;
    let request = pb::GetTaskRequest { name: gone.clone(), ..Default::default() };
    assert_eq!(client.tasks.clone().get_task(request).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.log(&format!("{APP}/tasks/4")).await, "to be kept\n");
    // Numbers go on.
    assert_eq!(client.run("true").await.id, 7);
}

#[tokio::test]
async fn what_lives_stays_and_takes_the_places_of_what_is_over() {
    let server = Server::start().await;
    let client = server.client();
    keeping(&client, 3, 1).await;
    for _ in 0..3 {
        run_to_its_end(&client, "true").await;
    }
    left(&client, 1..=3).await;
    let mut live = Vec::new();
    for _ in 0..4 {
        live.push(client.run("sleep 60").await);
        client.running(&live.last().unwrap().name).await;
    }
    left(&client, 3..=7).await;
    for task in &live {
        assert_eq!(client.get(&task.name).await.state(), TaskState::Running);
    }
    // Three of them take all the places there are, so only the newest that is over stays.
    client.cancel(&live[0].name).await;
    client.over(&live[0].name).await;
    left(&client, 4..=7).await;
}

#[tokio::test]
async fn a_lower_count_is_reached_without_another_end() {
    let server = Server::start().await;
    let client = server.client();
    let space = keeping(&client, 100, 0).await;
    for _ in 0..8 {
        run_to_its_end(&client, "true").await;
    }
    let own = pb::PushAppSpec { task_retention_count: Some(6), ..spec("a", archive_source()) };
    let app = client.push(pb::PushAppSpec { source: None, ..own }, Vec::new()).await.unwrap();
    assert_eq!((app.task_retention_count, app.revision), (Some(6), 1), "it is no new revision");
    left(&client, 3..=8).await;
    let own = pb::PushAppSpec { task_retention_count: Some(0), source: None, ..spec("a", archive_source()) };
    assert_eq!(client.push(own, Vec::new()).await.unwrap().task_retention_count, None);
    let request = pb::UpdateSpaceRequest {
        space: Some(pb::Space { task_retention_count: 2, ..space }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["task_retention_count".into()] }),
    };
    client.spaces.clone().update_space(request).await.unwrap();
    left(&client, 7..=8).await;
    told(&client, 1..=6).await;
}

#[tokio::test]
async fn the_ledger_of_a_job_outlives_its_tasks() {
    let server = Server::start().await;
    let client = server.client();
    keeping(&client, 1, 0).await;
    jobs::create(&client, jobs::job("true"), None).await;
    for _ in 0..3 {
        let task = jobs::run(&client).await;
        client.over(&task.name).await;
    }
    left(&client, [3]).await;
    assert_eq!(jobs::ledger(&client).await.len(), 3);
}

/// From the report of an end to the last file of the Task before.
const POINTS: &[&str] = &[
    "store::retention_mark::before_commit",
    "store::retention_mark::after_commit",
    "executor::after_over@1",
    "executor::before_removed@1",
    "executor::before_removed@2",
    "store::runs_removed::before_commit@1",
    "store::runs_removed::after_commit@1",
    "executor::after_removed@1",
    "store::removals_purge::before_commit",
    "store::removals_purge::after_commit",
    "store::removals_done::before_commit",
    "store::removals_done::after_commit",
];

#[tokio::test]
async fn a_kill_at_any_point_of_a_removal_ends_where_it_would_have_ended() {
    for point in POINTS {
        let server = Server::start().await;
        let space = keeping(&server.client(), 1, 0).await;
        let mut server =
            server.restarted(Options { failpoints: Some((*point).to_owned()), ..Options::default() }).await;
        let client = server.client();
        // As far as it gets: it dies on the way.
        for _ in 0..2 {
            let Ok(task) = client.run_task(crate::client::task("echo x")).await else { break };
            let request = pb::WatchTasksRequest { parent: task.name, resume_token: String::new() };
            let Ok(watch) = client.tasks.clone().watch_tasks(request).await else { break };
            let mut watch = watch.into_inner();
            while let Ok(Some(seen)) = watch.message().await {
                if crate::client::is_final(seen.task.unwrap().state()) {
                    break;
                }
            }
        }
        server.ended().await;
        let server = server.restarted(Options::default()).await;
        let client = server.client();
        let last = run_to_its_end(&client, "echo x").await;
        left(&client, [last.id]).await;
        until(async || logs(&server, &space) == BTreeSet::from([last.uid.clone()])).await;
        until(async || working_copies(&server) == 0).await;
        told(&client, 1..last.id).await;
    }
}

#[tokio::test]
async fn what_grows_too_old_goes_when_it_does_and_not_at_the_next_sweep() {
    let server = Server::start().await;
    let client = server.client();
    let space = keeping(&client, 100, 100).await;
    let old = run_to_its_end(&client, "true").await;
    let request = pb::UpdateSpaceRequest {
        space: Some(pb::Space { task_retention_age: Some(prost_types::Duration { seconds: 3, nanos: 0 }), ..space }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["task_retention_age".into()] }),
    };
    client.spaces.clone().update_space(request).await.unwrap();
    let young = run_to_its_end(&client, "true").await;
    left(&client, [young.id]).await;
    left(&client, []).await;
    told(&client, [old.id, young.id]).await;
}

#[tokio::test]
async fn what_would_go_is_told_with_its_reason_before_it_does() {
    let Terminal { server, home } = Terminal::with_app().await;
    let held = server.path("held");
    let holding =
        Options { failpoints: Some("store::retention_mark::before_commit!hold".into()), ..Options::default() };
    let terminal = Terminal { server: server.restarted(holding).await, home };
    terminal.ok(&["target", "-s", "s", "--api", &terminal.server.address]);
    let client = terminal.server.client();
    let shown = terminal.ok(&["retention", "a"]);
    for line in ["Task retention:          500 (its Space's)", "Finished tasks:          0", "Nothing would go now."] {
        assert!(shown.contains(line), "{shown}");
    }
    let live = client.run("sleep 60").await;
    client.running(&live.name).await;
    let old = run_to_its_end(&client, "exit 3").await;
    terminal.ok(&["update-space", "s", "--task-retention-age", "1s"]);
    until(async || held.exists()).await;
    let request = pb::ListRemovableRequest { parent: APP.into(), ..Default::default() };
    let removable = async || {
        let mut client = RetentionServiceClient::new(terminal.server.channel());
        client.list_removable(request.clone()).await.unwrap().into_inner()
    };
    until(async || !removable().await.tasks.is_empty()).await;
    let told = removable().await;
    let [task] = told.tasks.as_slice() else { panic!("{told:?}") };
    assert_eq!((task.name.as_str(), task.cause()), ("spaces/s/apps/a/tasks/2", pb::RemovalCause::Age));
    assert_eq!((task.state(), task.delete_time), (TaskState::Failed, None));
    let retention = told.retention.unwrap();
    assert_eq!((retention.app.as_str(), retention.live_tasks, retention.finished_tasks), (APP, 1, 1));
    let shown = terminal.ok(&["retention", "a"]);
    assert!(shown.lines().last().unwrap().contains("age"), "{shown}");
    assert_eq!(terminal.ok(&["retention", "a", "-o", "name"]), "spaces/s/apps/a/tasks/2\n");
    assert_eq!(client.get(&old.name).await.delete_time, None, "nothing was marked by looking");
    std::fs::remove_file(held).unwrap();
    left(&client, [live.id]).await;
    let refused = terminal.run(&["retention", "none"]);
    assert!(refused.err.contains("spaces/s/apps/none not found"), "{}", refused.err);
}
