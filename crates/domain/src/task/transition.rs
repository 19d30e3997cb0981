//! How a Task changes. A change and its event are born together: a [`Transition`] can be made nowhere else, and the store
//! writes nothing else.

use jiff::{SignedDuration, Timestamp};

use crate::event::{Event, EventData, Fact, Subject, TaskSnapshot};
use crate::name::TaskName;
use crate::quantity::{Bytes, Resources};
use crate::run::{EndCause, Fate, Observed, RunEnd};
use crate::task::ticket::no_second_start;
use crate::task::{Attempt, Condition, Exit, Failure, Guard, Outcome, Reason, StateKind, Task, TaskState};
use crate::uid::RunUid;

/// A Task after a change that is still to be stored.
#[derive(Debug, Clone)]
pub struct Transition {
    task: Task,
    /// The state the row must be in for the change to happen; none for a birth.
    from: Option<StateKind>,
    event: Event,
    ended: Option<Attempt>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {state}, which cannot {verb}", state = .state.as_str())]
pub struct InvalidTransition {
    pub name: TaskName,
    pub state: StateKind,
    pub verb: &'static str,
}

impl Transition {
    pub(super) fn birth(task: Task) -> Self {
        let event = task.event(Fact::TaskRequested, task.created_at);
        Self { task, from: None, event, ended: None }
    }

    pub fn task(&self) -> &Task {
        &self.task
    }

    pub fn into_task(self) -> Task {
        self.task
    }

    pub fn from(&self) -> Option<StateKind> {
        self.from
    }

    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The attempt that this change ends, to be kept for good.
    pub fn ended(&self) -> Option<&Attempt> {
        self.ended.as_ref()
    }

    /// Nobody holds the Task after this change: it waits for a claim, or needs none any more.
    pub fn releases(&self) -> bool {
        matches!(self.task.state, TaskState::Pending { .. } | TaskState::Finished { .. })
    }
}

impl Task {
    /// Takes in what an executor saw. None: it was known already. An error: it cannot be so for this Task any more.
    pub fn observe(self, seen: Observed, at: Timestamp) -> Result<Option<Transition>, InvalidTransition> {
        match seen {
            Observed::Made { run, conditions, guarded } => {
                let guard = if guarded { Guard::Waiting } else { Guard::Off };
                self.made(run, conditions, guard, at)
            }
            Observed::Started { run, at: started_at } => self.started(&run, started_at, at),
            Observed::Over { run, fate } => self.over(&run, fate, at),
            Observed::NotMade { reason, message } => self.not_made(reason, message, at),
            Observed::Waits { run, wait } => self.waits(&run, wait, at),
            Observed::Noted { run, conditions } => self.noted(&run, conditions, at),
        }
    }

    fn made(
        mut self,
        run: RunUid,
        conditions: Vec<Condition>,
        guard: Guard,
        at: Timestamp,
    ) -> Result<Option<Transition>, InvalidTransition> {
        match &self.state {
            TaskState::Pending { .. } => {
                (self.conditions, self.guard) = (conditions, guard);
                let state = TaskState::Starting { run, made_at: at, waiting: None };
                Ok(Some(self.becomes(state, Fact::TaskStarting, at)))
            }
            state if state.run() == Some(&run) => Ok(None),
            _ => Err(self.refuses("get a run")),
        }
    }

    fn started(
        self,
        run: &RunUid,
        started_at: Timestamp,
        at: Timestamp,
    ) -> Result<Option<Transition>, InvalidTransition> {
        match self.state.clone() {
            // Its pod has started; its command starts with a ticket.
            TaskState::Starting { run: known, .. } if known == *run && self.guard == Guard::Waiting => Ok(None),
            TaskState::Starting { run: known, made_at, .. } if known == *run => {
                Ok(Some(self.becomes(TaskState::Running { run: known, made_at, started_at }, Fact::TaskStarted, at)))
            }
            TaskState::Running { run: known, .. } | TaskState::Cancelling { run: known, .. } if known == *run => {
                Ok(None)
            }
            _ => Err(self.refuses("start")),
        }
    }

    fn over(self, run: &RunUid, fate: Fate, at: Timestamp) -> Result<Option<Transition>, InvalidTransition> {
        match &self.state {
            TaskState::Starting { run: known, .. }
            | TaskState::Running { run: known, .. }
            | TaskState::Cancelling { run: known, .. }
                if known == run =>
            {
                Ok(Some(self.settle(fate, at)))
            }
            // Its row moved on with this very end, or a later incarnation settled it.
            TaskState::Finished { .. } => Ok(None),
            _ => Err(self.refuses("end")),
        }
    }

