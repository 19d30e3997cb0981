//! The relay: takes committed events into the feed and onto the bus, in order for each thing they speak of.
//!
//! Every process runs one, for the events of all. An event gets its place in the feed only after its commit, under one row
//! lock, since rows become visible in another order than their ids say. On the bus each aggregate has at most one event
//! under way, and is marked only when the bus has taken it: several relays may repeat an event, but never reorder one Task.
//!
//! Where the bus keeps a stream, marks are about that one. A stream that is not the one that marks are about, since it was lost
//! and made again or came back with less in it, has all marks taken back before anything else is published; the bus refuses what
//! is meant for the one before. So a stream is filled again from the database, in order, beside what is new.
//!
//! A bus that is away holds nobody up: events get their places in the feed, and wait.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::Duration;

use futures::StreamExt as _;
use taskplane_bus::{Bus, BusError, Ring, Topic};
use taskplane_domain::event::{Event, StreamMark};
use taskplane_runtime::telemetry;
use taskplane_runtime::worker::{self, Pass, jittered};
use taskplane_store::{Heads, Store};
use tokio::sync::Mutex;
use tracing::{Instrument as _, Span, info_span};

use crate::Platform;

/// Events and aggregates that one pass takes on.
const BATCH: u32 = 500;
/// Publishes under way at once, each of another aggregate.
const PIPELINE: usize = 256;
/// Rings make it prompt; this finds what a process left behind that died between commit and ring.
const PERIOD: Duration = Duration::from_secs(5);
/// Between two attempts on a bus that is away, jittered.
const AWAY: Duration = Duration::from_secs(1);
/// Events that are remembered as told of, because they cannot be published.
const TOLD_OF: usize = 1000;

/// Runs until the process stops.
pub async fn relay(platform: Platform) {
    // A bus that comes back says that something was missed: there is something to do.
    let back = platform.bell("relay-bell", [Topic::nothing()], |ring| matches!(ring, Ring::Missed));
    let doorbell = platform.feed.doorbell().clone();
    let stop = platform.lifecycle.soft().clone();
    platform.lifecycle.spawn("relay-back", async move {
        while stop.run_until_cancelled(back.rung()).await.is_some() {
            doorbell.ring();
        }
    });
    let walk = Mutex::new(Walk::default());
    let (store, bus) = (&platform.store, platform.feed.bus());
    let pass = || async { walk.lock().await.pass(store, bus).await };
    worker::run("relay", &platform.lifecycle, platform.feed.doorbell(), PERIOD, pass).await;
}

/// Goes through what is unpublished from the oldest to the newest, again and again until nothing is left. So what cannot be
/// published holds back nothing but its own aggregate, however much of it there is.
#[derive(Debug, Default)]
struct Walk {
    /// Behind the last one it came by.
    after: i64,
    /// Whether it has published anything since it began.
    moved: bool,
    away: bool,
    told_of: HashSet<i64>,
}

impl Walk {
    async fn pass(&mut self, store: &Store, bus: &dyn Bus) -> anyhow::Result<Pass> {
        while store.feed_assign(BATCH).await? == u64::from(BATCH) {}
        let into = match stream(store, bus).await {
            Ok(into) => into,
            Err(Trouble::Away(error)) => return Ok(self.is_away(&error)),
            Err(Trouble::Other(error)) => return Err(error),
        };
        let Heads { events, corrupt, next } = store.outbox_heads(self.after, BATCH).await?;
        for (row, error) in corrupt {
            self.tell_of(row, &error);
        }
        let (taken, failure) = publish_all(bus, events, into.as_ref()).await;
        let counted = mark(store, &taken, into).await?;
        self.moved |= !taken.is_empty();
        for (row, error) in &taken.refused {
            self.tell_of(*row, error);
        }
        if let Some(error) = failure {
            self.start_over();
            return Ok(self.is_away(&error));
        }
        if std::mem::take(&mut self.away) {
            tracing::info!("events are published again");
        }
        match next {
            Some(next) if counted => {
                self.after = next;
                Ok(Pass::More)
            }
            // What follows the ones that went has come to the front meanwhile.
            _ if self.moved => {
                self.start_over();
                Ok(Pass::More)
            }
            _ => {
                self.start_over();
                Ok(Pass::Idle)
            }
        }
    }

