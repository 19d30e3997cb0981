//! A bus for services that share one process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use taskplane_domain::event::{Event, StreamMark};

use crate::fan_out::FanOut;
use crate::{Bus, BusError, Ring, Topic};

/// Beyond the promises of [`Bus`], events of one publisher arrive in its order. Each subscriber may lag behind by `capacity`
/// events, of whatever topic, before it loses any. It keeps nothing.
#[derive(Debug, Clone)]
pub struct InProcessBus {
    rings: FanOut,
}

impl InProcessBus {
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { rings: FanOut::new(capacity) }
    }
}

#[async_trait]
impl Bus for InProcessBus {
    async fn stream(&self, _: Option<&StreamMark>) -> Result<Option<StreamMark>, BusError> {
        Ok(None)
    }

    async fn publish(&self, event: &Event, _: Option<&StreamMark>) -> Result<u64, BusError> {
        self.rings.tell(Ring::Event(Arc::new(event.clone())));
        Ok(0)
    }

    fn removals(&self) {
        self.rings.tell(Ring::Removals);
    }

    fn subscribe(&self, topic: Topic) -> BoxStream<'static, Ring> {
        self.rings.subscribe(topic)
    }
}
