//! The start ticket. A cluster may start a pod again by itself, and the command in it with it. So the first thing in the pod of
//! a guarded run is a guard, which asks the control plane whether the command may start. The answer is in the Task's row:
//!
//! ```text
//!  made, guarded      the first to ask         the same pod and process again    any other pod or process
//!  STARTING ─────────▶ GRANTED: RUNNING ──────▶ GRANTED                           OTHER_POD
//!                      CANCELLING, once its end was asked for; OVER, once the attempt is over
//! ```
//!
//! A guarded run without a ticket is known not to have started, whatever else is seen of it.

use jiff::Timestamp;

use crate::event::Fact;
use crate::invalid::{Check, Invalid};
use crate::run::{EndCause, Fate, RunEnd};
use crate::task::transition::cancelled;
use crate::task::{Class, Exit, Failure, Reason, Task, TaskState, Transition};

const PART_MAX: usize = 64;

/// Who was allowed to start: one process of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub pod_uid: String,
    /// Made when the guard's process starts: a container that is started again in the same pod has another one.
    pub nonce: String,
}

/// Whether the command of the present attempt starts only with a ticket, and who has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Guard {
    /// It starts with its run.
    #[default]
    Off,
    /// Nobody has it: the command has not started.
    Waiting,
    Granted(Ticket),
}

/// Why a command may not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was started already, by another pod or process.
    OtherPod,
    /// Its end was asked for.
    Cancelling,
    /// The attempt is over, or was never made.
    Over,
}

/// The answer to a guard.
#[derive(Debug, Clone)]
pub enum Claim {
    /// Yes, once this is stored.
    Grant(Box<Transition>),
    /// Yes: it was told so before.
    Granted,
    Refused(Refusal),
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherPod => "OTHER_POD",
            Self::Cancelling => "CANCELLING",
            Self::Over => "OVER",
        }
    }
}

impl Ticket {
    pub fn parse(pod_uid: String, nonce: String) -> Result<Self, Invalid> {
        let mut check = Check::new();
        for (field, text) in [("pod_uid", &pod_uid), ("guard_nonce", &nonce)] {
            if !(1..=PART_MAX).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                check.refuse(field, format!("must be 1 to {PART_MAX} visible characters"));
            }
        }
        check.finish_with(Some(Self { pod_uid, nonce }))
    }
}

impl Task {
    /// Whether the command of `attempt` may start in this very process. Asking again is no error; the answer is the same until
    /// something else becomes of the Task.
    pub fn claim_start(mut self, attempt: u32, ticket: Ticket, at: Timestamp) -> Claim {
        if attempt != self.attempt {
            return Claim::Refused(Refusal::Over);
        }
        match (self.state.clone(), &self.guard) {
            (TaskState::Starting { run, made_at, .. }, Guard::Waiting) => {
                self.guard = Guard::Granted(ticket);
                let running = TaskState::Running { run, made_at, started_at: at };
                Claim::Grant(Box::new(self.becomes(running, Fact::TaskStarted, at)))
            }
            (TaskState::Running { .. }, Guard::Granted(holder)) if *holder == ticket => Claim::Granted,
            (TaskState::Starting { .. } | TaskState::Running { .. }, _) => Claim::Refused(Refusal::OtherPod),
            // Also for the holder: it has not started yet, or it would not ask.
            (TaskState::Cancelling { .. }, _) => Claim::Refused(Refusal::Cancelling),
            (TaskState::Pending { .. } | TaskState::Finished { .. }, _) => Claim::Refused(Refusal::Over),
        }
    }

    /// What is seen of the run, as far as the row agrees: it knows better whether the command started.
    pub(super) fn guarded_fate(&self, fate: Fate) -> Fate {
        match (&self.guard, fate) {
            (Guard::Waiting, _) if self.state.was_asked_to_end() || self.state.missed_its_start() => Fate::NeverStarted,
            (Guard::Granted(_), Fate::NeverStarted) if !self.state.was_asked_to_end() => {
                Fate::Lost { message: "the run is gone, and its command had its start ticket".to_owned() }
            }
            (Guard::Granted(_), Fate::Ended(end)) => Fate::Ended(unless_it_ran_unseen(end)),
            (_, fate) => fate,
        }
    }

    /// Ends an attempt whose command is known not to have started: trying it again is safe.
    pub(super) fn settle_unstarted(self, fate: Fate, at: Timestamp) -> Transition {
        let (finished_at, failure) = match fate {
            Fate::NeverStarted => return self.settle(Fate::NeverStarted, at),
            Fate::Lost { message } => (at, not_started(&message)),
            Fate::Ended(RunEnd { cause, finished_at, message, .. }) => match cause {
                EndCause::Cancel => {
                    return self.finishes(cancelled("before it started", Exit::default()), finished_at, at);
                }
                EndCause::Unanswered => (finished_at, unanswered(&message)),
                EndCause::Platform { reason, class } => (finished_at, by_platform(reason, class, &message)),
                EndCause::Natural
                | EndCause::Timeout
                | EndCause::OutOfMemory
                | EndCause::DiskQuota
                | EndCause::Refused(_) => (finished_at, not_started(&message)),
            },
        };
        self.fails(failure, finished_at, at)
    }
}

/// The platform's word on a run whose command had its ticket, by somebody who had not seen it run when it ended: what they say of
/// it is true of a command that never started.
fn unless_it_ran_unseen(end: RunEnd) -> RunEnd {
    match end.cause {
        EndCause::Platform { reason, class: _ } if end.started_at.is_none() => {
            let seen = if end.message.is_empty() { "what it ran on ended it" } else { &end.message };
            let message = format!("{seen}; the command had its start ticket, and nobody saw it end");
            RunEnd { cause: EndCause::Platform { reason, class: Class::Unknown }, message, ..end }
        }
        _ => end,
    }
}

fn not_started(detail: &str) -> Failure {
    failure(Reason::StartFailed, "the run ended before its command got its start ticket", detail)
}

fn unanswered(detail: &str) -> Failure {
    failure(Reason::StartDeadline, "nobody could be asked for the start ticket by the start deadline", detail)
}

/// Whoever saw it may not have known whether the command started; the row does.
fn by_platform(reason: Reason, class: Class, detail: &str) -> Failure {
    let class = if class == Class::Unknown { Class::Infrastructure } else { class };
    Failure { class, ..failure(reason, "it ended before its command got its start ticket", detail) }
}

fn failure(reason: Reason, text: &str, detail: &str) -> Failure {
    let message = if detail.is_empty() { text.to_owned() } else { format!("{text}: {detail}") };
    Failure::new(reason, message, Exit::default())
}

/// Of the guard's end, when the command had its ticket before.
pub(super) fn no_second_start(refused: Option<Refusal>) -> &'static str {
    match refused {
        Some(Refusal::OtherPod) => {
            "its pod was started again: the command was not started a second time, and nobody saw how it ended"
        }
        Some(Refusal::Cancelling | Refusal::Over) | None => {
            "its pod ended without it, after the command had its start ticket, and nobody saw how it ended"
        }
    }
}

#[cfg(test)]
#[path = "ticket_tests.rs"]
mod tests;
