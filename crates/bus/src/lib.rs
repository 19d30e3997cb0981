//! Doorbells and the event feed: after a commit the new events are published, and whoever waits for such changes hears that it
//! is worth looking.
//!
//! The bus promises little. **A ring may be lost, repeated, late, or out of order**; the database is the truth, and whoever
//! hears a ring reads it. Losing every message costs latency only, because all loops also look on a period. What is promised:
//!
//! - A subscription is in force when [`Bus::subscribe`] returns. Listen first, then look, and nothing falls between.
//! - Publishing never waits for a subscriber. One that is too slow loses rings and is told so with [`Ring::Missed`].
//! - A bus that keeps events keeps them in the order they were published, and says when it has lost some ([`Bus::stream`]).
//!
//! Two keep these: [`InProcessBus`] for one process, which keeps nothing, and [`NatsBus`], which keeps a stream that others read.
//! `conformance` (a feature, for tests) holds what every implementation must show.

#[cfg(feature = "conformance")]
pub mod conformance;
mod fan_out;
mod in_process;
mod nats;
mod topic;

use std::sync::Arc;

use futures::stream::BoxStream;
use taskplane_domain::event::{Event, StreamMark};

pub use in_process::InProcessBus;
#[cfg(feature = "conformance")]
pub use nats::outside;
pub use nats::{NatsBus, NatsOptions, NatsTls, NatsTrouble};
pub use topic::Topic;

#[async_trait::async_trait]
pub trait Bus: Send + Sync + 'static {
    /// The stream that keeps what is published from now on; none: this bus keeps nothing. `known` is what its publishers
    /// remember of it. When that is another incarnation than the one that is answered, what was published before has to be
    /// published again: the stream was lost, or something in it.
    async fn stream(&self, known: Option<&StreamMark>) -> Result<Option<StreamMark>, BusError>;

    /// The event's place in the stream, which is the one meant by `into`: the event gets into no other incarnation. A repeat may
    /// be kept once. `Ok` says the bus has it, not that anybody heard it. After an error it may have been heard all the same.
    async fn publish(&self, event: &Event, into: Option<&StreamMark>) -> Result<u64, BusError>;

    /// Finished Tasks were marked for removal, of which no event tells. Nobody waits for it, and it is not kept.
    fn removals(&self);

    /// In force at once. The stream ends when the bus does; to unsubscribe, drop it.
    fn subscribe(&self, topic: Topic) -> BoxStream<'static, Ring>;
}

/// What a subscriber hears.
#[derive(Debug, Clone)]
pub enum Ring {
    /// A hint where to look.
    Event(Arc<Event>),
    /// There may be runs for executors to remove.
    Removals,
    /// Some rings were lost, perhaps none of this topic: look at everything.
    Missed,
}

impl Ring {
    /// Of the call that began it all, as the event brings it along.
    pub fn trace(&self) -> Option<&str> {
        match self {
            Self::Event(event) => event.trace.as_deref(),
            Self::Removals | Self::Missed => None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Worth another try.
    #[error("bus unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This event will never be taken; others may.
    #[error("the bus does not take this event")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl BusError {
    pub(crate) fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}
