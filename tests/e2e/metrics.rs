//! What a server measures and serves to Prometheus, against the table of `docs/METRICS.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use taskplane_proto::v1 as pb;

use crate::client::task;
use crate::jobs::{create, job};
use crate::schedules::before_a_minute;
use crate::server::{Options, Server, within};

/// A server that serves its measurements, and where.
pub async fn measured(options: Options) -> (Server, SocketAddr) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = options;
    options.args.extend(["--metrics-listen".into(), free.to_string()]);
    (Server::start_with(options).await, free)
}

#[tokio::test]
async fn measurements_are_served_where_that_is_asked_for() {
    let (server, at) = measured(Options::default()).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run("sleep 600").await;
    client.running(&run.name).await;
    let (head, body) = scrape(at, "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.contains("\ntaskplane_tasks_live{state=\"RUNNING\"} 1\n"), "{body}");
    assert!(body.contains("\ntaskplane_tasks_stuck{state=\"CANCELLING\",reason=\"NOT_ENDING\"} 0\n"), "{body}");
    assert!(body.contains("\ntaskplane_executors_open 1\n"), "{body}");
    assert!(scrape(at, "/").await.0.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn what_is_done_is_counted_and_every_measure_is_in_the_table() {
    let (server, at) = measured(before_a_minute(Duration::from_secs(5), Duration::ZERO)).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    create(&client, job("true"), Some("* * * * *")).await;
    let request = pb::RunTaskRequest { request_id: "once".into(), ..task("true") };
    for _ in 0..2 {
        let run = client.run_task(request.clone()).await.unwrap();
        client.over(&run.name).await;
    }
    assert!(client.run_task(pb::RunTaskRequest { parent: "spaces/s/apps/none".into(), ..task("true") }).await.is_err());
    let counts = within(async {
        loop {
            let counts = counts(&scrape(at, "/metrics").await.1);
            if counts.get("taskplane_schedule_lateness_seconds_count").is_some_and(|ticks| *ticks >= 1.0) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    for (sample, at_least) in [
        ("taskplane_accept_seconds_count{outcome=\"accepted\"}", 1.0),
        ("taskplane_accept_seconds_count{outcome=\"repeated\"}", 1.0),
        ("taskplane_accept_seconds_count{outcome=\"refused\"}", 1.0),
        ("taskplane_dispatch_seconds_count", 1.0),
        ("taskplane_made_seconds_count", 1.0),
        ("taskplane_grpc_requests_total{code=\"OK\",method=\"/taskplane.v1.TaskService/RunTask\"}", 2.0),
        ("taskplane_grpc_requests_total{code=\"NOT_FOUND\",method=\"/taskplane.v1.TaskService/RunTask\"}", 1.0),
        (
            "taskplane_grpc_requests_total{code=\"OK\",method=\"/taskplane.internal.v1.ExecutorControl/ReportRuns\"}",
            1.0,
        ),
        ("taskplane_worker_passes_total{outcome=\"done\",worker=\"relay\"}", 1.0),
        ("taskplane_measured", 1.0),
    ] {
        let found = counts.get(sample).copied().unwrap_or_default();
        assert!(found >= at_least, "{sample} is {found}: {counts:#?}");
    }
    let (table, labels) = table();
    for sample in counts.keys() {
        let (name, rest) = sample.split_once('{').unwrap_or((sample, ""));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        assert!(table.contains(family), "{family} is not in the table");
        for label in rest.split('"').filter_map(|part| part.trim_start_matches([',', '}']).strip_suffix('=')) {
            assert!(label == "le" || labels[family].contains(label), "{family} has the label {label}");
        }
    }
}

/// The samples of a scrape.
fn counts(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Names, and the labels of each, as the document has them.
fn table() -> (BTreeSet<String>, BTreeMap<String, BTreeSet<String>>) {
    let document = include_str!("../../docs/METRICS.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `taskplane_"));
    let mut labels = BTreeMap::new();
    for row in rows {
        let cell = row.split('`').next().unwrap();
        let (name, of) = cell.split_once('{').unwrap_or((cell, ""));
        let of = of.trim_end_matches('}').split(',').map(str::to_owned).collect();
        labels.insert(format!("taskplane_{name}"), of);
    }
    (labels.keys().cloned().collect(), labels)
}

pub async fn scrape(at: std::net::SocketAddr, path: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
