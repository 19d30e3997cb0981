//! `docs/EVENTS.md` has an example of every fact, and it is what is really sent.

use jiff::Timestamp;
use serde_json::Value;
use taskplane_bus::conformance::requested;
use taskplane_domain::event::{Event, EventData, Fact, JobSnapshot, Kind, Subject, TaskSnapshot};
use taskplane_domain::job::{JobRun, NominalTick, RunOutcome};
use taskplane_domain::name::TaskName;
use taskplane_domain::task::{Exit, Reason, StateKind, WaitReason};
use taskplane_domain::uid::{ScheduleUid, TaskUid};
use taskplane_proto::cloud_event;
use uuid::Uuid;

const PAGE: &str = include_str!("../../../../docs/EVENTS.md");

fn time(text: &str) -> Timestamp {
    format!("2026-03-29T{text}Z").parse().unwrap()
}

fn uid() -> Uuid {
    "019a2b6e-0000-7000-8000-00000000c0de".parse().unwrap()
}

fn task_name() -> TaskName {
    "spaces/shop/apps/report/tasks/7".parse().unwrap()
}

fn task(fact: Fact) -> EventData {
    let EventData::Task(mut task) = requested("shop", "report", 1).data else { panic!("an event of a Task") };
    (task.id, task.display_name, task.app_revision) = (7, "nightly-report".to_owned(), 3);
    (task.job, task.created_at) = (Some("nightly".parse().unwrap()), time("01:00:00"));
    let exit = |code| Exit { code: Some(code), signal: None };
    let started = Some(time("01:00:02"));
    let over = |task, state, reason, exit| TaskSnapshot {
        state,
        reason,
        exit,
        started_at: started,
        finished_at: Some(time("01:04:00")),
        ..task
    };
    let task = match fact {
        Fact::TaskStarting => TaskSnapshot { state: StateKind::Starting, ..task },
        Fact::TaskWaiting => {
            TaskSnapshot { state: StateKind::Starting, waiting: Some(WaitReason::QuotaExceeded), ..task }
        }
        Fact::TaskStarted | Fact::TaskNoted => TaskSnapshot { state: StateKind::Running, started_at: started, ..task },
        Fact::TaskAttemptFailed => TaskSnapshot { attempt: 2, ..task },
        Fact::TaskCancelRequested | Fact::TaskCancelForced => {
            TaskSnapshot { state: StateKind::Cancelling, started_at: started, ..task }
        }
        Fact::TaskFailed => over(task, StateKind::Failed, Some(Reason::ExitCode), exit(3)),
        Fact::TaskCancelled | Fact::TaskLogDeleteRequested => {
            over(task, StateKind::Cancelled, None, Exit { code: None, signal: Some(15) })
        }
        Fact::TaskSucceeded | Fact::TaskRemoved => over(task, StateKind::Succeeded, None, exit(0)),
        _ => task,
    };
    EventData::Task(task)
}

fn job(fact: Fact) -> EventData {
    let outcome = match fact {
        Fact::JobRunStarted => RunOutcome::Started { uid: TaskUid(uid()), task: task_name() },
        Fact::JobRunSkipped => RunOutcome::SkippedOverlap { live: 1 },
        Fact::JobRunMissed => RunOutcome::Missed { late_seconds: 600 },
        Fact::JobRunRefused => RunOutcome::Refused { why: "the App is gone".to_owned() },
        _ => return EventData::Job(JobSnapshot { run: None }),
    };
    let tick =
        NominalTick { schedule_uid: ScheduleUid(uid()), schedule: "default".parse().unwrap(), at: time("01:00:00") };
    let run = JobRun {
        job: "spaces/shop/jobs/nightly".parse().unwrap(),
        id: 12,
        tick: Some(tick),
        outcome,
        missed: 0,
        at: time("01:00:00"),
    };
    EventData::Job(JobSnapshot { run: Some(run) })
}

fn example(fact: Fact) -> Event {
    let (subject, data) = match fact.kind() {
        Kind::Space => (Subject::Space("spaces/shop".parse().unwrap()), EventData::Space),
        Kind::App => (Subject::App("spaces/shop/apps/report".parse().unwrap()), EventData::App { revision: 3 }),
        Kind::Service => {
            (Subject::Service("spaces/shop/services/db".parse().unwrap()), EventData::Service { revision: 2 })
        }
        Kind::Job => (Subject::Job("spaces/shop/jobs/nightly".parse().unwrap()), job(fact)),
        Kind::Task => (Subject::Task(task_name()), task(fact)),
    };
    Event { uid: uid(), sequence: 2, subject, fact, at: time("01:04:00"), data, trace: None }
}

#[test]
fn every_fact_is_on_the_page_as_it_is_sent() {
    let mut missing = Vec::new();
    for fact in Fact::ALL {
        let event = example(fact);
        let sent: Value = serde_json::from_slice(&cloud_event::to_json(&event).unwrap()).unwrap();
        let (topic, data) = (event.topic(), &sent["data"]);
        let lines: Vec<&str> = PAGE.lines().collect();
        let shown = lines.windows(2).any(|pair| {
            pair[0].starts_with(&format!("// {topic}: "))
                && serde_json::from_str::<Value>(pair[1]).ok().as_ref() == Some(data)
        });
        if !shown {
            missing.push(format!("// {topic}: \n{data}"));
        }
    }
    assert!(missing.is_empty(), "docs/EVENTS.md lacks\n{}", missing.join("\n"));
}

/// A consumer in whatever language reads the page and the contract, and nothing else.
#[test]
fn the_page_names_what_is_sent_with_each_event() {
    let event = Event {
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ..example(Fact::TaskSucceeded)
    };
    let sent: Value = serde_json::from_slice(&cloud_event::to_json(&event).unwrap()).unwrap();
    for attribute in sent.as_object().unwrap().keys().filter(|attribute| *attribute != "data") {
        assert!(PAGE.contains(&format!("| `{attribute}` |")), "{attribute}");
    }
    for header in ["Nats-Msg-Id", "traceparent", "Content-Type"] {
        assert!(PAGE.contains(&format!("| `{header}` |")), "{header}");
    }
}
