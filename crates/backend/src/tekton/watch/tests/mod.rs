mod server;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use taskplane_domain::run::{Fate, RunKey};
use taskplane_domain::uid::TaskUid;
use uuid::Uuid;

use super::*;
use crate::tekton::client::{Access, CallError};
use server::{Asked, Reply, Server};

fn key(number: u128) -> RunKey {
    RunKey { task: TaskUid(Uuid::from_u128(number)), attempt: 1 }
}

fn labels(key: &RunKey) -> Value {
    json!({names::MANAGED: "true", names::TASK: names::task_id(key.task), names::ATTEMPT: key.attempt.to_string()})
}

/// A run that Tekton has taken up.
fn run(key: &RunKey, version: u32) -> Value {
    json!({
        "metadata": {"name": key.to_string(), "namespace": "space", "uid": format!("uid-{key}"),
            "resourceVersion": version.to_string(), "labels": labels(key), "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {}, "status": {"conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]},
    })
}

fn list(items: &[Value], version: u32, next: &str) -> Reply {
    Reply::ok(&json!({"metadata": {"resourceVersion": version.to_string(), "continue": next}, "items": items}))
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn bookmark(version: u32) -> String {
    event("BOOKMARK", &json!({"metadata": {"resourceVersion": version.to_string()}}))
}

/// What nobody speaks of: empty lists, and watches that stay silent.
fn nothing(asked: &Asked) -> Reply {
    if asked.target.contains("watch=1") { Reply::Silent(Vec::new()) } else { list(&[], 1, "") }
}

fn is_list(asked: &Asked) -> bool {
    asked.target.contains("/pipelineruns?") && asked.target.contains("limit=")
}

fn is_watch(asked: &Asked) -> bool {
    asked.target.contains("/pipelineruns?") && asked.target.contains("watch=1")
}

fn pace() -> Pace {
    Pace {
        answer: Duration::from_millis(500),
        turn: Duration::from_millis(400),
        slack: Duration::from_millis(200),
        pause: Duration::from_millis(10),
        pause_max: Duration::from_millis(50),
        page: 2,
    }
}

async fn watching(server: &Server) -> (Arc<Cluster>, Arc<Board>) {
    let calls_per_second = NonZeroU32::new(1000).unwrap();
    let access = Access { kubeconfig: Some(server.kubeconfig.clone()), calls_per_second };
    let cluster = Arc::new(Cluster::connect(&access).await.unwrap());
    let board = Board::start_at(&cluster, pace());
    (cluster, board)
}

async fn known(board: &Board, key: &RunKey, version: &str) {
    let mut changes = board.changes();
    while board.find(key).and_then(|run| run.metadata.resource_version).as_deref() != Some(version) {
        changes.next().await.unwrap();
    }
}

#[tokio::test]
async fn a_list_that_is_forgotten_in_its_middle_is_begun_again_and_nothing_is_missed() {
    let mut forgotten = false;
    let server = Server::start(move |asked| match asked {
        asked if is_list(asked) && asked.target.contains("continue=more") && !forgotten => {
            forgotten = true;
            Reply::refused(410, "")
        }
        asked if is_list(asked) && asked.target.contains("continue=more") => list(&[run(&key(3), 3)], 9, ""),
        asked if is_list(asked) => list(&[run(&key(1), 1), run(&key(2), 2)], 9, "more"),
        asked => nothing(asked),
    })
    .await;
    let (_, board) = watching(&server).await;
    board.ready().await;
    assert!((1..=3).all(|number| board.find(&key(number)).is_some()));
    assert_eq!(server.asked("/pipelineruns?labelSelector=taskplane.dev/managed%3Dtrue&limit", 4).await.len(), 4);
    board.stop().await;
}

#[tokio::test]
async fn who_is_told_to_come_back_later_comes_back_later() {
    let mut refused = false;
    let server = Server::start(move |asked| {
        if is_list(asked) && !refused {
            refused = true;
            return Reply::refused(429, "Retry-After: 1\r\n");
        }
        nothing(asked)
    })
    .await;
    let (_, board) = watching(&server).await;
    let asked = server.asked("/pipelineruns?labelSelector=taskplane.dev/managed%3Dtrue&limit", 2).await;
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1), "{asked:?}");
    board.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_asked_again() {
    let mut tries = 0;
    let server = Server::start(move |asked| {
        if is_list(asked) {
            tries += 1;
            if tries == 1 {
                return Reply::Hang;
            }
        }
        nothing(asked)
    })
    .await;
    let (_, board) = watching(&server).await;
    board.ready().await;
    board.stop().await;
}

