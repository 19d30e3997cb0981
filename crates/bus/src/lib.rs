//! Doorbells: after a commit the new events are published, and whoever waits for such changes hears that it is worth looking.
//!
//! The bus promises little. **A ring may be lost, repeated, late, or out of order**; the database is the truth, and whoever
//! hears a ring reads it. Losing every message costs latency only, because all loops also look on a period. What is promised:
//!
//! - A subscription is in force when [`Bus::subscribe`] returns. Listen first, then look, and nothing falls between.
//! - Publishing never waits for a subscriber. One that is too slow loses rings and is told so with [`Ring::Missed`].
//!
//! `conformance` (a feature, for tests) holds what every implementation must show.

#[cfg(feature = "conformance")]
pub mod conformance;
mod in_process;
mod topic;

use std::sync::Arc;

use futures::stream::BoxStream;
use taskplane_domain::event::Event;

pub use in_process::InProcessBus;
pub use topic::Topic;

#[async_trait::async_trait]
pub trait Bus: Send + Sync + 'static {
    /// `Ok` says the bus has it, not that anybody heard it. After an error it may have been heard all the same.
    async fn publish(&self, event: &Event) -> Result<(), BusError>;

    /// In force at once. The stream ends when the bus does; to unsubscribe, drop it.
    fn subscribe(&self, topic: Topic) -> BoxStream<'static, Ring>;
}

/// What a subscriber hears.
#[derive(Debug, Clone)]
pub enum Ring {
    /// A hint where to look.
    Event(Arc<Event>),
    /// Some rings were lost, perhaps none of this topic: look at everything.
    Missed,
}

#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Worth another try.
    #[error("bus unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
