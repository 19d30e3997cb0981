//! The one place that reads the time and makes identities up.
#![expect(clippy::disallowed_methods, reason = "this is where time and chance come from")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// The time, to the microsecond, which is what every database keeps. Clones of a manual clock share it.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    /// The system's, this many microseconds ahead: 0 but in tests of what time does to a whole process.
    System(i64),
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn system() -> Self {
        Self(Source::System(0))
    }

    /// The system's time, `micros` ahead of it.
    pub fn ahead(micros: i64) -> Self {
        Self(Source::System(micros))
    }

    /// Stands still until it is moved.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.as_microsecond()))))
    }

    pub fn now(&self) -> Timestamp {
        let micros = match &self.0 {
            Source::System(ahead) => Timestamp::now().as_microsecond() + ahead,
            Source::Manual(micros) => micros.load(Ordering::SeqCst),
        };
        Timestamp::from_microsecond(micros).unwrap_or_default()
    }

    /// Moves a manual clock; the system's goes its own way.
    pub fn advance(&self, by: SignedDuration) {
        if let Source::Manual(micros) = &self.0 {
            micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(0), Ordering::SeqCst);
        }
    }

    /// A new identity; later ones sort behind earlier ones.
    pub fn new_uid(&self) -> Uuid {
        Uuid::now_v7()
    }
}
