//! What a control-plane service stands on: the store, the event feed, the clock, and the process it lives in.
//!
//! An executor has no part in this: it reaches neither store nor bus, and stands on `taskplane-runtime` alone.

mod bus;
mod database;
mod feed;
mod measure;
mod nats;
pub mod process;
mod relay;

pub use bus::BusArgs;
pub use database::database;
pub use feed::Feed;
pub use measure::{measure, serve_measures};
pub use nats::NatsArgs;
pub use process::{Control, ControlArgs, DeadlineArgs};
pub use relay::relay;

use futures::StreamExt as _;
use futures::stream::select_all;
use taskplane_bus::{Ring, Topic};
use taskplane_runtime::worker::Doorbell;
use taskplane_runtime::{Clock, Lifecycle};
use taskplane_store::Store;

/// Handed to every control-plane service.
#[derive(Clone)]
pub struct Platform {
    pub clock: Clock,
    pub store: Store,
    pub feed: Feed,
    pub lifecycle: Lifecycle,
}

impl Platform {
    /// A doorbell for the worker `name`, rung for each ring of `topics` that `wanted` lets through. In force at once.
    pub fn bell(
        &self,
        name: &'static str,
        topics: impl IntoIterator<Item = Topic>,
        wanted: impl Fn(&Ring) -> bool + Send + 'static,
    ) -> Doorbell {
        let doorbell = Doorbell::default();
        let mut rings = select_all(topics.into_iter().map(|topic| self.feed.listen(topic)));
        let (bell, stop) = (doorbell.clone(), self.lifecycle.soft().clone());
        self.lifecycle.spawn(name, async move {
            loop {
                let ring = tokio::select! {
                    () = stop.cancelled() => return,
                    ring = rings.next() => ring,
                };
                match ring {
                    Some(ring) if wanted(&ring) => match ring.trace() {
                        Some(trace) => bell.ring_for(trace),
                        None => bell.ring(),
                    },
                    Some(_) => {}
                    None => return,
                }
            }
        });
        doorbell
    }
}
