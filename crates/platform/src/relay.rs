//! The relay: takes committed events into the feed and onto the bus, in order for each thing they speak of.
//!
//! Every process runs one, for the events of all. An event gets its place in the feed only after its commit, under one row
//! lock, since rows become visible in another order than their ids say. On the bus each aggregate has at most one event
//! under way, and is marked only when the bus has taken it: several relays may repeat an event, but never reorder one Task.

use std::time::Duration;

use futures::StreamExt as _;
use taskplane_domain::event::Event;
use taskplane_runtime::telemetry;
use taskplane_runtime::worker::{self, Pass};
use tracing::{Instrument as _, Span, info_span};

use crate::Platform;

/// Events and aggregates that one pass takes on.
const BATCH: u32 = 500;
/// Publishes under way at once, each of another aggregate.
const PIPELINE: usize = 64;
/// Rings make it prompt; this finds what a process left behind that died between commit and ring.
const PERIOD: Duration = Duration::from_secs(5);

/// Runs until the process stops.
pub async fn relay(platform: Platform) {
    worker::run("relay", &platform.lifecycle, platform.feed.doorbell(), PERIOD, || pass(&platform)).await;
}

async fn pass(platform: &Platform) -> anyhow::Result<Pass> {
    while platform.store.feed_assign(BATCH).await? == u64::from(BATCH) {}
    let heads = platform.store.outbox_heads(BATCH).await?;
    if heads.is_empty() {
        return Ok(Pass::Idle);
    }
    let bus = platform.feed.bus();
    let taken: Vec<_> = futures::stream::iter(heads)
        .map(|(row, event)| async move { (row, bus.publish(&event).instrument(span(&event)).await) })
        .buffer_unordered(PIPELINE)
        .collect()
        .await;
    let rows: Vec<i64> = taken.iter().filter(|(_, result)| result.is_ok()).map(|(row, _)| *row).collect();
    platform.store.outbox_mark(&rows).await?;
    match taken.into_iter().find_map(|(_, result)| result.err()) {
        Some(error) => Err(error.into()),
        None => Ok(Pass::More),
    }
}

/// A part of the trace of the call that began it all; what no call began is not traced.
fn span(event: &Event) -> Span {
    let Some(trace) = &event.trace else { return Span::none() };
    let (fact, sequence) = (event.fact.as_str(), event.sequence);
    let span = info_span!(parent: None, "event.publish", event.fact = fact, event.sequence = sequence, event.subject = %event.subject);
    telemetry::continue_from(&span, trace);
    span
}