    /// Ends the present attempt as `fate` says; the caller knows that nothing of it is left.
    pub(super) fn settle(mut self, fate: Fate, at: Timestamp) -> Transition {
        match self.guarded_fate(fate) {
            Fate::NeverStarted if self.state.was_asked_to_end() => {
                // Who tells of it may not have seen it start.
                let when = if self.state.started_at().is_some() { "while it ran" } else { "before it started" };
                self.finishes(cancelled(when, Exit::default()), at, at)
            }
            Fate::NeverStarted if self.state.missed_its_start() => {
                let message = match self.state.waiting() {
                    None => NOT_IN_TIME.to_owned(),
                    Some(waiting) => format!("{NOT_IN_TIME}: {}", waiting.wait.sentence()),
                };
                self.fails(Failure::new(Reason::StartDeadline, message, Exit::default()), at, at)
            }
            Fate::NeverStarted => {
                self.guard = Guard::Off;
                self.becomes(TaskState::Pending { not_before: None }, Fact::TaskRequeued, at)
            }
            fate if self.guard == Guard::Waiting => self.settle_unstarted(fate, at),
            Fate::Lost { message } => self.fails(Failure::new(Reason::Lost, message, Exit::default()), at, at),
            Fate::Ended(RunEnd { cause: EndCause::Refused(_) | EndCause::Unanswered, finished_at, .. })
                if self.state.was_asked_to_end() =>
            {
                self.finishes(cancelled("while it ran", Exit::default()), finished_at, at)
            }
            Fate::Ended(end) => {
                let (from, finished_at) = (self.state.kind(), end.finished_at);
                let given_up = self.state.missed_its_start() && end.cause == EndCause::Cancel;
                let task = self.with_start(end.started_at);
                let transition = match verdict(end, &task.spec.resources) {
                    // Its command may have run after all: such an attempt is not tried again.
                    _ if given_up && task.state.started_at().is_some() => {
                        let message = format!("{NOT_IN_TIME}; it started after that, and was ended");
                        let failure = Failure::new(Reason::StartDeadline, message, Exit::default());
                        task.finishes(Outcome::Failed(failure), finished_at, at)
                    }
                    _ if given_up => return task.settle(Fate::NeverStarted, at),
                    Outcome::Failed(failure) => task.fails(failure, finished_at, at),
                    outcome => task.finishes(outcome, finished_at, at),
                };
                Transition { from: Some(from), ..transition }
            }
        }
    }

    /// The command's true start, when only its end tells of it.
    fn with_start(mut self, seen: Option<Timestamp>) -> Self {
        let (run, made_at) = match &mut self.state {
            TaskState::Starting { run, made_at, .. } | TaskState::Running { run, made_at, .. } => (run, made_at),
            TaskState::Cancelling { started_at, .. } => {
                *started_at = started_at.or(seen);
                return self;
            }
            TaskState::Pending { .. } | TaskState::Finished { .. } => return self,
        };
        let (run, made_at) = (run.clone(), *made_at);
        if let Some(started_at) = self.state.started_at().or(seen) {
            self.state = TaskState::Running { run, made_at, started_at };
        }
        self
    }

    fn not_made(self, reason: Reason, message: String, at: Timestamp) -> Result<Option<Transition>, InvalidTransition> {
        match &self.state {
            TaskState::Pending { .. } => Ok(Some(self.fails(Failure::new(reason, message, Exit::default()), at, at))),
            TaskState::Finished { .. } => Ok(None),
            _ => Err(self.refuses("lack a run")),
        }
    }

    /// Its last event: the row is about to go.
    pub fn remove(self, at: Timestamp) -> Result<Transition, InvalidTransition> {
        match self.state.clone() {
            state @ TaskState::Finished { .. } => Ok(self.becomes(state, Fact::TaskRemoved, at)),
            _ => Err(self.refuses("be removed")),
        }
    }

