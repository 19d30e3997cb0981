//! What happened, as others may hear of it: never a secret, the value of a variable, or a command.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::job::JobRun;
use crate::name::{AppName, JobName, Name, ServiceName, SpaceName, TaskName};
use crate::task::{Exit, Reason, StateKind, WaitReason};

/// A fact, in the past tense. Its spelling is the last token of the subject on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    SpaceCreated,
    SpaceUpdated,
    SpaceDeleteRequested,
    SpaceDeleted,
    AppPushed,
    /// What it inherits or is bound to changed, without a push.
    AppUpdated,
    AppDeleteRequested,
    AppDeleted,
    ServiceCreated,
    ServiceUpdated,
    ServiceDeleted,
    JobCreated,
    JobUpdated,
    JobPaused,
    JobResumed,
    JobScheduleCreated,
    JobScheduleUpdated,
    JobScheduleDeleted,
    JobRunStarted,
    JobRunSkipped,
    JobRunMissed,
    JobRunRefused,
    JobDeleteRequested,
    JobDeleted,
    TaskRequested,
    TaskStarting,
    /// What it waits for before it starts is another thing than before.
    TaskWaiting,
    TaskStarted,
    /// What is said of it changed: something is not as it was asked for.
    TaskNoted,
    TaskAttemptFailed,
    /// The run went away before its command could start; the same attempt waits again.
    TaskRequeued,
    TaskCancelRequested,
    /// Its grace passed without an end: it is ended by force.
    TaskCancelForced,
    TaskLogDeleteRequested,
    TaskSucceeded,
    TaskFailed,
    TaskCancelled,
    TaskRemoved,
}

impl Fact {
    pub const ALL: [Self; 38] = [
        Self::SpaceCreated,
        Self::SpaceUpdated,
        Self::SpaceDeleteRequested,
        Self::SpaceDeleted,
        Self::AppPushed,
        Self::AppUpdated,
        Self::AppDeleteRequested,
        Self::AppDeleted,
        Self::ServiceCreated,
        Self::ServiceUpdated,
        Self::ServiceDeleted,
        Self::JobCreated,
        Self::JobUpdated,
        Self::JobPaused,
        Self::JobResumed,
        Self::JobScheduleCreated,
        Self::JobScheduleUpdated,
        Self::JobScheduleDeleted,
        Self::JobRunStarted,
        Self::JobRunSkipped,
        Self::JobRunMissed,
        Self::JobRunRefused,
        Self::JobDeleteRequested,
        Self::JobDeleted,
        Self::TaskRequested,
        Self::TaskStarting,
        Self::TaskWaiting,
        Self::TaskStarted,
        Self::TaskNoted,
        Self::TaskAttemptFailed,
        Self::TaskRequeued,
        Self::TaskCancelRequested,
        Self::TaskCancelForced,
        Self::TaskLogDeleteRequested,
        Self::TaskSucceeded,
        Self::TaskFailed,
        Self::TaskCancelled,
        Self::TaskRemoved,
    ];

    pub fn kind(self) -> Kind {
        match self {
            Self::SpaceCreated | Self::SpaceUpdated | Self::SpaceDeleteRequested | Self::SpaceDeleted => Kind::Space,
            Self::AppPushed | Self::AppUpdated | Self::AppDeleteRequested | Self::AppDeleted => Kind::App,
            Self::ServiceCreated | Self::ServiceUpdated | Self::ServiceDeleted => Kind::Service,
            Self::JobCreated
            | Self::JobUpdated
            | Self::JobPaused
            | Self::JobResumed
            | Self::JobScheduleCreated
            | Self::JobScheduleUpdated
            | Self::JobScheduleDeleted
            | Self::JobRunStarted
            | Self::JobRunSkipped
            | Self::JobRunMissed
            | Self::JobRunRefused
            | Self::JobDeleteRequested
            | Self::JobDeleted => Kind::Job,
            Self::TaskRequested
            | Self::TaskStarting
            | Self::TaskWaiting
            | Self::TaskStarted
            | Self::TaskNoted
            | Self::TaskAttemptFailed
            | Self::TaskRequeued
            | Self::TaskCancelRequested
            | Self::TaskCancelForced
            | Self::TaskLogDeleteRequested
            | Self::TaskSucceeded
            | Self::TaskFailed
            | Self::TaskCancelled
            | Self::TaskRemoved => Kind::Task,
        }
    }

    /// Unique together with [`Fact::kind`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpaceCreated | Self::ServiceCreated | Self::JobCreated => "created",
            Self::SpaceUpdated | Self::AppUpdated | Self::ServiceUpdated | Self::JobUpdated => "updated",
            Self::SpaceDeleted | Self::AppDeleted | Self::ServiceDeleted | Self::JobDeleted => "deleted",
            Self::JobPaused => "paused",
            Self::JobResumed => "resumed",
            Self::JobScheduleCreated => "schedule-created",
            Self::JobScheduleUpdated => "schedule-updated",
            Self::JobScheduleDeleted => "schedule-deleted",
            Self::JobRunStarted => "run-started",
            Self::JobRunSkipped => "run-skipped",
            Self::JobRunMissed => "run-missed",
            Self::JobRunRefused => "run-refused",
            Self::SpaceDeleteRequested | Self::AppDeleteRequested | Self::JobDeleteRequested => "delete-requested",
            Self::AppPushed => "pushed",
            Self::TaskRequested => "requested",
            Self::TaskStarting => "starting",
            Self::TaskStarted => "started",
            Self::TaskWaiting => "waiting",
            Self::TaskNoted => "noted",
            Self::TaskAttemptFailed => "attempt-failed",
            Self::TaskRequeued => "requeued",
            Self::TaskCancelRequested => "cancel-requested",
            Self::TaskCancelForced => "cancel-forced",
            Self::TaskLogDeleteRequested => "log-delete-requested",
            Self::TaskSucceeded => "succeeded",
            Self::TaskFailed => "failed",
            Self::TaskCancelled => "cancelled",
            Self::TaskRemoved => "removed",
        }
    }

    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fact| fact.kind() == kind && fact.as_str() == text)
    }
}

