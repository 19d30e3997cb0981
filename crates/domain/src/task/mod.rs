//! Tasks: one run of a command on an App, from acceptance to its one end.
//!
//! ```text
//!            made           started          ended
//!  PENDING ───────▶ STARTING ───────▶ RUNNING ───────▶ SUCCEEDED | FAILED
//!     ▲ │              │ │               │ │
//!     │ │cancel        │ │cancel         │ │cancel
//!     │ ▼              │ ▼               │ ▼
//!     │ CANCELLED ◀────┼─CANCELLING◀─────┼─┘     ended, gone ──▶ CANCELLED (or as it ended by itself before)
//!     └────────────────┴─────────────────┘
//!       requeued (never started), attempt-failed (retryable, attempts left)
//! ```

mod attempt;
mod cancel;
mod condition;
mod create;
mod explain;
mod reason;
mod retry;
mod stuck;
mod ticket;
mod transition;
mod waiting;

use std::time::Duration;

use jiff::Timestamp;

pub use attempt::Attempt;
pub use cancel::{CancelCause, CancelTask};
pub use condition::{CONDITION_MESSAGE_MAX, CONDITIONS_MAX, Condition, ConditionStatus};
pub use create::{Birth, Override, RunTask};
pub use explain::{Cause, Circumstances, Explanation, Holder};
pub use reason::{Class, Reason};
pub use retry::RetryPolicy;
pub use stuck::{Deadlines, FORCE_AFTER, STUCK_AFTER, Stuck, StuckReason};
pub use ticket::{Claim, Guard, Refusal, Ticket};
pub use transition::{InvalidTransition, Transition};
pub use waiting::{WAIT_MESSAGE_MAX, Wait, WaitReason, Waiting, one_line};

use crate::app::Command;
use crate::env::TaskEnv;
use crate::label::Labels;
use crate::name::{Name, TaskName};
use crate::quantity::Resources;
use crate::uid::{AppUid, JobUid, RunUid, SpaceUid, TaskUid};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub uid: TaskUid,
    pub space_uid: SpaceUid,
    pub app_uid: AppUid,
    pub name: TaskName,
    pub display_name: String,
    pub state: TaskState,
    /// The attempt that runs or ran last, or the one that waits to run.
    pub attempt: u32,
    /// Of that attempt.
    pub guard: Guard,
    /// What is not as it was asked for; said when a run was made, and true of the Task until a later run is.
    pub conditions: Vec<Condition>,
    pub spec: TaskSpec,
    /// What it inherits is read from this App revision, and from this revision of the Space's environment.
    pub app_revision: u32,
    pub space_env_revision: u32,
    /// The Job that made it, if one did.
    pub job: Option<JobRef>,
    /// Where it is to run.
    pub cluster: Name,
    /// Grows by one with each change, and numbers that change's event.
    pub version: u64,
    pub created_at: Timestamp,
    /// Since when it is marked to be removed. Only one that is over is, and nothing brings it back.
    pub remove_since: Option<Timestamp>,
    /// What it wrote is deleted once it is over.
    pub delete_log: bool,
    /// W3C `traceparent` of the call that asked for it.
    pub trace: Option<String>,
}

/// Which Job made a Task, and for which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRef {
    pub uid: JobUid,
    pub name: Name,
    /// None for a run that was asked for.
    pub schedule: Option<Name>,
    pub tick: Option<Timestamp>,
    /// It is handed out only when no older Task of the Job is live: it replaces them.
    pub waits: bool,
}

/// What a Task was accepted with; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// The Task's own, else the App's.
    pub command: Command,
    /// What the Task brought; the rest is inherited.
    pub env: TaskEnv,
    /// The Task's, and where it says nothing the App's, and then the Space's.
    pub resources: Resources,
    pub timeout: Option<Duration>,
    pub retry: RetryPolicy,
    pub labels: Labels,
}

