//! The runs in hand.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use taskplane_domain::run::RunKey;
use taskplane_domain::uid::Fence;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// One run in hand, from the moment it is handed out until its end is told and it is forgotten.
pub(crate) struct Run {
    pub key: RunKey,
    pub fence: Fence,
    /// Rings when there is something to look at.
    pub bell: Notify,
    /// Set once it is to end: the grace it was told to give, or the backend's own.
    cancelling: Mutex<Option<Option<Duration>>>,
    /// True once its log is complete in the archive.
    pub sealed: watch::Sender<bool>,
    /// It is another executor's: nothing more is done about it here.
    pub gone: CancellationToken,
}

impl Run {
    pub fn cancel(&self, grace: Option<Duration>) {
        *self.cancelling.lock().unwrap_or_else(PoisonError::into_inner) = Some(grace);
        self.bell.notify_one();
    }

    pub fn let_go(&self) {
        self.gone.cancel();
    }

    /// With which grace it is to end, if it is.
    pub fn cancelling(&self) -> Option<Option<Duration>> {
        *self.cancelling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
pub(crate) struct Registry {
    runs: Mutex<HashMap<RunKey, Arc<Run>>>,
    /// Over and told, but not yet archived, removed and told so.
    leaving: Mutex<HashSet<RunKey>>,
    /// Rings when a run is forgotten.
    freed: Notify,
}

impl Registry {
    /// Takes a run in hand. None: it is in hand already.
    pub fn take(&self, key: RunKey, fence: Fence) -> Option<Arc<Run>> {
        let mut runs = self.lock();
        if runs.contains_key(&key) {
            return None;
        }
        let run = Run {
            key,
            fence,
            bell: Notify::new(),
            cancelling: Mutex::default(),
            sealed: watch::Sender::new(false),
            gone: CancellationToken::new(),
        };
        let run = Arc::new(run);
        runs.insert(key, Arc::clone(&run));
        Some(run)
    }

    /// From now on somebody sees to it that nothing is left of it. False: somebody does already.
    pub fn leave(&self, key: RunKey) -> bool {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).insert(key)
    }

    pub fn left(&self, key: &RunKey) {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    pub fn leaving(&self) -> Vec<RunKey> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    pub fn forget(&self, key: &RunKey) {
        self.lock().remove(key);
        self.freed.notify_waiters();
    }

    pub fn find(&self, key: &RunKey) -> Option<Arc<Run>> {
        self.lock().get(key).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Run>> {
        self.lock().values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns when the number of runs in hand is below `count`.
    pub async fn below(&self, count: usize) {
        loop {
            // Listen before looking.
            let freed = self.freed.notified();
            if self.len() < count {
                return;
            }
            freed.await;
        }
    }

    pub async fn empty(&self) {
        self.below(1).await;
    }

    /// No code runs while the lock is held that could leave the map half-changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<RunKey, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
