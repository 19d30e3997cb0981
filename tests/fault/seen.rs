//! Answers of the API, in the words of the history.

use taskplane_proto::event::v1::event::Data;
use taskplane_proto::event::v1::{Event, JobData, TaskData};
use taskplane_proto::v1 as pb;

use crate::history::{Change, EventSeen, JobSeen, RunFact, RunSeen, TaskFact, TaskSeen};

/// An etag says which version it is about; clients are told not to look.
fn version(etag: &str) -> u64 {
    u64::from_str_radix(etag.trim_matches('"'), 16).unwrap_or_else(|_| panic!("{etag} is no etag"))
}

fn without<'t>(prefix: &str, text: &'t str) -> &'t str {
    text.strip_prefix(prefix).unwrap()
}

fn state(task: &pb::Task) -> String {
    without("TASK_STATE_", task.state().as_str_name()).to_owned()
}

fn reason(task: &pb::Task) -> String {
    without("REASON_", task.reason().as_str_name()).replace("UNSPECIFIED", "")
}

pub fn task(task: &pb::Task) -> TaskSeen {
    TaskSeen {
        uid: task.uid.clone(),
        task: task.name.clone(),
        display_name: task.display_name.clone(),
        version: version(&task.etag),
        state: state(task),
        reason: reason(task),
        attempt: task.attempt.cast_unsigned(),
        job: task.job.clone(),
        schedule: task.schedule.clone(),
        tick: task.tick_time.map(|tick| tick.seconds),
        stuck: task.stuck.is_some(),
    }
}

pub fn job(job: &pb::Job) -> JobSeen {
    JobSeen {
        uid: job.uid.clone(),
        job: job.name.clone(),
        etag: job.etag.clone(),
        version: version(&job.etag),
        command: job.template.as_ref().map(|template| template.command.clone()).unwrap_or_default(),
        deleting: job.state() == pb::JobState::Deleting,
        schedule: job.schedules.first().map(|schedule| (schedule.name.clone(), schedule.etag.clone())),
    }
}

pub fn run(run: &pb::JobRun) -> RunSeen {
    RunSeen {
        run: run.name.clone(),
        schedule: run.schedule.clone(),
        tick: run.tick_time.map(|tick| tick.seconds),
        outcome: without("RUN_OUTCOME_", run.outcome().as_str_name()).to_owned(),
        task: run.task.clone(),
    }
}

pub fn event(event: Event) -> EventSeen {
    let Event { id: _, uid, sequence, subject, fact, time: _, data } = event;
    let task = match &data {
        Some(Data::Task(task)) => Some(task_fact(task)),
        _ => None,
    };
    let run = match &data {
        Some(Data::Job(job)) if job.run > 0 => Some(run_fact(job)),
        _ => None,
    };
    EventSeen { uid, sequence: sequence.cast_unsigned(), subject, fact, task, run }
}

fn task_fact(task: &TaskData) -> TaskFact {
    TaskFact {
        id: task.id.cast_unsigned(),
        display_name: task.display_name.clone(),
        state: task.state.clone(),
        reason: task.reason.clone(),
        attempt: task.attempt.cast_unsigned(),
        job: task.job.clone(),
    }
}

fn run_fact(job: &JobData) -> RunFact {
    RunFact {
        schedule_uid: job.schedule_uid.clone(),
        tick: job.tick_time.map(|tick| tick.seconds),
        outcome: job.outcome.clone(),
        task_uid: job.task_uid.clone(),
    }
}

pub fn change(response: &pb::WatchTasksResponse) -> Change {
    let task = response.task.as_ref().unwrap();
    Change {
        uid: task.uid.clone(),
        sequence: response.sequence.cast_unsigned(),
        fact: response.fact.clone(),
        state: state(task),
        reason: reason(task),
    }
}
