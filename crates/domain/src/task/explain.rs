//! Why a Task is not running, or not gone yet: told from what is so, most pressing first.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::name::{Name, TaskName};
use crate::task::{Deadlines, StuckReason, Task, TaskState, Wait, Waiting};

/// What a Task waits for. Clients rely on the spelling of its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// PENDING: its next attempt is not due.
    NotBefore,
    /// No executor of its cluster is there.
    NoExecutor,
    /// Executors are there, and none runs what its App is.
    ImagesNotRun,
    /// It replaces older Tasks of its Job, which are not over.
    OlderTasks,
    /// It could be taken, and others are before it or the executors have no room.
    Turn,
    /// An executor has taken it and makes its run.
    Held,
    /// Its run is made, and its command is about to start.
    Starting,
    Running,
    /// Its end was asked for, and is not confirmed.
    Ending,
    /// Whoever has its run gives no sign of life.
    ExecutorSilent,
    /// Past its deadline.
    Stuck,
    /// Over; its last events are not on the bus yet.
    EventsUnpublished,
    /// Over, and marked to be removed.
    Removing,
    /// Over, and kept.
    Kept,
    /// As many Tasks of its Space run as the Space's quota allows.
    HeldByRunningQuota,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub cause: Cause,
    /// One sentence for a person.
    pub message: String,
    pub since: Option<Timestamp>,
    /// When this changes by itself, if that is known.
    pub until: Option<Timestamp>,
    /// What would change it. Empty: nothing need be done.
    pub remedy: &'static str,
    /// The Task that it waits for.
    pub waits_for: Option<TaskName>,
}

/// What is so around a Task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    pub now: Timestamp,
    /// Executors of its cluster with a session that holds.
    pub executors: usize,
    /// Of those, the ones that run what its App is.
    pub able: usize,
    pub holder: Option<Holder>,
    /// The oldest live Task of its Job that it waits for.
    pub older: Option<TaskName>,
    /// Its Space's quota of running Tasks, when as many run.
    pub full_quota: Option<u32>,
    /// Waiting Tasks of its Space before it, counted up to a bound.
    pub ahead: u64,
    /// The oldest of its events that is not on the bus.
    pub unpublished_since: Option<Timestamp>,
    /// Its last run is not confirmed to be gone.
    pub run_left: bool,
    /// How long its Space keeps what is over; none: as long as the counts allow.
    pub keeps: Option<Duration>,
}

/// The executor that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub executor: Name,
    pub lease_until: Timestamp,
    pub closed_at: Option<Timestamp>,
}

impl Holder {
    fn silent_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.closed_at.or(Some(self.lease_until)).filter(|since| *since <= now)
    }
}

impl Explanation {
    fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), since: None, until: None, remedy: "", waits_for: None }
    }

    fn since(self, since: Timestamp) -> Self {
        Self { since: Some(since), ..self }
    }

    fn until(self, until: Option<Timestamp>) -> Self {
        Self { until, ..self }
    }

    fn remedy(self, remedy: &'static str) -> Self {
        Self { remedy, ..self }
    }
}

impl Task {
    /// At least one explanation, for whatever state it is in.
    pub fn explain(&self, seen: &Circumstances, deadlines: &Deadlines) -> Vec<Explanation> {
        let mut told = Vec::new();
        told.extend(self.explains_stuck(seen.now, deadlines));
        told.extend(self.explains_silence(seen));
        told.push(match &self.state {
            TaskState::Pending { not_before } => self.explains_waiting(*not_before, seen),
            TaskState::Starting { made_at, waiting, .. } => {
                explains_start(*made_at, waiting.as_ref(), seen).until(self.start_by(deadlines))
            }
            TaskState::Running { started_at, .. } => self.explains_running(*started_at, seen),
            TaskState::Cancelling { since, forced_at, .. } => {
                let (how, from) = match forced_at {
                    None => ("its end was asked for", *since),
                    Some(at) => ("its end was asked for and then ordered by force", *at),
                };
                let next = self.force_at(deadlines).or_else(|| self.stuck_at(deadlines).map(|stuck| stuck.since));
                let message = format!("{how}, and {} has not confirmed that nothing of it is left", by(seen));
                Explanation::new(Cause::Ending, message).since(from).until(next.filter(|next| *next > seen.now))
            }
            TaskState::Finished { finished_at, .. } => self.explains_being_over(*finished_at, seen),
        });
        told
    }

    /// In one word, why a PENDING Task does not run yet.
    pub fn waiting_cause(&self, seen: &Circumstances) -> Option<Cause> {
        match &self.state {
            TaskState::Pending { not_before } => Some(self.explains_waiting(*not_before, seen).cause),
            TaskState::Starting { .. }
            | TaskState::Running { .. }
            | TaskState::Cancelling { .. }
            | TaskState::Finished { .. } => None,
        }
    }

    fn explains_stuck(&self, now: Timestamp, deadlines: &Deadlines) -> Option<Explanation> {
        let stuck = self.stuck(now, deadlines)?;
        let remedy = match stuck.reason {
            StuckReason::NotStarted => "see that a reaper runs: it gives such a Task up",
            StuckReason::OverTime => "terminate-task asks its executor once more, and by force",
            StuckReason::NotEnding => {
                "see what is left of its run where it ran; when nothing is, abandon-task ends it as LOST"
            }
        };
        Some(Explanation::new(Cause::Stuck, stuck.reason.message()).since(stuck.since).remedy(remedy))
    }

