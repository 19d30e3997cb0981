//! Asking for the end of a Task: by a user, or by the control plane when a run is not started in time. What follows is a chain
//! with a time for each link: the grace, then the order to end it by force, then stuck (see [`super::stuck`]).

use std::time::Duration;

use jiff::Timestamp;

use crate::event::Fact;
use crate::task::transition::cancelled;
use crate::task::{Exit, Failure, InvalidTransition, Outcome, Reason, Task, TaskState, Transition};

/// Who wants it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelCause {
    /// Somebody asked for it, be it for this Task alone or with its Job.
    Asked,
    /// Its run was not started in time.
    StartDeadline,
}

impl CancelCause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "ASKED",
            Self::StartDeadline => "START_DEADLINE",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Asked, Self::StartDeadline].into_iter().find(|cause| cause.as_str() == text)
    }
}

/// How a Task is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CancelTask {
    /// Between the gentle and the forced end; none: what its executor gives.
    pub grace: Option<Duration>,
    /// What it wrote is not to be kept.
    pub delete_log: bool,
}

impl Task {
    /// Asks for the end. A Task without a run ends at once: nothing starts without STARTING. Asking twice is no error, and
    /// neither is asking when it is over.
    pub fn cancel(self, at: Timestamp) -> Option<Transition> {
        self.end(CancelTask::default(), at)
    }

    /// The same with a grace of the caller's.
    pub fn cancel_within(self, grace: Option<Duration>, at: Timestamp) -> Option<Transition> {
        self.end(CancelTask { grace, delete_log: false }, at)
    }

    /// The same in full. A shorter grace than was given before takes its place; its log can still be given up when it is over.
    pub fn end(mut self, asked: CancelTask, at: Timestamp) -> Option<Transition> {
        let CancelTask { grace, delete_log } = asked;
        let gives_up_its_log = delete_log && !self.delete_log;
        self.delete_log |= delete_log;
        let waited = self.state.waiting().cloned();
        let (run, made_at, started_at) = match self.state.clone() {
            TaskState::Pending { .. } => {
                return Some(self.finishes(cancelled("before it started", Exit::default()), at, at));
            }
            TaskState::Starting { run, made_at, .. } => (run, made_at, None),
            TaskState::Running { run, made_at, started_at } => (run, made_at, Some(started_at)),
            state @ TaskState::Cancelling { .. } => {
                return match state.hastened(grace, at) {
                    Some(state) => Some(self.becomes(state, Fact::TaskCancelRequested, at)),
                    None => gives_up_its_log.then(|| self.becomes(state, Fact::TaskLogDeleteRequested, at)),
                };
            }
            state @ TaskState::Finished { .. } => {
                return gives_up_its_log.then(|| self.becomes(state, Fact::TaskLogDeleteRequested, at));
            }
        };
        let cause = CancelCause::Asked;
        let state =
            TaskState::Cancelling { run, made_at, started_at, waited, since: at, grace, cause, forced_at: None };
        Some(self.becomes(state, Fact::TaskCancelRequested, at))
    }

    /// Its run was not started in time: it is ended, and the attempt fails. None: it is not STARTING any more.
    pub fn give_up_starting(self, at: Timestamp) -> Option<Transition> {
        let TaskState::Starting { run, made_at, waiting } = self.state.clone() else { return None };
        let cause = CancelCause::StartDeadline;
        let state = TaskState::Cancelling {
            run,
            made_at,
            started_at: None,
            waited: waiting,
            since: at,
            grace: Some(Duration::ZERO),
            cause,
            forced_at: None,
        };
        Some(self.becomes(state, Fact::TaskCancelRequested, at))
    }

    /// Its grace is over and it is still there: the order to end it is given once more, by force. None: that was done.
    pub fn force(self, at: Timestamp) -> Option<Transition> {
        let TaskState::Cancelling { run, made_at, started_at, waited, since, grace: _, cause, forced_at: None } =
            self.state.clone()
        else {
            return None;
        };
        let grace = Some(Duration::ZERO);
        let forced_at = Some(at);
        let state = TaskState::Cancelling { run, made_at, started_at, waited, since, grace, cause, forced_at };
        Some(self.becomes(state, Fact::TaskCancelForced, at))
    }

    /// An operator takes it upon them that nothing of it runs. Nobody saw its end, so it is LOST, never CANCELLED; and it was
    /// to end, so there is no further attempt. The caller has seen that it is stuck.
    pub fn abandon(self, at: Timestamp) -> Result<Transition, InvalidTransition> {
        let TaskState::Cancelling { .. } = self.state else { return Err(self.refuses("be abandoned")) };
        let message = "given up by an operator: its end was asked for and never confirmed".to_owned();
        let failure = Failure::new(Reason::Lost, message, Exit::default());
        Ok(self.finishes(Outcome::Failed(failure), at, at))
    }
}

impl TaskState {
    /// CANCELLING after it was asked for once more. None: that changes nothing.
    fn hastened(&self, asked: Option<Duration>, at: Timestamp) -> Option<Self> {
        let Self::Cancelling { run, made_at, started_at, waited, since, grace, cause, forced_at } = self.clone() else {
            return None;
        };
        let shorter = asked.is_some_and(|asked| grace.is_none_or(|before| asked < before));
        if !shorter && cause == CancelCause::Asked {
            return None;
        }
        let (since, grace) = if shorter { (at, asked) } else { (since, grace) };
        let cause = CancelCause::Asked;
        Some(Self::Cancelling { run, made_at, started_at, waited, since, grace, cause, forced_at })
    }

    /// Somebody asked for the end, so that there is no further attempt.
    pub(super) fn was_asked_to_end(&self) -> bool {
        matches!(self, Self::Cancelling { cause: CancelCause::Asked, .. })
    }

    pub(super) fn missed_its_start(&self) -> bool {
        matches!(self, Self::Cancelling { cause: CancelCause::StartDeadline, .. })
    }
}

#[cfg(test)]
#[path = "cancel_tests.rs"]
mod tests;
