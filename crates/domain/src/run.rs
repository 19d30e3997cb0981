//! Runs: what a backend is told to execute, and what it tells of it.

use std::time::Duration;

use jiff::Timestamp;

use crate::app::{Command, Source};
use crate::env::Env;
use crate::name::{Name, TaskName};
use crate::placement::Placement;
use crate::quantity::Resources;
use crate::security_group::GroupRules;
use crate::service::BoundService;
use crate::task::{Class, Condition, Exit, Reason, Refusal, Wait};
use crate::uid::{AppUid, JobUid, RunUid, SpaceUid, TaskUid};

/// One attempt of one Task: what a run's name is derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    pub task: TaskUid,
    /// From 1.
    pub attempt: u32,
}

impl std::fmt::Display for RunKey {
    /// `t-<32 hex>-<attempt>`: fit for the name of a PipelineRun, and of a directory.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "t-{}-{}", self.task.0.simple(), self.attempt)
    }
}

/// Everything a backend needs to make a run.
#[derive(Debug, Clone)]
pub struct RunSpec {
    pub key: RunKey,
    pub name: TaskName,
    pub space_uid: SpaceUid,
    pub app_uid: AppUid,
    pub app_revision: u32,
    pub display_name: String,
    pub source: Source,
    pub command: Command,
    /// Of the Space, overlaid with the App's.
    pub inherited_env: Env,
    /// What the Task brought.
    pub task_env: Env,
    /// What the App was bound to.
    pub services: Vec<BoundService>,
    pub resources: Resources,
    /// Of the App and of its Space.
    pub security_groups: Vec<GroupRules>,
    pub timeout: Option<Duration>,
    /// Bytes of output that its log keeps.
    pub log_cap: Option<u64>,
    /// With it the run's guard asks whether the command may start. None: no guard is wanted.
    pub start_token: Option<StartToken>,
    pub trace: Option<String>,
    pub cluster: InCluster,
}

/// What a cluster is told beside.
#[derive(Debug, Clone, Default)]
pub struct InCluster {
    /// Where the Space's Tasks live; none: in a namespace named after the Space.
    pub namespace: Option<String>,
    /// The Job that made the Task, if one did.
    pub job: Option<(JobUid, Name)>,
    pub placement: Placement,
    /// Names what is secret by its content.
    pub naming_key: NamingKey,
}

/// With it the same content always has the same name, and without it nobody can tell from the name what the content is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NamingKey(pub Vec<u8>);

impl std::fmt::Debug for NamingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[key]")
    }
}

/// Shows that a question comes from the guard of one attempt. Whoever has it could take that attempt's start.
#[derive(Clone, PartialEq, Eq)]
pub struct StartToken(pub String);

impl std::fmt::Debug for StartToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StartToken(…)")
    }
}

/// How a run ended. Nothing of it is left when this is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    pub cause: EndCause,
    pub exit: Exit,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    /// More for a person, or empty.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// By itself.
    Natural,
    /// After our signal to cancel.
    Cancel,
    /// After our signal because its time was up.
    Timeout,
    /// Something of it was ended by the kernel for memory, perhaps not the command itself: its exit tells.
    OutOfMemory,
    /// After our signal because its working copy was too large.
    DiskQuota,
    /// Its guard was told that the command may not start.
    Refused(Refusal),
    /// Its guard found nobody to ask, until the start deadline.
    Unanswered,
    /// For a reason that only what it ran on knows; the message says it in full.
    Platform { reason: Reason, class: Class },
}

/// What is known of a run that is over, when nobody was there to report it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It never got its go: the command did not start.
    NeverStarted,
    /// Its end was seen and kept.
    Ended(RunEnd),
    /// It had its go, and nobody saw its end.
    Lost { message: String },
}

/// What an executor tells of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// It exists and is inert.
    Made {
        run: RunUid,
        /// What is not as it was asked for.
        conditions: Vec<Condition>,
        /// Its command starts only with a ticket.
        guarded: bool,
    },
    Started {
        run: RunUid,
        at: Timestamp,
    },
    /// It is over, with nothing left of it.
    Over {
        run: RunUid,
        fate: Fate,
    },
    /// It was made, and its command cannot start yet.
    Waits {
        run: RunUid,
        wait: Wait,
    },
    /// Something is not as it was asked for, and showed only after it was made.
    Noted {
        run: RunUid,
        conditions: Vec<Condition>,
    },
    /// It could not be made.
    NotMade {
        reason: Reason,
        message: String,
    },
}

/// What an executor has to say of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    Seen(Observed),
    /// Nothing of it is left where it ran, and its log is archived.
    Removed {
        run: RunUid,
    },
}
