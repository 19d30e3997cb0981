//! A bus that hangs, and one on which somebody says nonsense: neither makes a process unfit.

use std::net::SocketAddr;
use std::time::Duration;

use taskplane_proto::v1::TaskState;
use taskplane_testkit::nats::Nats;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kit::System;
use crate::server::{until, within};

/// With a bus, and an api that says how it is.
async fn system(nats: &Nats, names: &[&str]) -> (System, SocketAddr) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut system = System::prepare().await;
    system.extra.control = vec!["--nats-url".into(), nats.url()];
    system.extra.api = vec!["--metrics-listen".into(), free.to_string()];
    system.launch(names).await;
    (system, free)
}

/// What it answers: the status and the rest.
async fn ask(at: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    (status, answer)
}

#[tokio::test]
async fn a_bus_that_hangs_makes_nobody_unready_and_holds_nothing_up() {
    let nats = Nats::start().unwrap();
    let (mut system, at) = system(&nats, &["api-1", "executor-1"]).await;
    let client = system.client("api-1");
    client.app(&[("x", "x")]).await;
    until(|| system.process("api-1").log().contains("connected to NATS").then_some(())).await;
    nats.hold().unwrap();
    let during = client.run("echo during").await;
    assert_eq!(client.over(&during.name).await.state(), TaskState::Succeeded);
    // Until it is noticed, and then.
    let noticed = async {
        loop {
            let noticed = system.process("api-1").log().contains("the connection to NATS is gone");
            for path in ["/readyz", "/livez"] {
                let (status, answer) = ask(at, path).await;
                assert_eq!(status, 200, "{answer}");
            }
            if noticed {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(noticed).await;
    let after = client.run("echo after").await;
    assert_eq!(client.over(&after.name).await.state(), TaskState::Succeeded);
    nats.go_on().unwrap();
    until(|| (system.process("api-1").log().matches("connected to NATS").count() > 1).then_some(())).await;
    assert!(system.process("api-1").runs());
}

#[tokio::test]
async fn messages_that_are_no_events_are_counted() {
    const COUNTER: &str = "\ntaskplane_bus_dropped_total ";
    let nats = Nats::start().unwrap();
    let (mut system, at) = system(&nats, &["api-1"]).await;
    until(|| system.process("api-1").log().contains("connected to NATS").then_some(())).await;
    assert!(ask(at, "/metrics").await.1.contains(&format!("{COUNTER}0\n")));
    let somebody = async_nats::connect(nats.url()).await.unwrap();
    for _ in 0..3 {
        somebody.publish("taskplane.v1.s.task.a.requested", "nonsense".into()).await.unwrap();
    }
    somebody.flush().await.unwrap();
    let counted = async {
        while !ask(at, "/metrics").await.1.contains(&format!("{COUNTER}3\n")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(counted).await;
}
