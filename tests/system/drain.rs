//! A service that is asked to stop: first it says so, then it finishes, then it goes; and nobody misses anything.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use taskplane_proto::v1::{self as pb, TaskState};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::kit::System;
use crate::server::within;

const DRAIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_api_that_is_to_stop_turns_its_health_first_and_its_watchers_go_on_elsewhere() {
    let mut system = System::start(&["api-1", "api-2", "executor-1"]).await;
    let (one, other) = (system.client("api-1"), system.client("api-2"));
    one.app(&[("x", "x")]).await;
    let running = one.run("sleep 1000").await;
    one.running(&running.name).await;
    let mut health = HealthClient::new(system.channel("api-1"));
    let mut health = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(within(health.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    let request = pb::WatchEventsRequest { parent: "spaces/s".into(), ..Default::default() };
    let mut events = one.events.clone().watch_events(request).await.unwrap().into_inner();

    let asked = Instant::now();
    system.process("api-1").signal(Signal::SIGTERM);
    assert_eq!(within(health.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    // Whoever has not noticed yet is still served.
    one.get(&running.name).await;
    let (mut seen, mut resume_token) = (Vec::new(), String::new());
    let ended = loop {
        match within(events.message()).await {
            Ok(Some(response)) => {
                resume_token = response.resume_token;
                seen.extend(response.event.map(|event| event.id));
            }
            Ok(None) => panic!("a watch ended as if there were no more"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);

    assert!(system.process("api-1").ended().await.success());
    assert!(asked.elapsed() < DRAIN);
    // Elsewhere the watch goes on where it stood, and so does the executor.
    let request = pb::WatchEventsRequest { parent: "spaces/s".into(), resume_token, ..Default::default() };
    let mut events = other.events.clone().watch_events(request).await.unwrap().into_inner();
    other.cancel(&running.name).await;
    assert_eq!(other.over(&running.name).await.state(), TaskState::Cancelled);
    let next = within(events.message()).await.unwrap().unwrap();
    assert!(next.event.is_some_and(|event| !seen.contains(&event.id)));
}

#[tokio::test]
async fn every_service_goes_within_its_time_and_gives_back_what_it_held() {
    let mut system = System::start(&["api-1", "scheduler-1", "reaper-1", "executor-1", "executor-2"]).await;
    let client = system.client("api-1");
    client.app(&[("x", "x")]).await;
    for name in ["scheduler-1", "reaper-1", "executor-1"] {
        let asked = Instant::now();
        let process = system.process(name);
        process.signal(Signal::SIGTERM);
        assert!(process.ended().await.success(), "{name}");
        assert!(asked.elapsed() < DRAIN, "{name}");
    }
    let task = client.run("echo still").await;
    assert_eq!(client.over(&task.name).await.state(), TaskState::Succeeded);
}
