//! Events, as the feed and the bus show them.

use taskplane_domain::event::{Event, EventData, Fact, JobSnapshot, Kind, Subject, TaskSnapshot};
use taskplane_domain::job::{JobRun, NominalTick, RunOutcome};
use taskplane_domain::name::JobName;
use taskplane_domain::task::{Exit, Reason, StateKind, WaitReason};
use taskplane_domain::uid::{ScheduleUid, TaskUid};

use crate::convert::time::{timestamp_from_pb, timestamp_to_pb};
use crate::event::v1 as pb;

/// An event that does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {0} of the event is missing or malformed")]
pub struct BadEvent(pub &'static str);

impl From<&Event> for pb::Event {
    fn from(event: &Event) -> Self {
        let Event { uid, sequence, subject, fact, at, data, trace: _ } = event;
        let data = match data {
            EventData::Space => pb::event::Data::Space(pb::SpaceData {}),
            EventData::App { revision } => pb::event::Data::App(pb::AppData { revision: revision.cast_signed() }),
            EventData::Service { revision } => {
                pb::event::Data::Service(pb::ServiceData { revision: revision.cast_signed() })
            }
            EventData::Job(JobSnapshot { run }) => {
                pb::event::Data::Job(run.as_ref().map(Into::into).unwrap_or_default())
            }
            EventData::Task(snapshot) => pb::event::Data::Task(snapshot.into()),
        };
        Self {
            id: event.id(),
            uid: uid.to_string(),
            sequence: sequence.cast_signed(),
            subject: subject.to_string(),
            fact: fact.as_str().to_owned(),
            time: Some(timestamp_to_pb(*at)),
            data: Some(data),
        }
    }
}

impl From<&TaskSnapshot> for pb::TaskData {
    fn from(snapshot: &TaskSnapshot) -> Self {
        let TaskSnapshot {
            id,
            display_name,
            state,
            reason,
            exit,
            attempt,
            app_revision,
            job,
            created_at,
            started_at,
            finished_at,
            waiting,
        } = snapshot;
        Self {
            id: id.cast_signed(),
            display_name: display_name.clone(),
            state: state.as_str().to_owned(),
            reason: reason.map(Reason::as_str).unwrap_or_default().to_owned(),
            exit_code: exit.code,
            signal: exit.signal,
            attempt: attempt.cast_signed(),
            app_revision: app_revision.cast_signed(),
            job: job.as_ref().map(ToString::to_string).unwrap_or_default(),
            create_time: Some(timestamp_to_pb(*created_at)),
            start_time: started_at.map(timestamp_to_pb),
            end_time: finished_at.map(timestamp_to_pb),
            waiting: waiting.map(WaitReason::as_str).unwrap_or_default().to_owned(),
        }
    }
}

impl From<&JobRun> for pb::JobData {
    fn from(run: &JobRun) -> Self {
        let JobRun { job: _, id, tick, outcome, missed, at: _ } = run;
        let started = match outcome {
            RunOutcome::Started { uid, task } => Some((uid, task)),
            RunOutcome::SkippedOverlap { .. }
            | RunOutcome::Superseded { .. }
            | RunOutcome::Missed { .. }
            | RunOutcome::Refused { .. }
            | RunOutcome::Told { .. } => None,
        };
        Self {
            run: id.cast_signed(),
            schedule: tick.as_ref().map(|tick| tick.schedule.to_string()).unwrap_or_default(),
            schedule_uid: tick.as_ref().map(|tick| tick.schedule_uid.to_string()).unwrap_or_default(),
            tick_time: tick.as_ref().map(|tick| timestamp_to_pb(tick.at)),
            outcome: outcome.as_str().to_owned(),
            message: outcome.message(),
            task: started.map(|(_, task)| task.to_string()).unwrap_or_default(),
            task_uid: started.map(|(uid, _)| uid.to_string()).unwrap_or_default(),
            missed_count: missed.cast_signed(),
        }
    }
}

/// A ledger entry as an event kept it; none when the event was not about one.
fn run_from_pb(job: &JobName, data: pb::JobData, at: jiff::Timestamp) -> Result<Option<JobRun>, BadEvent> {
    let pb::JobData { run, schedule, schedule_uid, tick_time, outcome, message, task, task_uid, missed_count } = data;
    if run == 0 {
        return Ok(None);
    }
    let tick = match tick_time.as_ref().map(timestamp_from_pb) {
        None => None,
        Some(None) => return Err(BadEvent("tick_time")),
        Some(Some(at)) => Some(NominalTick {
            schedule_uid: ScheduleUid(schedule_uid.parse().map_err(|_| BadEvent("schedule_uid"))?),
            schedule: schedule.parse().map_err(|_| BadEvent("schedule"))?,
            at,
        }),
    };
    let outcome = if outcome == "STARTED" {
        RunOutcome::Started {
            uid: TaskUid(task_uid.parse().map_err(|_| BadEvent("task_uid"))?),
            task: task.parse().map_err(|_| BadEvent("task"))?,
        }
    } else {
        RunOutcome::stored(&outcome, message).ok_or(BadEvent("outcome"))?
    };
    Ok(Some(JobRun {
        job: job.clone(),
        id: run.cast_unsigned(),
        tick,
        outcome,
        missed: missed_count.cast_unsigned(),
        at,
    }))
}

impl TryFrom<pb::Event> for Event {
    type Error = BadEvent;

    /// The way back, for rows: whatever was written comes back the same, but for the trace, which has a column of its own.
    fn try_from(event: pb::Event) -> Result<Self, BadEvent> {
        let pb::Event { id: _, uid, sequence, subject, fact, time, data } = event;
        let at = time.as_ref().and_then(timestamp_from_pb).ok_or(BadEvent("time"))?;
        let (kind, subject, data) = match data.ok_or(BadEvent("data"))? {
            pb::event::Data::Space(pb::SpaceData {}) => {
                (Kind::Space, Subject::Space(subject.parse().map_err(|_| BadEvent("subject"))?), EventData::Space)
            }
            pb::event::Data::App(pb::AppData { revision }) => {
                let data = EventData::App { revision: revision.cast_unsigned() };
                (Kind::App, Subject::App(subject.parse().map_err(|_| BadEvent("subject"))?), data)
            }
            pb::event::Data::Service(pb::ServiceData { revision }) => {
                let data = EventData::Service { revision: revision.cast_unsigned() };
                (Kind::Service, Subject::Service(subject.parse().map_err(|_| BadEvent("subject"))?), data)
            }
            pb::event::Data::Job(data) => {
                let name: JobName = subject.parse().map_err(|_| BadEvent("subject"))?;
                let run = run_from_pb(&name, data, at)?;
                (Kind::Job, Subject::Job(name), EventData::Job(JobSnapshot { run }))
            }
            pb::event::Data::Task(data) => (
                Kind::Task,
                Subject::Task(subject.parse().map_err(|_| BadEvent("subject"))?),
                EventData::Task(data.try_into()?),
            ),
        };
        Ok(Self {
            uid: uid.parse().map_err(|_| BadEvent("uid"))?,
            sequence: sequence.cast_unsigned(),
            subject,
            fact: Fact::parse(kind, &fact).ok_or(BadEvent("fact"))?,
            at,
            data,
            trace: None,
        })
    }
}

impl TryFrom<pb::TaskData> for TaskSnapshot {
    type Error = BadEvent;

    fn try_from(data: pb::TaskData) -> Result<Self, BadEvent> {
        let pb::TaskData {
            id,
            display_name,
            state,
            reason,
            exit_code,
            signal,
            attempt,
            app_revision,
            job,
            create_time,
            start_time,
            end_time,
            waiting,
        } = data;
        Ok(Self {
            id: id.cast_unsigned(),
            display_name,
            state: StateKind::parse(&state).ok_or(BadEvent("state"))?,
            reason: if reason.is_empty() { None } else { Some(Reason::parse(&reason).ok_or(BadEvent("reason"))?) },
            exit: Exit { code: exit_code, signal },
            attempt: attempt.cast_unsigned(),
            app_revision: app_revision.cast_unsigned(),
            job: if job.is_empty() { None } else { Some(job.parse().map_err(|_| BadEvent("job"))?) },
            created_at: create_time.as_ref().and_then(timestamp_from_pb).ok_or(BadEvent("create_time"))?,
            started_at: start_time.as_ref().and_then(timestamp_from_pb),
            finished_at: end_time.as_ref().and_then(timestamp_from_pb),
            waiting: if waiting.is_empty() {
                None
            } else {
                Some(WaitReason::parse(&waiting).ok_or(BadEvent("waiting"))?)
            },
        })
    }
}
