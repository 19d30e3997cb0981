//! The trace of one Task, as a collector receives it.

use std::collections::BTreeSet;
use std::time::Duration;

use taskplane_proto::v1::TaskState;
use tonic::Request;

use crate::client::task;
use crate::collector::{Collector, one};
use crate::metrics::{measured, scrape};
use crate::server::{Options, Server, within};

/// The trace that the caller is in, and where in it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn one_trace_runs_from_the_call_over_database_and_event_to_executor_and_run() {
    let collector = Collector::default();
    let args = vec!["--otlp-endpoint".to_owned(), collector.serve().await];
    let (mut server, at) = measured(Options { args, ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let mut request = Request::new(task("echo zzcanary"));
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    let run = client.tasks.clone().run_task(request).await.unwrap().into_inner();
    assert_eq!(client.over(&run.name).await.state(), TaskState::Succeeded);
    // Its last event is told of, and what is not exported by then is when the process ends.
    within(async {
        while !scrape(at, "/metrics").await.1.contains("\ntaskplane_outbox_events 0\n") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(server.stop().await);

    let spans = collector.of_trace(TRACE);
    let call = one(&spans, |span| span.is("grpc.request", "rpc.method", "/taskplane.v1.TaskService/RunTask"), "calls");
    assert_eq!(call.parent, CALLER, "the caller's trace goes on");
    let accept = one(&spans, |span| span.is("store.write", "db.transaction", "task_accept"), "acceptances");
    assert_eq!(accept.parent, call.id);
    for fact in ["requested", "starting", "started", "succeeded"] {
        let event = one(&spans, |span| span.is("event.publish", "event.fact", fact), fact);
        assert_eq!(event.parent, call.id, "{fact}");
    }
    let dispatch = one(&spans, |span| span.name == "task.dispatch", "dispatches");
    assert_eq!((&dispatch.parent, dispatch.links.len()), (&call.id, 1), "and linked to the call that asked for work");
    let attempt = one(&spans, |span| span.name == "task.attempt", "attempts");
    assert_eq!(attempt.parent, dispatch.id);
    for part in ["run.make", "run.release", "run.follow"] {
        assert_eq!(one(&spans, |span| span.name == part, part).parent, attempt.id, "{part}");
    }
    for report in ["made", "started", "over"] {
        let reported = one(&spans, |span| span.is("task.report", "task.report", report), report);
        assert_eq!((&reported.parent, reported.links.len()), (&call.id, 1), "{report}");
        let written = spans.iter().filter(|span| span.parent == reported.id);
        assert_eq!(written.map(|span| span.name.as_str()).collect::<Vec<_>>(), ["store.write"], "{report}");
    }
    let services: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services, BTreeSet::from(["taskplane-standalone"]));
    let whole = format!("{spans:?}");
    assert!(!whole.contains("zzcanary"), "a command is in the trace");
    // Nothing hangs in the air: each span's parent was exported as well, or is the caller's.
    let known: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).chain([CALLER]).collect();
    for span in &spans {
        assert!(known.contains(span.parent.as_str()), "{span:?} has a parent that nobody told of");
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_disturbs_nobody() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let args = vec!["--otlp-endpoint".to_owned(), format!("http://{free}")];
    let mut server = Server::start_with(Options { args, ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    assert_eq!(client.output("echo done").await, "done\n");
    assert!(within(server.stop()).await);
}