/// What kind of thing an event speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Space,
    App,
    Service,
    Job,
    Task,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Space => "space",
            Self::App => "app",
            Self::Service => "service",
            Self::Job => "job",
            Self::Task => "task",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        const ALL: [Kind; 5] = [Kind::Space, Kind::App, Kind::Service, Kind::Job, Kind::Task];
        ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// The thing an event speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Space(SpaceName),
    App(AppName),
    Service(ServiceName),
    Job(JobName),
    Task(TaskName),
}

impl Subject {
    pub fn space(&self) -> &Name {
        match self {
            Self::Space(name) => &name.0,
            Self::App(name) => &name.space,
            Self::Service(name) => &name.space,
            Self::Job(name) => &name.space,
            Self::Task(name) => &name.space,
        }
    }

    pub fn app(&self) -> Option<&Name> {
        match self {
            Self::Space(_) | Self::Service(_) | Self::Job(_) => None,
            Self::App(name) => Some(&name.app),
            Self::Task(name) => Some(&name.app),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space(name) => name.fmt(f),
            Self::App(name) => name.fmt(f),
            Self::Service(name) => name.fmt(f),
            Self::Job(name) => name.fmt(f),
            Self::Task(name) => name.fmt(f),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventData {
    Space,
    App { revision: u32 },
    Service { revision: u32 },
    Job(JobSnapshot),
    Task(TaskSnapshot),
}

/// What an event of a Job tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSnapshot {
    /// The ledger's entry, when it is about a run.
    pub run: Option<JobRun>,
}

/// A Task right after a change, less what is nobody's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSnapshot {
    pub id: u64,
    pub display_name: String,
    pub state: StateKind,
    pub reason: Option<Reason>,
    pub exit: Exit,
    pub attempt: u32,
    pub app_revision: u32,
    pub job: Option<Name>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Why it does not start yet, when that was told.
    pub waiting: Option<WaitReason>,
}

/// One change of one thing. `sequence` is that thing's version after the change, so it has no gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub uid: Uuid,
    pub sequence: u64,
    pub subject: Subject,
    pub fact: Fact,
    pub at: Timestamp,
    pub data: EventData,
    /// W3C `traceparent` of the call that began it all.
    pub trace: Option<String>,
}

impl Event {
    /// The same for each repeat of this event.
    pub fn id(&self) -> String {
        format!("{}:{}", self.uid, self.sequence)
    }

    /// `taskplane.v1.<space>.task.<app>.<fact>`: each token is a DNS label, so nothing can be smuggled in.
    pub fn topic(&self) -> String {
        let kind = self.fact.kind().as_str();
        let space = self.subject.space();
        let name = match &self.subject {
            Subject::Space(name) => &name.0,
            Subject::App(name) => &name.app,
            Subject::Service(name) => &name.service,
            Subject::Job(name) => &name.job,
            Subject::Task(name) => &name.app,
        };
        format!("taskplane.v1.{space}.{kind}.{name}.{}", self.fact.as_str())
    }
}

/// A stream outside that keeps what was published: which one it is, and how far it is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMark {
    /// Another one, once it was lost and made again, or has lost something.
    pub incarnation: String,
    /// The place of the last event in it.
    pub last: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_is_found_again_by_kind_and_spelling() {
        for fact in Fact::ALL {
            assert_eq!(Fact::parse(fact.kind(), fact.as_str()), Some(fact));
        }
    }

    #[test]
    fn a_topic_has_six_tokens_whatever_happened_to_whatever() {
        for fact in Fact::ALL {
            let (subject, topic) = match fact.kind() {
                Kind::Space => (Subject::Space("spaces/s".parse().unwrap()), "taskplane.v1.s.space.s"),
                Kind::App => (Subject::App("spaces/s/apps/a-1".parse().unwrap()), "taskplane.v1.s.app.a-1"),
                Kind::Service => {
                    (Subject::Service("spaces/s/services/db".parse().unwrap()), "taskplane.v1.s.service.db")
                }
                Kind::Job => (Subject::Job("spaces/s/jobs/j".parse().unwrap()), "taskplane.v1.s.job.j"),
                Kind::Task => (Subject::Task("spaces/s/apps/a/tasks/7".parse().unwrap()), "taskplane.v1.s.task.a"),
            };
            let (uid, sequence, at) = (Uuid::nil(), 1, Timestamp::UNIX_EPOCH);
            let event = Event { uid, sequence, subject, fact, at, data: EventData::Space, trace: None };
            assert_eq!(event.topic(), format!("{topic}.{}", fact.as_str()));
            assert_eq!(event.topic().split('.').count(), 6);
        }
    }

    #[test]
    fn no_name_smuggles_a_token_in() {
        for name in ["a.b", "*", ">", "a b", "a\r\nb", "$JS.API", "_INBOX", ""] {
            assert!(format!("spaces/{name}").parse::<SpaceName>().is_err(), "{name:?}");
            assert!(format!("spaces/s/apps/{name}").parse::<AppName>().is_err(), "{name:?}");
            assert!(format!("spaces/s/jobs/{name}").parse::<JobName>().is_err(), "{name:?}");
            assert!(format!("spaces/s/services/{name}").parse::<ServiceName>().is_err(), "{name:?}");
        }
    }
}
