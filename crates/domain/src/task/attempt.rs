//! Attempts: each time a Task's command was made ready to run.

use jiff::Timestamp;

use crate::task::{Outcome, Task, TaskState};
use crate::uid::RunUid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub number: u32,
    /// None when no run could be made.
    pub run: Option<RunUid>,
    pub made_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    /// None while it lasts.
    pub end: Option<(Timestamp, Outcome)>,
}

impl Task {
    /// The attempt that has begun and is not over; the ones before it are kept apart, as they ended.
    pub fn present_attempt(&self) -> Option<Attempt> {
        let (run, made_at, started_at) = match &self.state {
            TaskState::Pending { .. } | TaskState::Finished { .. } => return None,
            TaskState::Starting { run, made_at, .. } => (run, made_at, None),
            TaskState::Running { run, made_at, started_at } => (run, made_at, Some(*started_at)),
            TaskState::Cancelling { run, made_at, started_at, .. } => (run, made_at, *started_at),
        };
        Some(Attempt { number: self.attempt, run: Some(run.clone()), made_at: Some(*made_at), started_at, end: None })
    }
}
