//! A bus for services that share one process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use taskplane_domain::event::Event;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::{Bus, BusError, Ring, Topic};

/// Beyond the promises of [`Bus`], events of one publisher arrive in its order. Each subscriber may lag behind by `capacity`
/// events, of whatever topic, before it loses any.
#[derive(Debug, Clone)]
pub struct InProcessBus {
    events: broadcast::Sender<Arc<Event>>,
}

impl InProcessBus {
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { events: broadcast::Sender::new(capacity.get()) }
    }
}

#[async_trait]
impl Bus for InProcessBus {
    async fn publish(&self, event: &Event) -> Result<(), BusError> {
        // An error says that nobody listens.
        let _ = self.events.send(Arc::new(event.clone()));
        Ok(())
    }

    fn subscribe(&self, topic: Topic) -> BoxStream<'static, Ring> {
        BroadcastStream::new(self.events.subscribe())
            .filter_map(move |received| {
                std::future::ready(match received {
                    Ok(event) => topic.matches(&event).then_some(Ring::Event(event)),
                    Err(BroadcastStreamRecvError::Lagged(_)) => Some(Ring::Missed),
                })
            })
            .boxed()
    }
}
