//! The ledger: what became of each nominal time, and of each run that was asked for. It outlives the Tasks.

use jiff::Timestamp;

use crate::name::{JobName, Name, TaskName};
use crate::uid::{ScheduleUid, TaskUid};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    pub job: JobName,
    /// Counts with the Job's events, so it is unique per Job and in order.
    pub id: u64,
    /// None for a run that was asked for.
    pub tick: Option<NominalTick>,
    pub outcome: RunOutcome,
    /// Older ticks of the schedule that had fallen due and were passed over in favour of this one.
    pub missed: u64,
    pub at: Timestamp,
}

/// One time of one schedule. There is at most one ledger entry for it, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NominalTick {
    pub schedule_uid: ScheduleUid,
    pub schedule: Name,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    Started {
        uid: TaskUid,
        task: TaskName,
    },
    /// Tasks of the Job were live, and its policy is to skip.
    SkippedOverlap {
        live: usize,
    },
    /// Another schedule of the Job fired at the same moment, and its policy is to replace.
    Superseded {
        by: Name,
    },
    /// Its starting deadline was over.
    Missed {
        late_seconds: u64,
    },
    /// No Task can be made of it.
    Refused {
        why: String,
    },
    /// One that came back from where it was kept as its name and its sentence.
    Told {
        name: &'static str,
        message: String,
    },
}

impl RunOutcome {
    /// What is kept of every outcome but `Started`.
    pub fn stored(name: &str, message: String) -> Option<Self> {
        let known = ["SKIPPED_OVERLAP", "SUPERSEDED", "MISSED", "REFUSED"];
        known.into_iter().find(|known| *known == name).map(|name| Self::Told { name, message })
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Started { .. } => "STARTED",
            Self::SkippedOverlap { .. } => "SKIPPED_OVERLAP",
            Self::Superseded { .. } => "SUPERSEDED",
            Self::Missed { .. } => "MISSED",
            Self::Refused { .. } => "REFUSED",
            Self::Told { name, .. } => name,
        }
    }

    /// One sentence for a person.
    pub fn message(&self) -> String {
        match self {
            Self::Started { task, .. } => format!("Task {} was made", task.id),
            Self::SkippedOverlap { live: 1 } => "a Task of the Job was still live".to_owned(),
            Self::SkippedOverlap { live } => format!("{live} Tasks of the Job were still live"),
            Self::Superseded { by } => format!("schedule {by} fired at the same moment"),
            Self::Missed { late_seconds } => format!("its starting deadline was over: {late_seconds} s late"),
            Self::Refused { why } => why.clone(),
            Self::Told { message, .. } => message.clone(),
        }
    }
}
