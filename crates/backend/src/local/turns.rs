//! One at a time per run, for what makes and removes runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use taskplane_domain::run::RunKey;
use tokio::sync::OwnedMutexGuard;

#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<RunKey, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(super) async fn take(&self, key: RunKey) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(key).or_default().clone()
        };
        turn.lock_owned().await
    }
}