    fn explains_silence(&self, seen: &Circumstances) -> Option<Explanation> {
        self.state.run()?;
        let explained = match &seen.holder {
            None => Explanation::new(Cause::ExecutorSilent, "no executor has its run"),
            Some(holder) => {
                let since = holder.silent_since(seen.now)?;
                let how = if holder.closed_at.is_some() { "is gone" } else { "gives no sign of life" };
                let message = format!("executor {}, which has its run, {how}", holder.executor);
                Explanation::new(Cause::ExecutorSilent, message).since(since)
            }
        };
        Some(explained.remedy("start that executor again; what it cannot account for is LOST"))
    }

    fn explains_waiting(&self, not_before: Option<Timestamp>, seen: &Circumstances) -> Explanation {
        let Circumstances { now, executors, able, holder, older, full_quota, ahead, .. } = seen;
        if let Some(due) = not_before.filter(|due| due > now) {
            let message = format!("attempt {} waits for its time", self.attempt);
            return Explanation::new(Cause::NotBefore, message).until(Some(due));
        }
        if let Some(holder) = holder {
            let message = format!("executor {} has taken it and makes its run", holder.executor);
            return Explanation::new(Cause::Held, message);
        }
        if let Some(older) = older {
            let message = format!("it replaces older Tasks of its Job and waits until they are over, {older} first");
            let explained = Explanation::new(Cause::OlderTasks, message).remedy("terminate-task ends the older one");
            return Explanation { waits_for: Some(older.clone()), ..explained };
        }
        if *executors == 0 {
            let message = format!("no executor of cluster {} is there", self.cluster);
            return Explanation::new(Cause::NoExecutor, message).remedy("start an executor");
        }
        if *able == 0 {
            let message = "its App is a container image, and no executor here runs images";
            return Explanation::new(Cause::ImagesNotRun, message).remedy("push the App's source instead");
        }
        if let Some(quota) = full_quota {
            let message = match quota {
                1 => "1 Task of its Space runs, and the Space's quota allows no more".to_owned(),
                quota => format!("{quota} Tasks of its Space run, and the Space's quota allows no more"),
            };
            return Explanation::new(Cause::HeldByRunningQuota, message)
                .since(not_before.unwrap_or(self.created_at))
                .remedy("its turn comes when one of them ends; update-space --running-tasks allows more");
        }
        let message = match ahead {
            0 => "it is next, as soon as an executor has room".to_owned(),
            1 => "1 waiting Task of its Space is before it".to_owned(),
            ahead => format!("{ahead} waiting Tasks of its Space are before it"),
        };
        Explanation::new(Cause::Turn, message)
            .since(not_before.unwrap_or(self.created_at))
            .remedy("its turn comes; a larger --capacity runs more Tasks at once")
    }

    fn explains_running(&self, started_at: Timestamp, seen: &Circumstances) -> Explanation {
        let ends = self.spec.timeout.and_then(|timeout| SignedDuration::try_from(timeout).ok());
        let ends = ends.and_then(|timeout| started_at.checked_add(timeout).ok());
        let message = match ends {
            None => format!("{} runs its command, without a timeout", by(seen)),
            Some(_) => format!("{} runs its command, until its timeout at the latest", by(seen)),
        };
        Explanation::new(Cause::Running, message).since(started_at).until(ends)
    }

    fn explains_being_over(&self, finished_at: Timestamp, seen: &Circumstances) -> Explanation {
        if let Some(since) = self.remove_since {
            let (message, remedy) = match (seen.run_left, seen.unpublished_since) {
                (true, _) => (
                    "it is marked to be removed, and nobody has confirmed yet that nothing of its last run is left",
                    "its executor confirms it; one that has been away for an hour is not waited for",
                ),
                (false, Some(_)) => ("it is marked to be removed, and its last events are not on the bus yet", ""),
                (false, None) => ("it is marked to be removed, and about to go", ""),
            };
            return Explanation::new(Cause::Removing, message).since(since).remedy(remedy);
        }
        if let Some(since) = seen.unpublished_since {
            let message = "it is over, and its last events are not on the bus yet: it stays at least until they are";
            return Explanation::new(Cause::EventsUnpublished, message).since(since);
        }
        let until = seen.keeps.and_then(|keeps| finished_at.checked_add(SignedDuration::try_from(keeps).ok()?).ok());
        let message = "it is over, and kept until newer Tasks of its App take its place";
        Explanation::new(Cause::Kept, message).since(finished_at).until(until)
    }
}

fn explains_start(made_at: Timestamp, waiting: Option<&Waiting>, seen: &Circumstances) -> Explanation {
    let Some(Waiting { wait: Wait { reason, message }, since }) = waiting else {
        let message = format!("{} has made its run, and its command is about to start", by(seen));
        return Explanation::new(Cause::Starting, message)
            .since(made_at)
            .remedy("it is given up by then; terminate-task ends it now");
    };
    let detail = if message.is_empty() { String::new() } else { format!(": {message}") };
    let message = format!("{} has made its run, which {}{detail}", by(seen), reason.phrase());
    Explanation::new(Cause::Starting, message).since(*since).remedy(reason.remedy())
}

fn by(seen: &Circumstances) -> String {
    seen.holder.as_ref().map_or_else(|| "nobody".to_owned(), |holder| format!("executor {}", holder.executor))
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
