//! One trace over all processes, as each of them exports its part.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use taskplane_proto::v1::{self as pb, TaskState};
use taskplane_testkit::nats::Nats;
use tonic::Request;

use crate::collector::{Collector, Told, one};
use crate::kit::System;
use crate::server::until;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[tokio::test]
async fn one_trace_runs_through_all_processes() {
    let collector = Collector::default();
    let export = vec!["--otlp-endpoint".to_owned(), collector.serve().await];
    let mut system = System::prepare().await;
    (system.extra.control, system.extra.executor) = (export.clone(), export);
    system.launch(&["api-1", "scheduler-1", "executor-1"]).await;
    let client = system.client("api-1");
    client.app(&[("a", "")]).await;
    let run = client.tasks.clone().run_task(traced()).await.unwrap().into_inner();
    assert_eq!(client.over(&run.name).await.state(), TaskState::Succeeded);
    // Each exports the rest of its part when it ends; what the relays have told of by then comes by itself before.
    until(|| {
        let spans = collector.of_trace(TRACE);
        spans.iter().any(|span| span.is("event.publish", "event.fact", "succeeded")).then_some(())
    })
    .await;
    for name in ["executor-1", "scheduler-1", "api-1"] {
        system.process(name).signal(Signal::SIGTERM);
        assert!(system.process(name).ended().await.success(), "{name}");
    }

    let spans = collector.of_trace(TRACE);
    let call = one(&spans, |span| span.is("grpc.request", "rpc.method", "/taskplane.v1.TaskService/RunTask"), "calls");
    assert_eq!((call.service.as_str(), call.parent.as_str()), ("taskplane-api", CALLER));
    let accept = one(&spans, |span| span.is("store.write", "db.transaction", "task_accept"), "acceptances");
    assert_eq!((accept.service.as_str(), &accept.parent), ("taskplane-api", &call.id));
    let dispatch = one(&spans, |span| span.name == "task.dispatch", "dispatches");
    assert_eq!((dispatch.service.as_str(), &dispatch.parent, dispatch.links.len()), ("taskplane-api", &call.id, 1));
    let attempt = one(&spans, |span| span.name == "task.attempt", "attempts");
    assert_eq!((attempt.service.as_str(), &attempt.parent), ("taskplane-executor", &dispatch.id));
    let follow = one(&spans, |span| span.name == "run.follow", "runs");
    assert_eq!((follow.service.as_str(), &follow.parent), ("taskplane-executor", &attempt.id));
    // Any process may tell of an event, and it may be told twice, but never of another trace.
    for fact in ["requested", "starting", "started", "succeeded"] {
        let told: Vec<_> = spans.iter().filter(|span| span.is("event.publish", "event.fact", fact)).collect();
        assert!(!told.is_empty() && told.iter().all(|span| span.parent == call.id), "{fact}: {told:?}");
    }
    let services: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
    assert!(services.is_superset(&BTreeSet::from(["taskplane-api", "taskplane-executor"])), "{services:?}");
}

#[tokio::test]
async fn whoever_is_rung_by_an_event_is_linked_with_the_trace_that_it_came_from() {
    let nats = Nats::start().unwrap();
    let collector = Collector::default();
    let export = vec!["--otlp-endpoint".to_owned(), collector.serve().await];
    let mut system = System::prepare().await;
    system.extra.executor = export.clone();
    system.extra.control = [export, vec!["--nats-url".to_owned(), nats.url()]].concat();
    // Nobody looks without being rung.
    system.extra.env = vec![("TASKPLANE_SWEEPS", "off".to_owned())];
    system.launch(&["api-1", "api-2", "reaper-1"]).await;
    for name in ["api-1", "api-2", "reaper-1"] {
        until(|| system.process(name).log().contains("connected to NATS").then_some(())).await;
    }
    let (client, rung) = (system.client("api-1"), system.path("api-2.internal"));
    // The executor waits at the api that is told by the bus alone.
    std::fs::copy(rung, system.path("api-1.internal")).unwrap();
    system.launch(&["executor-1"]).await;
    client.app(&[("a", "")]).await;
    let run = client.tasks.clone().run_task(traced()).await.unwrap().into_inner();
    assert_eq!(client.over(&run.name).await.state(), TaskState::Succeeded);
    let beside = |service: &str, wanted: &dyn Fn(&Told) -> bool| {
        let spans = collector.spans();
        spans
            .iter()
            .any(|span| span.service == service && span.links.iter().any(|trace| trace == TRACE) && wanted(span))
    };
    let acquires =
        |span: &Told| span.is("grpc.request", "rpc.method", "/taskplane.internal.v1.ExecutorControl/AcquireWork");
    let retention = |span: &Told| span.is("worker.pass", "worker", "retention");
    until(|| (beside("taskplane-api", &acquires) && beside("taskplane-reaper", &retention)).then_some(())).await;
}

/// A Task of a call that is a part of a trace.
fn traced() -> Request<pb::RunTaskRequest> {
    let task = pb::RunTaskRequest { parent: "spaces/s/apps/a".into(), command: "true".into(), ..Default::default() };
    let mut request = Request::new(task);
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    request
}
