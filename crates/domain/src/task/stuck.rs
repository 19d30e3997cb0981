//! Deadlines: what is late is helped along, and what cannot be helped is called stuck, so that nothing waits for ever unseen.
//!
//! ```text
//!  STARTING    made ── start deadline ──▶ its end is asked for ─ ─ 60 s ─▶ stuck
//!  RUNNING     started ── timeout + grace ─ ─ 60 s ─▶ stuck          (without a timeout: never)
//!  CANCELLING  asked ── grace + 15 s ──▶ by force ── 60 s ──▶ stuck
//! ```
//!
//! A PENDING Task has no deadline: it has nothing that could be stuck, and `ExplainTask` says what it waits for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::task::{Task, TaskState};

/// After its grace a Task has this long to be gone before the order is given again, by force.
pub const FORCE_AFTER: Duration = Duration::from_secs(15);
/// What has not happened so long after its deadline is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What the deadlines are counted with, where a Task says nothing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// What executors give between the gentle and the forced end.
    pub grace: Duration,
    /// From a run's making to its command's start.
    pub start: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30), start: Duration::from_secs(3600) }
    }
}

/// Past its deadline, and nothing more that the control plane can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    pub since: Timestamp,
    pub reason: StuckReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StuckReason {
    /// STARTING, and nobody gave it up.
    NotStarted,
    /// RUNNING beyond its timeout.
    OverTime,
    /// CANCELLING, and its end is not confirmed.
    NotEnding,
}

impl StuckReason {
    pub const ALL: [Self; 3] = [Self::NotStarted, Self::OverTime, Self::NotEnding];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::OverTime => "OVER_TIME",
            Self::NotEnding => "NOT_ENDING",
        }
    }

    /// For a person.
    pub fn message(self) -> &'static str {
        match self {
            Self::NotStarted => "its run was made, and its command has not started within the start deadline",
            Self::OverTime => "it runs beyond its timeout, and its executor has not ended it",
            Self::NotEnding => {
                "its end was ordered, also by force, and nobody confirmed it: something of it may still be running"
            }
        }
    }
}

fn after(from: Timestamp, waits: impl IntoIterator<Item = Duration>) -> Timestamp {
    let whole = waits.into_iter().fold(Duration::ZERO, Duration::saturating_add);
    let whole = SignedDuration::try_from(whole).unwrap_or(SignedDuration::MAX);
    from.checked_add(whole).unwrap_or(Timestamp::MAX)
}

impl Task {
    /// When it must have left STARTING. None: it is in another state.
    pub fn start_by(&self, deadlines: &Deadlines) -> Option<Timestamp> {
        match self.state {
            TaskState::Starting { made_at, .. } => Some(after(made_at, [deadlines.start])),
            _ => None,
        }
    }

    /// When its end is forced, unless it is gone by then. None: it is not CANCELLING, or that was done.
    pub fn force_at(&self, deadlines: &Deadlines) -> Option<Timestamp> {
        match self.state {
            TaskState::Cancelling { since, grace, forced_at: None, .. } => {
                Some(after(since, [grace.unwrap_or(deadlines.grace), FORCE_AFTER]))
            }
            _ => None,
        }
    }

    /// From when on it is stuck, if it stays as it is, and why. None: it may stay as it is.
    pub fn stuck_at(&self, deadlines: &Deadlines) -> Option<Stuck> {
        let (late, reason) = match self.state {
            TaskState::Pending { .. } | TaskState::Finished { .. } => return None,
            TaskState::Starting { made_at, .. } => (after(made_at, [deadlines.start]), StuckReason::NotStarted),
            TaskState::Running { started_at, .. } => {
                (after(started_at, [self.spec.timeout?, deadlines.grace]), StuckReason::OverTime)
            }
            TaskState::Cancelling { since, grace, forced_at, .. } => {
                let due = after(since, [grace.unwrap_or(deadlines.grace), FORCE_AFTER]);
                (forced_at.unwrap_or(due), StuckReason::NotEnding)
            }
        };
        Some(Stuck { since: after(late, [STUCK_AFTER]), reason })
    }

    pub fn stuck(&self, now: Timestamp, deadlines: &Deadlines) -> Option<Stuck> {
        self.stuck_at(deadlines).filter(|stuck| stuck.since <= now)
    }
}