    fn start_over(&mut self) {
        (self.after, self.moved) = (0, false);
    }

    /// Said once for each absence.
    fn is_away(&mut self, error: &BusError) -> Pass {
        let error = with_cause(error);
        if std::mem::replace(&mut self.away, true) {
            tracing::debug!(error, "events still wait for the bus");
        } else {
            tracing::warn!(error, "events wait in the database until the bus takes them");
        }
        Pass::IdleFor(jittered(AWAY))
    }

    /// Somebody has to look at it, once.
    fn tell_of(&mut self, row: i64, error: &dyn Display) {
        if self.told_of.len() >= TOLD_OF {
            self.told_of.clear();
        }
        if self.told_of.insert(row) {
            tracing::error!(event.row = row, %error, "an event cannot be published, and holds back what follows it");
        }
    }
}

enum Trouble {
    Away(BusError),
    Other(anyhow::Error),
}

/// The stream that events go into, once marks are about it.
async fn stream(store: &Store, bus: &dyn Bus) -> Result<Option<StreamMark>, Trouble> {
    let other = |error: taskplane_store::StoreError| Trouble::Other(error.into());
    // What is remembered is read first: what others publish meanwhile is no loss.
    let known = store.outbox_stream().await.map_err(other)?;
    let found = bus.stream(known.as_ref()).await.map_err(Trouble::Away)?;
    match (&known, &found) {
        (None, None) => {}
        (Some(_), None) => store.outbox_forget().await.map_err(other)?,
        (Some(known), Some(found)) if known.incarnation == found.incarnation => {}
        (known, Some(found)) => match store.outbox_refill(known.as_ref(), found).await.map_err(other)? {
            Some(events) if known.is_none() => {
                let stream = &found.incarnation;
                tracing::info!(stream, events, "the stream is new: it is filled from the database");
            }
            Some(events) => {
                let stream = &found.incarnation;
                tracing::warn!(stream, events, "the stream is another one than before: it is filled from the database");
            }
            None => {
                let error = "another relay is about to change the stream".into();
                return Err(Trouble::Away(BusError::Unavailable(error)));
            }
        },
    }
    Ok(found)
}

/// What became of a batch.
#[derive(Default)]
struct Taken {
    rows: Vec<i64>,
    /// How far the stream is filled with them.
    last: u64,
    refused: Vec<(i64, BusError)>,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Stops at the first sign that the bus is away.
async fn publish_all(bus: &dyn Bus, events: Vec<(i64, Event)>, into: Option<&StreamMark>) -> (Taken, Option<BusError>) {
    let mut taken = Taken::default();
    let mut answers = futures::stream::iter(events)
        .map(|(row, event)| async move { (row, bus.publish(&event, into).instrument(span(&event)).await) })
        .buffer_unordered(PIPELINE);
    while let Some((row, answer)) = answers.next().await {
        match answer {
            Ok(place) => {
                taken.rows.push(row);
                taken.last = taken.last.max(place);
            }
            Err(error @ BusError::Refused(_)) => taken.refused.push((row, error)),
            Err(error @ BusError::Unavailable(_)) => return (taken, Some(error)),
        }
    }
    (taken, None)
}

/// False: they were put into a stream that marks are no longer about.
async fn mark(store: &Store, taken: &Taken, into: Option<StreamMark>) -> anyhow::Result<bool> {
    let into = into.map(|into| StreamMark { last: into.last.max(taken.last), ..into });
    Ok(store.outbox_mark(&taken.rows, into.as_ref()).await?)
}

/// What went wrong, down to what the server said.
fn with_cause(error: &BusError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
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
