//! What a control-plane service stands on: the store, the event feed, the clock, and the process it lives in.
//!
//! An executor has no part in this: it reaches neither store nor bus, and stands on `taskplane-runtime` alone.

mod feed;
mod relay;

pub use feed::Feed;
pub use relay::relay;

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
