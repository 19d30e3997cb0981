//! What a made run waits for before its command can start, as far as whoever runs it can tell.

use jiff::Timestamp;

use crate::event::Fact;
use crate::invalid::{Check, Invalid};
use crate::task::{CONDITIONS_MAX, Condition, InvalidTransition, Task, TaskState, Transition};
use crate::uid::RunUid;

/// Longest message, in bytes.
pub const WAIT_MESSAGE_MAX: usize = 512;

/// A closed set: clients may rely on the spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// Handed over; nobody has taken it up there.
    Submitted,
    /// No machine was chosen for it yet.
    Scheduling,
    /// Its image is being fetched and its container made.
    Pulling,
    /// A quota of the place it runs in is full.
    QuotaExceeded,
    /// No machine there has what it asks for.
    Unschedulable,
    /// All is there; it asks whether its command may start.
    StartTicket,
}

/// What it waits for, without since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub reason: WaitReason,
    /// One line for a person, or empty.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub wait: Wait,
    pub since: Timestamp,
}

impl WaitReason {
    pub const ALL: [Self; 6] =
        [Self::Submitted, Self::Scheduling, Self::Pulling, Self::QuotaExceeded, Self::Unschedulable, Self::StartTicket];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Scheduling => "SCHEDULING",
            Self::Pulling => "PULLING",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Unschedulable => "UNSCHEDULABLE",
            Self::StartTicket => "START_TICKET",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// It may stay like this for as long as nobody does something about it. The others are steps on the way.
    pub fn is_hindrance(self) -> bool {
        match self {
            Self::QuotaExceeded | Self::Unschedulable => true,
            Self::Submitted | Self::Scheduling | Self::Pulling | Self::StartTicket => false,
        }
    }

    /// The end of a sentence that begins with the run.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Submitted => "waits to be taken up in its cluster",
            Self::Scheduling => "waits for a machine to be chosen",
            Self::Pulling => "waits for its image and its container",
            Self::QuotaExceeded => "waits because a quota of its namespace is full",
            Self::Unschedulable => "waits because no machine has what it asks for",
            Self::StartTicket => "asks whether its command may start",
        }
    }

    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::QuotaExceeded => "it starts when others end or the quota grows; else it is given up by then",
            Self::Unschedulable => "ask for less with --memory or --cpu, or add machines; else it is given up by then",
            Self::Submitted | Self::Scheduling | Self::Pulling | Self::StartTicket => {
                "it is given up by then; terminate-task ends it now"
            }
        }
    }
}

impl Wait {
    /// A message that is too long is cut, and made one line.
    pub fn new(reason: WaitReason, message: &str) -> Self {
        Self { reason, message: one_line(message, WAIT_MESSAGE_MAX) }
    }

    pub fn check(&self) -> Result<(), Invalid> {
        let mut check = Check::new();
        if self.message.len() > WAIT_MESSAGE_MAX || self.message.chars().any(char::is_control) {
            check.refuse("wait.message", format!("must be one line of at most {WAIT_MESSAGE_MAX} bytes"));
        }
        check.finish()
    }

    /// For the end of a Task that was given up while it waited.
    pub(super) fn sentence(&self) -> String {
        let Self { reason, message } = self;
        let phrase = format!("it {}", reason.phrase().replacen("waits", "waited", 1).replacen("asks", "asked", 1));
        if message.is_empty() { phrase } else { format!("{phrase}: {message}") }
    }
}

/// Text from elsewhere as one line of at most `most` bytes.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = text.trim().replace(|letter: char| letter.is_control(), " ");
    line.truncate(line.floor_char_boundary(most));
    line
}

impl Task {
    /// Takes in what a made run waits for. None: that was known, or it does not wait any more.
    pub(super) fn waits(
        self,
        run: &RunUid,
        wait: Wait,
        at: Timestamp,
    ) -> Result<Option<Transition>, InvalidTransition> {
        match self.state.clone() {
            TaskState::Starting { run: known, made_at, waiting } if known == *run => {
                if waiting.is_some_and(|waiting| waiting.wait == wait) {
                    return Ok(None);
                }
                let waiting = Some(Waiting { wait, since: at });
                Ok(Some(self.becomes(TaskState::Starting { run: known, made_at, waiting }, Fact::TaskWaiting, at)))
            }
            TaskState::Running { run: known, .. } | TaskState::Cancelling { run: known, .. } if known == *run => {
                Ok(None)
            }
            _ => Err(self.refuses("wait")),
        }
    }

    /// Takes in what turned out not to be as it was asked for; what was said before of the same kind is taken back by it.
    pub(super) fn noted(
        mut self,
        run: &RunUid,
        said: Vec<Condition>,
        at: Timestamp,
    ) -> Result<Option<Transition>, InvalidTransition> {
        if self.state.run() != Some(run) {
            return Err(self.refuses("be remarked upon"));
        }
        if said.iter().all(|condition| self.conditions.contains(condition)) {
            return Ok(None);
        }
        self.conditions.retain(|known| said.iter().all(|condition| condition.kind != known.kind));
        self.conditions.extend(said);
        self.conditions.truncate(CONDITIONS_MAX);
        let state = self.state.clone();
        Ok(Some(self.becomes(state, Fact::TaskNoted, at)))
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
