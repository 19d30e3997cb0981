//! Whether a process is fit to serve: its parts say by when they will be heard of again, and one that is not is seen.
//!
//! Readiness asks this. Liveness does not: a process whose database is away is not mended by starting it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a part may be at one thing, beyond what it said, before it counts as stalled. A relay whose bus hangs finds out in
/// less: that makes nobody unready.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// The pulses of a process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Vitals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    parts: Mutex<Parts>,
    /// A part came up, or came back, or the process is to go.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Parts {
    leaving: bool,
    last: u64,
    parts: BTreeMap<u64, Part>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    /// None: it was not heard of yet.
    due: Option<Instant>,
}

/// One part's sign of life. It counts until it is dropped.
#[derive(Debug)]
pub struct Pulse {
    id: u64,
    vitals: Vitals,
}

impl Vitals {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fit once it has been heard of, and as long as it keeps its word.
    pub fn pulse(&self, name: &'static str) -> Pulse {
        let mut parts = self.parts();
        parts.last += 1;
        let id = parts.last;
        parts.parts.insert(id, Part { name, due: None });
        Pulse { id, vitals: self.clone() }
    }

    /// The process was asked to stop: from now on it is not ready.
    pub fn leave(&self) {
        self.parts().leaving = true;
        self.0.changed.notify_waiters();
    }

    /// Returns when a part comes up or comes back. That one falls silent is found by looking.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Returns once all is well.
    pub async fn well(&self) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.ailing().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// What is not as it should be, each once. A process in which nothing has begun is not fit either.
    pub fn ailing(&self) -> Vec<String> {
        let (now, parts) = (Instant::now(), self.parts());
        if parts.leaving {
            return vec!["asked to stop".to_owned()];
        }
        if parts.parts.is_empty() {
            return vec!["nothing has started yet".to_owned()];
        }
        let ails = |part: &Part| match part.due {
            None => Some(format!("{} has not come up yet", part.name)),
            Some(due) if due < now => Some(format!("{} has not been heard of in time", part.name)),
            Some(_) => None,
        };
        let mut ailing: Vec<String> = parts.parts.values().filter_map(ails).collect();
        ailing.dedup();
        ailing
    }
}

impl Pulse {
    /// I am well, and will be heard of again within this time.
    pub fn within(&self, time: Duration) {
        let now = Instant::now();
        let until = now.checked_add(time).unwrap_or(now);
        let before = self.vitals.parts().parts.get_mut(&self.id).and_then(|part| part.due.replace(until));
        if before.is_none_or(|before| before < now) {
            self.vitals.0.changed.notify_waiters();
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.vitals.parts().parts.remove(&self.id);
        self.vitals.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_is_fit_from_its_first_word_until_it_breaks_it() {
        let vitals = Vitals::default();
        assert_eq!(vitals.ailing(), ["nothing has started yet"]);
        let pulse = vitals.pulse("relay");
        assert_eq!(vitals.ailing(), ["relay has not come up yet"]);
        pulse.within(Duration::from_secs(10));
        assert!(vitals.ailing().is_empty());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(vitals.ailing().is_empty());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(vitals.ailing(), ["relay has not been heard of in time"]);
        pulse.within(Duration::from_secs(10));
        assert!(vitals.ailing().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_has_ended_is_not_waited_for() {
        let vitals = Vitals::default();
        let (stays, ends) = (vitals.pulse("relay"), vitals.pulse("beat"));
        stays.within(Duration::from_secs(100));
        drop(ends);
        assert!(vitals.ailing().is_empty());
        vitals.leave();
        assert_eq!(vitals.ailing(), ["asked to stop"]);
    }
}