    /// Fails this attempt, and the Task with it unless its policy wants another and nobody asked for the end.
    pub(super) fn fails(self, failure: Failure, finished_at: Timestamp, at: Timestamp) -> Transition {
        let asked = self.state.was_asked_to_end();
        let wait = self.spec.retry.again(failure.class, self.attempt).filter(|_| !asked);
        let Some(wait) = wait else {
            return self.finishes(Outcome::Failed(failure), finished_at, at);
        };
        let (reason, exit) = (failure.reason, failure.exit);
        let ended = self.ends_attempt(finished_at, Outcome::Failed(failure));
        let next = at.checked_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO)).unwrap_or(at);
        let attempt = self.attempt + 1;
        let mut transition = self.becomes(TaskState::Pending { not_before: Some(next) }, Fact::TaskAttemptFailed, at);
        transition.task.attempt = attempt;
        transition.task.guard = Guard::Off;
        transition.ended = Some(ended);
        // The event tells of the attempt that failed; the Task itself is waiting for the next one.
        if let EventData::Task(snapshot) = &mut transition.event.data {
            (snapshot.reason, snapshot.exit) = (Some(reason), exit);
        }
        transition
    }

    pub(super) fn finishes(self, outcome: Outcome, finished_at: Timestamp, at: Timestamp) -> Transition {
        let fact = match outcome {
            Outcome::Succeeded => Fact::TaskSucceeded,
            Outcome::Failed(_) => Fact::TaskFailed,
            Outcome::Cancelled { .. } => Fact::TaskCancelled,
        };
        let begun = !matches!((&self.state, &outcome), (TaskState::Pending { .. }, Outcome::Cancelled { .. }));
        let ended = begun.then(|| self.ends_attempt(finished_at, outcome.clone()));
        let started_at = self.state.started_at();
        let mut transition = self.becomes(TaskState::Finished { started_at, finished_at, outcome }, fact, at);
        transition.ended = ended;
        transition
    }

    fn ends_attempt(&self, finished_at: Timestamp, outcome: Outcome) -> Attempt {
        let unmade = Attempt { number: self.attempt, run: None, made_at: None, started_at: None, end: None };
        Attempt { end: Some((finished_at, outcome)), ..self.present_attempt().unwrap_or(unmade) }
    }

    pub(super) fn becomes(mut self, state: TaskState, fact: Fact, at: Timestamp) -> Transition {
        let from = Some(self.state.kind());
        self.state = state;
        self.version += 1;
        let event = self.event(fact, at);
        Transition { task: self, from, event, ended: None }
    }

    pub(super) fn refuses(&self, verb: &'static str) -> InvalidTransition {
        InvalidTransition { name: self.name.clone(), state: self.state.kind(), verb }
    }

    fn event(&self, fact: Fact, at: Timestamp) -> Event {
        let outcome = match &self.state {
            TaskState::Finished { outcome, .. } => Some(outcome),
            _ => None,
        };
        Event {
            uid: self.uid.0,
            sequence: self.version,
            subject: Subject::Task(self.name.clone()),
            fact,
            at,
            data: EventData::Task(TaskSnapshot {
                id: self.name.id,
                display_name: self.display_name.clone(),
                state: self.state.kind(),
                reason: outcome.and_then(Outcome::reason),
                exit: outcome.map(Outcome::exit).unwrap_or_default(),
                attempt: self.attempt,
                app_revision: self.app_revision,
                job: self.job.as_ref().map(|job| job.name.clone()),
                created_at: self.created_at,
                started_at: self.state.started_at(),
                finished_at: self.state.finished_at(),
                waiting: match &self.state {
                    TaskState::Starting { waiting, .. } => waiting.as_ref().map(|waiting| waiting.wait.reason),
                    _ => None,
                },
            }),
            trace: self.trace.clone(),
        }
    }
}

/// Why an attempt is given up that its executor did not start.
const NOT_IN_TIME: &str = "the run was not started before its start deadline";

pub(super) fn cancelled(when: &str, exit: Exit) -> Outcome {
    Outcome::Cancelled { message: format!("cancelled {when}"), exit }
}

/// What a shell, and Tekton, make of a process that the kernel killed: no codes of a command's own.
const KILLED_FOR_MEMORY: [i32; 2] = [137, 255];

/// What an end means. An end after our signal is ours, whatever code the command found for it.
fn verdict(end: RunEnd, resources: &Resources) -> Outcome {
    let RunEnd { cause, exit, started_at: _, finished_at: _, ref message } = end;
    let limit = |resource: Option<Bytes>| resource.map_or_else(|| "what it may have".into(), |limit| limit.to_string());
    let failed = |reason, text: String, exit| {
        let message = if message.is_empty() { text } else { format!("{text}: {message}") };
        Outcome::Failed(Failure::new(reason, message, exit))
    };
    match cause {
        EndCause::Natural => match exit {
            Exit { code: Some(0), .. } => Outcome::Succeeded,
            Exit { code: Some(code), .. } => {
                failed(Reason::ExitCode, format!("the command ended with exit code {code}"), exit)
            }
            Exit { signal: Some(signal), .. } => {
                failed(Reason::Signalled, format!("the command was ended by signal {signal}"), exit)
            }
            Exit { code: None, signal: None } => {
                failed(Reason::Lost, "the command ended, nobody knows how".into(), exit)
            }
        },
        EndCause::Cancel => cancelled("while it ran", exit),
        // The code of a command that we ended is not an answer of its own.
        EndCause::Timeout => {
            failed(Reason::TimedOut, "the command ran longer than its timeout".into(), Exit { code: None, ..exit })
        }
        EndCause::OutOfMemory => match exit.code {
            // A command that lost one of its processes and went on ended by itself.
            Some(code) if !KILLED_FOR_MEMORY.contains(&code) => {
                let message = "something in it was killed because it needed more memory than it may have".to_owned();
                verdict(RunEnd { cause: EndCause::Natural, message, ..end }, resources)
            }
            _ => {
                let text = format!("the command needed more memory than {}", limit(resources.memory));
                failed(Reason::OutOfMemory, text, Exit { code: None, ..exit })
            }
        },
        EndCause::Refused(refusal) => failed(Reason::Lost, no_second_start(Some(refusal)).into(), Exit::default()),
        EndCause::Unanswered => failed(Reason::Lost, no_second_start(None).into(), Exit::default()),
        EndCause::Platform { reason, class } => {
            let text = if message.is_empty() { "what it ran on ended it".to_owned() } else { message.clone() };
            Outcome::Failed(Failure { reason, class, message: text, exit })
        }
        EndCause::DiskQuota => {
            let text = format!("the command's working copy took more disk than {}", limit(resources.disk));
            failed(Reason::DiskQuotaExceeded, text, Exit { code: None, ..exit })
        }
    }
}

#[cfg(test)]
#[path = "transition_tests.rs"]
pub(super) mod tests;
