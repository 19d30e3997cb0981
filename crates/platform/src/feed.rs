//! The event feed as services use it: ring after a commit, listen for what to look at next.

use std::sync::Arc;

use futures::stream::BoxStream;
use taskplane_bus::{Bus, Ring, Topic};
use taskplane_runtime::worker::Doorbell;

/// Both ends of the doorbell. It promises little: what is heard says where to look, never what is so.
#[derive(Clone)]
pub struct Feed {
    bus: Arc<dyn Bus>,
    relay: Doorbell,
}

impl Feed {
    pub fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus, relay: Doorbell::default() }
    }

    /// Something was committed: have its events told.
    pub fn ring(&self) {
        self.relay.ring();
    }

    /// Finished Tasks were marked for removal: their executors may have something to do.
    pub fn removals(&self) {
        self.bus.removals();
    }

    /// Rings from now on. Listen before you look.
    pub fn listen(&self, topic: Topic) -> BoxStream<'static, Ring> {
        self.bus.subscribe(topic)
    }

    pub(crate) fn bus(&self) -> &dyn Bus {
        self.bus.as_ref()
    }

    pub(crate) fn doorbell(&self) -> &Doorbell {
        &self.relay
    }
}
