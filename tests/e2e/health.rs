//! Whether a process is fit to serve, as it says itself over HTTP and gRPC: what makes it unready, how soon, and what does not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use taskplane_testkit::postgres::{Postgres, Stop};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::metrics::{measured, scrape};
use crate::server::{Options, Server, within};
use crate::unharmed::health;

/// Whoever sends requests here is told within this time that it is of no use.
const SOON: Duration = Duration::from_secs(15);

async fn status(at: SocketAddr, path: &str) -> (bool, String) {
    let (head, body) = scrape(at, path).await;
    assert!(head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.1 503"), "{head}");
    (head.starts_with("HTTP/1.1 200"), body)
}

/// Waits until it says so; what it says besides, and how long that took.
async fn becomes(at: SocketAddr, ready: bool) -> (String, Duration) {
    let begun = Instant::now();
    within(async {
        loop {
            let (is, why) = status(at, "/readyz").await;
            if is == ready {
                return (why, begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// Alive, and of one mind over gRPC.
async fn is_alive(at: SocketAddr, server: &Server, grpc: ServingStatus) {
    assert!(status(at, "/livez").await.0);
    within(async {
        while health(server, "").await != grpc || health(server, "taskplane.v1.TaskService").await != grpc {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_that_loses_its_database_is_unready_and_alive_until_it_is_back() {
    let postgres = tokio::task::spawn_blocking(|| Postgres::start_durable().unwrap()).await.unwrap();
    let args = vec!["--database-url".to_owned(), postgres.create_database()];
    let (server, at) = measured(Options { args, ..Options::default() }).await;
    let (ready, _) = status(at, "/readyz").await;
    assert!(ready, "it is announced when it is ready");
    is_alive(at, &server, ServingStatus::Serving).await;
    postgres.stop(Stop::Fast).unwrap();
    let (why, after) = becomes(at, false).await;
    assert!(after <= SOON, "only after {after:?}");
    assert!(why.contains("database"), "{why}");
    is_alive(at, &server, ServingStatus::NotServing).await;
    assert!(
        scrape(at, "/metrics").await.1.contains("\ntaskplane_measured 0\n"),
        "what it counted itself is still told"
    );
    postgres.resume().unwrap();
    becomes(at, true).await;
    is_alive(at, &server, ServingStatus::Serving).await;
    server.client().space("s").await;
}

#[tokio::test]
async fn a_loop_at_a_standstill_makes_the_process_unready() {
    for worker in ["relay", "scheduler", "beat"] {
        let failpoints = Some(format!("worker::{worker}@2!hold"));
        let (server, at) = measured(Options { failpoints, ..Options::default() }).await;
        let held = server.path("held");
        let begun = Instant::now();
        // Each of them has something to do: a change to tell of, a Job to look at, the time.
        server.client().app(&[("a", "")]).await;
        crate::jobs::create(&server.client(), crate::jobs::job("true"), Some("0 0 1 1 *")).await;
        within(async {
            while !held.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let (why, after) = becomes(at, false).await;
        assert!(after <= SOON, "{worker}: only {:?} after it was held, {after:?}", begun.elapsed());
        assert!(why.contains(worker), "{worker}: {why}");
        is_alive(at, &server, ServingStatus::NotServing).await;
        std::fs::remove_file(&held).unwrap();
        becomes(at, true).await;
    }
}
