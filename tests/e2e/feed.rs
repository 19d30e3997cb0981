//! Watching and the event feed: everything once, in order, from any point on.

use std::collections::BTreeMap;

use taskplane_proto::v1 as pb;
use tonic::Code;

use crate::client::{Client, reason, violations};
use crate::server::{Options, Server, within};

const WHOLE: &str = "spaces/s/apps/-";

async fn watch(client: &Client, resume_token: &str) -> tonic::Streaming<pb::WatchTasksResponse> {
    let request = pb::WatchTasksRequest { parent: WHOLE.into(), resume_token: resume_token.into() };
    client.tasks.clone().watch_tasks(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_watch_resumed_anywhere_shows_every_transition_once() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let mut names = Vec::new();
    let mut token = String::new();
    let mut seen: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    within(async {
        // An end is awaited for each Task; between any two answers the watch is cut and resumed.
        let mut over = 0;
        let mut stream = watch(&client, &token).await;
        for round in 0..12 {
            names.push(client.run(if round % 3 == 0 { "exit 1" } else { "true" }).await.name);
            for _ in 0..=(round % 4) {
                let change = stream.message().await.unwrap().unwrap();
                over += usize::from(["succeeded", "failed"].contains(&change.fact.as_str()));
                token = change.resume_token;
                seen.entry(change.task.unwrap().name).or_default().push((change.sequence, change.fact));
            }
            drop(stream);
            stream = watch(&client, &token).await;
        }
        while over < names.len() {
            let change = stream.message().await.unwrap().unwrap();
            over += usize::from(["succeeded", "failed"].contains(&change.fact.as_str()));
            seen.entry(change.task.unwrap().name).or_default().push((change.sequence, change.fact));
        }
    })
    .await;
    assert_eq!(seen.len(), 12);
    for (number, name) in names.iter().enumerate() {
        let end = if number % 3 == 0 { "failed" } else { "succeeded" };
        let history: Vec<_> = seen[name].iter().map(|(sequence, fact)| (*sequence, fact.as_str())).collect();
        let start = usize::from(history[0].1 == "existing");
        assert_eq!(history[start..], [(1, "requested"), (2, "starting"), (3, "started"), (4, end)][start..]);
    }
}

#[tokio::test]
async fn the_feed_is_the_same_read_back_and_watched_and_survives_a_restart() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run("true").await;
    client.over(&run.name).await;
    let events = list(&client, "spaces/s", 2).await;
    let facts: Vec<_> = events.iter().map(|event| event.fact.as_str()).collect();
    assert_eq!(facts, ["created", "pushed", "requested", "starting", "started", "succeeded"]);
    assert_eq!(list(&client, &run.name, 100).await, events[2..]);
    assert_eq!(list(&client, "spaces/s/apps/a", 100).await, events[1..]);

    let server = server.restarted(Options::default()).await;
    let client = server.client();
    within(async {
        let request = pb::WatchEventsRequest { parent: "spaces/s".into(), from_start: true, ..Default::default() };
        let mut stream = client.events.clone().watch_events(request).await.unwrap().into_inner();
        for event in &events {
            assert_eq!(stream.message().await.unwrap().unwrap().event.as_ref(), Some(event));
        }
        let next = client.run("true").await;
        assert_eq!(stream.message().await.unwrap().unwrap().event.unwrap().subject, next.name);
    })
    .await;
}

async fn list(client: &Client, parent: &str, page_size: i32) -> Vec<taskplane_proto::event::v1::Event> {
    let mut events = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListEventsRequest { parent: parent.into(), page_size, page_token };
        let page = client.events.clone().list_events(request).await.unwrap().into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return events;
        }
    }
}

#[tokio::test]
async fn a_list_and_a_watch_from_its_token_join_without_a_gap() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let request = pb::ListEventsRequest { parent: "spaces/s".into(), page_size: 500, page_token: String::new() };
    let page = within(async {
        loop {
            // Events come into the feed a little behind what they tell of.
            let page = client.events.clone().list_events(request.clone()).await.unwrap().into_inner();
            if page.events.iter().any(|event| event.fact == "pushed") {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let run = client.run("true").await;
    client.over(&run.name).await;
    within(async {
        let request =
            pb::WatchEventsRequest { parent: "spaces/s".into(), resume_token: page.resume_token, from_start: false };
        let mut stream = client.events.clone().watch_events(request).await.unwrap().into_inner();
        for fact in ["requested", "starting", "started", "succeeded"] {
            let event = stream.message().await.unwrap().unwrap().event.unwrap();
            assert_eq!((event.subject.as_str(), event.fact.as_str()), (run.name.as_str(), fact));
        }
    })
    .await;
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_paged() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    for number in 0..7 {
        let run = client.run(if number % 2 == 0 { "true" } else { "false" }).await;
        client.over(&run.name).await;
    }
    let ids = |filter: &str, order_by: &str, page_size| {
        let (client, filter, order_by) = (client.clone(), filter.to_owned(), order_by.to_owned());
        async move {
            let mut ids = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = pb::ListTasksRequest {
                    parent: WHOLE.into(),
                    page_size,
                    page_token,
                    filter: filter.clone(),
                    order_by: order_by.clone(),
                };
                let page = client.tasks.clone().list_tasks(request).await.unwrap().into_inner();
                ids.extend(page.tasks.iter().map(|task| task.id));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return ids;
                }
            }
        }
    };
    assert_eq!(ids("", "", 2).await, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(ids("", "create_time", 3).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(ids("state=FAILED", "create_time", 1).await, [2, 4, 6]);
    assert_eq!(ids("state=(FAILED OR SUCCEEDED)", "", 500).await.len(), 7);
    assert_eq!(ids("job=nightly", "", 500).await, [0; 0]);
}

#[tokio::test]
async fn tokens_of_another_question_are_refused() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    client.run("true").await;
    client.run("true").await;
    let list = |parent: &str, page_token: &str, page_size: i32| {
        let request = pb::ListTasksRequest {
            parent: parent.into(),
            page_size,
            page_token: page_token.into(),
            ..Default::default()
        };
        let mut tasks = client.tasks.clone();
        async move { tasks.list_tasks(request).await.map(tonic::Response::into_inner) }
    };
    let token = list(WHOLE, "", 1).await.unwrap().next_page_token;
    assert!(list(WHOLE, &token, 1).await.is_ok());
    let mut flipped = token.clone().into_bytes();
    flipped[40] ^= 1;
    for bad in [&token[1..], &String::from_utf8_lossy(&flipped), "x", &"A".repeat(100_000)] {
        assert_eq!(violations(list(WHOLE, bad, 1).await.unwrap_err()), ["page_token"]);
    }
    assert_eq!(violations(list("spaces/s/apps/a", &token, 1).await.unwrap_err()), ["page_token"]);
    assert_eq!(violations(list(WHOLE, "", -1).await.unwrap_err()), ["page_size"]);
    let request = pb::WatchTasksRequest { parent: WHOLE.into(), resume_token: token };
    assert_eq!(violations(client.tasks.clone().watch_tasks(request).await.unwrap_err()), ["resume_token"]);
}

#[tokio::test]
async fn a_watcher_of_a_stopping_server_is_told_to_go_on_elsewhere() {
    let mut server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let mut stream = watch(&client, "").await;
    assert!(server.stop().await);
    let end = within(stream.message()).await.unwrap_err();
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Unavailable, "GOING_AWAY"));
}