#[tokio::test]
async fn a_watch_on_which_nothing_comes_any_more_is_replaced_and_goes_on_where_it_was() {
    let mut watches = 0;
    let server = Server::start(move |asked| {
        if is_watch(asked) {
            watches += 1;
            return match watches {
                1 => Reply::Silent(vec![event("ADDED", &run(&key(1), 5)), bookmark(7)]),
                2 => Reply::Silent(vec![event("MODIFIED", &run(&key(1), 8))]),
                _ => Reply::Silent(Vec::new()),
            };
        }
        nothing(asked)
    })
    .await;
    let (_, board) = watching(&server).await;
    known(&board, &key(1), "8").await;
    let watches = server.asked("/pipelineruns?labelSelector=taskplane.dev/managed%3Dtrue&watch=1", 2).await;
    assert!(watches[0].target.ends_with("resourceVersion=1"), "{watches:?}");
    assert!(watches[1].target.ends_with("resourceVersion=7"), "{watches:?}");
    board.stop().await;
}

#[test]
fn a_dead_watch_is_noticed_within_a_minute() {
    let Pace { turn, slack, answer, .. } = Pace::default();
    assert!(turn + slack <= Duration::from_secs(60) && answer <= Duration::from_secs(60));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_in_the_middle_of_an_event_comes_again() {
    let mut watches = 0;
    let server = Server::start(move |asked| {
        if is_watch(asked) {
            watches += 1;
            let whole = event("ADDED", &run(&key(1), 5));
            let cut = whole[..whole.len() / 2].to_owned();
            return if watches == 1 { Reply::Lines(vec![cut]) } else { Reply::Silent(vec![whole]) };
        }
        nothing(asked)
    })
    .await;
    let (_, board) = watching(&server).await;
    known(&board, &key(1), "5").await;
    board.stop().await;
}

#[tokio::test]
async fn a_run_whose_deletion_nobody_saw_is_lost_once_the_cluster_itself_says_that_it_is_not_there() {
    let mut lists = 0;
    let server = Server::start(move |asked| {
        if is_list(asked) && !asked.target.contains("task-id") {
            lists += 1;
            return if lists == 1 { list(&[run(&key(1), 5)], 6, "") } else { list(&[], 9, "") };
        }
        if is_watch(asked) {
            let forgotten = json!({"kind": "Status", "code": 410, "message": "too old"});
            return if lists == 1 { Reply::Lines(vec![event("ERROR", &forgotten)]) } else { Reply::Silent(Vec::new()) };
        }
        if asked.target.ends_with(&key(1).to_string()) { Reply::refused(404, "") } else { nothing(asked) }
    })
    .await;
    let (cluster, board) = watching(&server).await;
    let mut changes = board.changes();
    let gone = server.asked(&format!("/namespaces/space/pipelineruns/{}", key(1)), 1).await;
    assert_eq!(gone[0].method, "GET");
    // It was asked for; the answer is still on its way.
    let (run, fate) = loop {
        if let Observation::Over { run, fate } = board.observe(&cluster, &key(1)).await.unwrap() {
            break (run, fate);
        }
        changes.next().await.unwrap();
    };
    assert_eq!(run.0, format!("uid-{}", key(1)));
    assert!(matches!(fate, Fate::Lost { .. }), "{fate:?}");
    board.stop().await;
}

#[tokio::test]
async fn a_run_that_a_list_did_not_hold_and_that_is_there_is_not_lost() {
    let mut lists = 0;
    let server = Server::start(move |asked| {
        if is_list(asked) && !asked.target.contains("task-id") {
            lists += 1;
            return if lists == 1 { list(&[run(&key(1), 5)], 6, "") } else { list(&[], 9, "") };
        }
        if is_watch(asked) && lists == 1 {
            return Reply::Lines(vec![event("ERROR", &json!({"code": 410, "message": "too old"}))]);
        }
        if asked.target.ends_with(&key(1).to_string()) { Reply::ok(&run(&key(1), 12)) } else { nothing(asked) }
    })
    .await;
    let (cluster, board) = watching(&server).await;
    known(&board, &key(1), "12").await;
    assert!(matches!(board.observe(&cluster, &key(1)).await.unwrap(), Observation::Waiting { .. }));
    board.stop().await;
}

#[tokio::test]
async fn a_run_that_was_made_without_our_hearing_of_it_is_met_when_it_is_made_again() {
    let mut posts = 0;
    let server = Server::start(move |asked| {
        if asked.method == "POST" {
            posts += 1;
            // Stored, and the answer is lost.
            return if posts == 1 { Reply::Cut } else { Reply::refused(409, "") };
        }
        nothing(asked)
    })
    .await;
    let (cluster, board) = watching(&server).await;
    let made = cluster.create::<PipelineRun>(Some("space"), &run(&key(1), 1)).await;
    assert!(matches!(made, Err(CallError::Refused { code: 409, .. })), "{made:?}");
    assert_eq!(server.asked("/namespaces/space/pipelineruns?", 2).await.len(), 2, "one repeat, and it is ours");
    board.stop().await;
}