/// A state holds what is true in it, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Nothing of the present attempt exists. It may start, but not before the time given.
    Pending {
        not_before: Option<Timestamp>,
    },
    /// A run was made; its command has not started.
    Starting {
        run: RunUid,
        made_at: Timestamp,
        /// What stands between it and its start, when that was told.
        waiting: Option<Waiting>,
    },
    Running {
        run: RunUid,
        made_at: Timestamp,
        started_at: Timestamp,
    },
    /// The end was asked for, and something may still be running.
    Cancelling {
        run: RunUid,
        made_at: Timestamp,
        started_at: Option<Timestamp>,
        /// What it waited for when its end was asked for.
        waited: Option<Waiting>,
        since: Timestamp,
        /// Between the gentle and the forced end; none: what its executor gives.
        grace: Option<Duration>,
        cause: CancelCause,
        /// When the control plane gave the order to end it by force.
        forced_at: Option<Timestamp>,
    },
    /// Over, with nothing left running.
    Finished {
        started_at: Option<Timestamp>,
        finished_at: Timestamp,
        outcome: Outcome,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Failed(Failure),
    Cancelled { message: String, exit: Exit },
}

/// Why something did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    /// Most often the reason's own.
    pub class: Class,
    /// One sentence for a person.
    pub message: String,
    pub exit: Exit,
}

impl Failure {
    /// With the reason's own class.
    pub fn new(reason: Reason, message: impl Into<String>, exit: Exit) -> Self {
        Self { reason, class: reason.class(), message: message.into(), exit }
    }
}

/// How a command's process ended, as far as that is the command's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

/// A state's name, without what is true in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKind {
    Pending,
    Starting,
    Running,
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
}

impl StateKind {
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Starting,
        Self::Running,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];
    pub const LIVE: [Self; 4] = [Self::Pending, Self::Starting, Self::Running, Self::Cancelling];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Cancelling => "CANCELLING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Final is final.
    pub fn is_final(self) -> bool {
        !Self::LIVE.contains(&self)
    }
}

impl TaskState {
    pub fn kind(&self) -> StateKind {
        match self {
            Self::Pending { .. } => StateKind::Pending,
            Self::Starting { .. } => StateKind::Starting,
            Self::Running { .. } => StateKind::Running,
            Self::Cancelling { .. } => StateKind::Cancelling,
            Self::Finished { outcome: Outcome::Succeeded, .. } => StateKind::Succeeded,
            Self::Finished { outcome: Outcome::Failed(_), .. } => StateKind::Failed,
            Self::Finished { outcome: Outcome::Cancelled { .. }, .. } => StateKind::Cancelled,
        }
    }

    /// The run of the present attempt, while there may be one.
    pub fn run(&self) -> Option<&RunUid> {
        match self {
            Self::Pending { .. } | Self::Finished { .. } => None,
            Self::Starting { run, .. } | Self::Running { run, .. } | Self::Cancelling { run, .. } => Some(run),
        }
    }

    /// What it waits for, or waited for when its end was asked for.
    pub fn waiting(&self) -> Option<&Waiting> {
        match self {
            Self::Starting { waiting, .. } => waiting.as_ref(),
            Self::Cancelling { waited, .. } => waited.as_ref(),
            Self::Pending { .. } | Self::Running { .. } | Self::Finished { .. } => None,
        }
    }

    pub fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pending { .. } | Self::Starting { .. } => None,
            Self::Running { started_at, .. } => Some(*started_at),
            Self::Cancelling { started_at, .. } | Self::Finished { started_at, .. } => *started_at,
        }
    }

    pub fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Finished { finished_at, .. } => Some(*finished_at),
            Self::Pending { .. } | Self::Starting { .. } | Self::Running { .. } | Self::Cancelling { .. } => None,
        }
    }
}

impl Outcome {
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Succeeded => None,
            Self::Failed(failure) => Some(failure.reason),
            Self::Cancelled { .. } => Some(Reason::Cancelled),
        }
    }

    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Succeeded => None,
            Self::Failed(failure) => Some(failure.class),
            Self::Cancelled { .. } => Some(Reason::Cancelled.class()),
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::Succeeded => "",
            Self::Failed(failure) => &failure.message,
            Self::Cancelled { message, .. } => message,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Succeeded => Exit { code: Some(0), signal: None },
            Self::Failed(failure) => failure.exit,
            Self::Cancelled { exit, .. } => *exit,
        }
    }
}
