//! Rings within one process: one that tells, any number that listen, and nobody is waited for.

use std::num::NonZeroUsize;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::{Ring, Topic};

/// Clones are the same; with the last one all subscriptions end.
#[derive(Debug, Clone)]
pub(crate) struct FanOut(broadcast::Sender<Ring>);

impl FanOut {
    /// Each subscriber may lag behind by `capacity` rings, of whatever topic, before it loses any.
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self(broadcast::Sender::new(capacity.get()))
    }

    pub(crate) fn tell(&self, ring: Ring) {
        // An error says that nobody listens.
        let _ = self.0.send(ring);
    }

    pub(crate) fn subscribe(&self, topic: Topic) -> BoxStream<'static, Ring> {
        BroadcastStream::new(self.0.subscribe())
            .filter_map(move |received| {
                std::future::ready(match received {
                    Ok(ring) => topic.hears(&ring).then_some(ring),
                    Err(BroadcastStreamRecvError::Lagged(_)) => Some(Ring::Missed),
                })
            })
            .boxed()
    }
}
