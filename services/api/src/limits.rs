//! Overload is refused before anything is done about it.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use taskplane_domain::Name;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::args::ApiArgs;
use crate::error::ApiError;

/// Source archives on their way in at once: each has a thread of its own for as long as it takes.
const UPLOADS: usize = 16;

pub(crate) struct Limits {
    run_task: DefaultKeyedRateLimiter<Name>,
    clock: DefaultClock,
    uploads: Arc<Semaphore>,
}

impl Limits {
    pub fn new(args: &ApiArgs) -> Self {
        let quota = Quota::per_second(args.run_task_rate).allow_burst(args.run_task_burst);
        Self {
            run_task: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
        }
    }

    /// Lets one more Task of `space` through, or says when to come again.
    pub fn run_task(&self, space: &Name) -> Result<(), ApiError> {
        self.run_task.check_key(space).map_err(|not_yet| {
            let wait = not_yet.wait_time_from(self.clock.now()).max(Duration::from_millis(10));
            ApiError::TooManyRequests(format!("spaces/{space}"), wait)
        })
    }

    /// Room for one more upload, until it is dropped.
    pub fn upload(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| ApiError::TooManyUploads)
    }
}
