//! Jobs: a Task that runs again and again, on schedules or when asked, and the ledger of what became of each time.

mod change;
mod ledger;
mod plan;
mod template;
mod tick;

use jiff::Timestamp;

pub use change::{Deleting, JobChange, JobWrite, ScheduleChange};
pub use ledger::{JobRun, NominalTick, RunOutcome};
pub use plan::{Plan, Starting};
pub use template::{RunJob, TaskTemplate};
pub use tick::{DueJob, RunRefused, decide, run_now};

use crate::invalid::Invalid;
use crate::name::{AppName, JobName, ScheduleName};
use crate::uid::{AppUid, JobUid, ScheduleUid, SpaceUid};

/// Longest note on a pause.
const NOTE_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub uid: JobUid,
    pub space_uid: SpaceUid,
    pub app_uid: AppUid,
    pub name: JobName,
    pub app: AppName,
    pub template: TaskTemplate,
    pub policy: ConcurrencyPolicy,
    pub state: JobState,
    /// Grows with each change that somebody asked for; what its etag shows.
    pub version: u64,
    /// Counts its events, those of its ticks too.
    pub sequence: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Whether ticks fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    Active,
    Paused {
        note: String,
    },
    /// For good: its Tasks are being ended, each within this grace, and cleared away.
    Deleting {
        grace: std::time::Duration,
    },
}

/// What a tick does that finds Tasks of its Job still live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConcurrencyPolicy {
    Always,
    Forbid,
    Replace,
}

/// One of a Job's schedules: when it fires, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub uid: ScheduleUid,
    pub job_uid: JobUid,
    pub name: ScheduleName,
    pub plan: Plan,
    pub suspended: bool,
    /// Nothing at or before this fires any more: it was decided, or came before the schedule was as it is.
    pub mark: Timestamp,
    /// When it fires next; none while it is suspended, and when it never does.
    pub next: Option<Timestamp>,
    pub last_tick: Option<Timestamp>,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A tick that is due, and that waits until there is room for its Task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldTick {
    pub tick: Timestamp,
    /// When it is looked at again.
    pub retry_at: Timestamp,
}

impl Schedule {
    /// The tick that was due and could not be decided: its mark stays behind it, and the next look is put off.
    pub fn held(&self, job: &Job, now: Timestamp) -> Option<HeldTick> {
        let retry_at = self.next.filter(|next| *next > now && job.state.fires() && !self.suspended)?;
        let due = self.plan.recurrence.latest_due(self.mark, now)?;
        Some(HeldTick { tick: due.tick, retry_at })
    }
}

impl ConcurrencyPolicy {
    pub const ALL: [Self; 3] = [Self::Always, Self::Forbid, Self::Replace];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "ALWAYS",
            Self::Forbid => "FORBID",
            Self::Replace => "REPLACE",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }
}

impl JobState {
    /// Checks why somebody pauses.
    pub fn paused(note: String) -> Result<Self, Invalid> {
        if note.chars().count() > NOTE_MAX || note.chars().any(char::is_control) {
            return Err(Invalid::one("note", format!("must be one line of at most {NOTE_MAX} characters")));
        }
        Ok(Self::Paused { note })
    }

    pub fn fires(&self) -> bool {
        matches!(self, Self::Active)
    }
}
