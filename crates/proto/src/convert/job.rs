//! Jobs, their schedules, and the ledger of their runs.

use std::time::Duration;

use jiff::Timestamp;
use taskplane_domain::app::Command;
use taskplane_domain::env::{self, Env};
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::job::{
    ConcurrencyPolicy, HeldTick, Job, JobRun, JobState, Plan, RunJob, RunOutcome, Schedule, TaskTemplate,
};
use taskplane_domain::label;
use taskplane_domain::task::{RetryPolicy, RunTask};

use crate::convert::app::resources_from_pb;
use crate::convert::plan::{plan_from_pb, plan_to_pb};
use crate::convert::space::etag;
use crate::convert::spec::{BadSpec, millis};
use crate::convert::task::{request_id_from_pb, retry_from_pb};
use crate::convert::time::{duration_from_pb, duration_to_pb, timestamp_to_pb};
use crate::internal::v1 as internal;
use crate::v1 as pb;

/// A Job with its schedules, as a client sees it.
pub fn job_to_pb(job: &Job, schedules: &[Schedule], live: u32) -> pb::Job {
    let Job {
        uid,
        space_uid: _,
        app_uid: _,
        name,
        app,
        template,
        policy,
        state,
        version,
        sequence: _,
        created_at,
        updated_at,
    } = job;
    let fires = state.fires();
    let next: Option<Timestamp> = schedules.iter().filter_map(|schedule| schedule.next).min();
    let last = schedules.iter().filter_map(|schedule| schedule.last_tick).max();
    let (state, note) = match state {
        JobState::Active => (pb::JobState::Active, ""),
        JobState::Paused { note } => (pb::JobState::Paused, note.as_str()),
        JobState::Deleting { .. } => (pb::JobState::Deleting, ""),
    };
    pb::Job {
        name: name.to_string(),
        uid: uid.to_string(),
        app: app.to_string(),
        template: Some(template.into()),
        concurrency_policy: match policy {
            ConcurrencyPolicy::Always => pb::ConcurrencyPolicy::Always,
            ConcurrencyPolicy::Forbid => pb::ConcurrencyPolicy::Forbid,
            ConcurrencyPolicy::Replace => pb::ConcurrencyPolicy::Replace,
        } as i32,
        state: state as i32,
        pause_note: note.to_owned(),
        next_tick_time: next.map(timestamp_to_pb),
        last_tick_time: last.map(timestamp_to_pb),
        schedules: schedules.iter().map(|schedule| schedule_to_pb(schedule, fires)).collect(),
        live_task_count: live.cast_signed(),
        create_time: Some(timestamp_to_pb(*created_at)),
        update_time: Some(timestamp_to_pb(*updated_at)),
        etag: etag(*version),
        remains: None,
    }
}

impl From<&TaskTemplate> for pb::TaskTemplate {
    fn from(template: &TaskTemplate) -> Self {
        let TaskTemplate { command, env, resources, timeout, retry, labels } = template;
        Self {
            command: command.as_ref().map(|command| command.as_str().to_owned()).unwrap_or_default(),
            resources: Some((*resources).into()),
            env: Default::default(),
            env_names: env.names().map(str::to_owned).collect(),
            timeout: timeout.map(duration_to_pb),
            retry_policy: (*retry != RetryPolicy::default()).then(|| retry.into()),
            labels: labels.clone(),
        }
    }
}

/// `fires`: whether its Job does.
pub fn schedule_to_pb(schedule: &Schedule, fires: bool) -> pb::Schedule {
    let Schedule { uid, job_uid: _, name, plan, suspended, mark: _, next, last_tick, version, created_at, updated_at } =
        schedule;
    let state = if plan.recurrence.cron.is_never() {
        pb::ScheduleState::Never
    } else if *suspended || !fires {
        pb::ScheduleState::Suspended
    } else {
        pb::ScheduleState::Active
    };
    pb::Schedule {
        name: name.to_string(),
        uid: uid.to_string(),
        suspended: *suspended,
        state: state as i32,
        next_tick_time: next.map(timestamp_to_pb),
        last_tick_time: last_tick.map(timestamp_to_pb),
        create_time: Some(timestamp_to_pb(*created_at)),
        update_time: Some(timestamp_to_pb(*updated_at)),
        etag: etag(*version),
        ..plan_to_pb(plan)
    }
}

pub fn held_tick_to_pb(held: HeldTick, why: &str) -> pb::HeldTick {
    let HeldTick { tick, retry_at } = held;
    pb::HeldTick {
        tick_time: Some(timestamp_to_pb(tick)),
        retry_time: Some(timestamp_to_pb(retry_at)),
        message: why.to_owned(),
    }
}

fn template_from_pb(template: pb::TaskTemplate) -> Result<TaskTemplate, Invalid> {
    let pb::TaskTemplate { command, resources, env, env_names: _, timeout, retry_policy, labels } = template;
    let mut check = Check::new();
    let command = check.all(Command::parse("job.template.command", command)).flatten();
    let resources = check.all(resources_from_pb("job.template.resources", resources));
    let env = check.all(Env::parse("job.template.env", env, env::TASK_MAX));
    let timeout = timeout_from_pb(&mut check, "job.template.timeout", timeout);
    let retry = retry_policy.map_or(Some(RetryPolicy::default()), |policy| check.all(retry_from_pb(policy)));
    let labels = check.all(label::parse("job.template.labels", labels));
    check.finish()?;
    let (Some(resources), Some(env), Some(retry), Some(labels)) = (resources, env, retry, labels) else {
        return Err(Invalid::one("job.template", "is incomplete"));
    };
    Ok(TaskTemplate { command, env, resources, timeout, retry, labels })
}

fn timeout_from_pb(check: &mut Check, field: &str, timeout: Option<prost_types::Duration>) -> Option<Duration> {
    let timeout = duration_from_pb(&timeout?);
    let fine = timeout.filter(|timeout| RunTask::check_timeout(*timeout).is_ok());
    if fine.is_none() {
        check.refuse(field, "must be more than 0 and at most 365 days");
    }
    fine
}

/// What a request says of a Job.
pub fn job_asked(job: pb::Job) -> Result<(TaskTemplate, ConcurrencyPolicy), Invalid> {
    let mut check = Check::new();
    let template = check.all(template_from_pb(job.template.unwrap_or_default()));
    let policy = match pb::ConcurrencyPolicy::try_from(job.concurrency_policy) {
        Ok(pb::ConcurrencyPolicy::Unspecified | pb::ConcurrencyPolicy::Always) => Some(ConcurrencyPolicy::Always),
        Ok(pb::ConcurrencyPolicy::Forbid) => Some(ConcurrencyPolicy::Forbid),
        Ok(pb::ConcurrencyPolicy::Replace) => Some(ConcurrencyPolicy::Replace),
        Err(_) => {
            check.refuse("job.concurrency_policy", "must be ALWAYS, FORBID or REPLACE");
            None
        }
    };
    check.finish_with(template.zip(policy))
}

/// `job`, with the fields that `mask` names taken from what was asked.
pub fn job_template_masked(
    job: &Job,
    (template, policy): (TaskTemplate, ConcurrencyPolicy),
    mask: Option<&prost_types::FieldMask>,
) -> Result<(TaskTemplate, ConcurrencyPolicy), Invalid> {
    const FIELDS: &str = "concurrency_policy, template, template.command, template.resources, template.env, template.timeout, \
                          template.retry_policy, template.labels";
    let mut check = Check::new();
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        check.refuse("update_mask", format!("must name what to change: {FIELDS}"));
    }
    let mut after = (job.template.clone(), job.policy);
    for path in paths {
        match path.as_str() {
            "concurrency_policy" => after.1 = policy,
            "template" => after.0 = template.clone(),
            "template.command" => after.0.command = template.command.clone(),
            "template.resources" => after.0.resources = template.resources,
            "template.env" => after.0.env = template.env.clone(),
            "template.timeout" => after.0.timeout = template.timeout,
            "template.retry_policy" => after.0.retry = template.retry.clone(),
            "template.labels" => after.0.labels = template.labels.clone(),
            _ => check.refuse("update_mask", format!("can only name {FIELDS}")),
        }
    }
    check.finish_with(Some(after))
}

/// What a request says of a schedule.
pub fn schedule_asked(prefix: &str, schedule: &pb::Schedule) -> Result<(Plan, bool), Invalid> {
    Ok((plan_from_pb(prefix, schedule)?, schedule.suspended))
}

/// `before`, with the fields that `mask` names taken from `asked`.
pub fn schedule_masked(
    before: &Schedule,
    asked: &pb::Schedule,
    mask: Option<&prost_types::FieldMask>,
) -> Result<(Plan, bool), Invalid> {
    const FIELDS: &str = "cron, time_zone, gap, overlap, starting_deadline, suspended";
    let mut check = Check::new();
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        check.refuse("update_mask", format!("must name what to change: {FIELDS}"));
    }
    let mut after = pb::Schedule { suspended: before.suspended, ..plan_to_pb(&before.plan) };
    for path in paths {
        match path.as_str() {
            "cron" => after.cron = asked.cron.clone(),
            "time_zone" => after.time_zone = asked.time_zone.clone(),
            "gap" => after.gap = asked.gap,
            "overlap" => after.overlap = asked.overlap,
            "starting_deadline" => after.starting_deadline = asked.starting_deadline,
            "suspended" => after.suspended = asked.suspended,
            _ => check.refuse("update_mask", format!("can only name {FIELDS}")),
        }
    }
    check.finish()?;
    schedule_asked("schedule.", &after)
}

/// Everything that is wrong with a request at once.
pub fn run_job_from_pb(request: pb::RunJobRequest) -> Result<RunJob, Invalid> {
    let pb::RunJobRequest { name: _, command, display_name, resources, env, timeout, retry_policy, labels, request_id } =
        request;
    let mut check = Check::new();
    let command = check.all(Command::parse("command", command)).flatten();
    check.all(RunTask::check_display_name(&display_name));
    let resources = check.all(resources_from_pb("resources", resources)).unwrap_or_default();
    let env = check.all(Env::parse("env", env, env::TASK_MAX)).unwrap_or_default();
    let timeout = timeout_from_pb(&mut check, "timeout", timeout);
    let retry = retry_policy.and_then(|policy| check.all(retry_from_pb(policy)));
    let labels = check.all(label::parse("labels", labels)).unwrap_or_default();
    let request_id = request_id_from_pb(&mut check, request_id);
    check.finish()?;
    let display_name = Some(display_name).filter(|text| !text.is_empty());
    Ok(RunJob { command, display_name, env, resources, timeout, retry, labels, request_id })
}

pub fn job_run_to_pb(run: &JobRun) -> pb::JobRun {
    let JobRun { job, id, tick, outcome, missed, at } = run;
    pb::JobRun {
        name: format!("{job}/runs/{id}"),
        schedule: tick.as_ref().map(|tick| job.schedule(tick.schedule.clone()).to_string()).unwrap_or_default(),
        tick_time: tick.as_ref().map(|tick| timestamp_to_pb(tick.at)),
        outcome: pb::RunOutcome::from_str_name(&format!("RUN_OUTCOME_{}", outcome.as_str())).unwrap_or_default() as i32,
        message: outcome.message(),
        task: match outcome {
            RunOutcome::Started { task, .. } => task.to_string(),
            RunOutcome::SkippedOverlap { .. }
            | RunOutcome::Superseded { .. }
            | RunOutcome::Missed { .. }
            | RunOutcome::Refused { .. }
            | RunOutcome::Told { .. } => String::new(),
        },
        missed_count: missed.cast_signed(),
        create_time: Some(timestamp_to_pb(*at)),
    }
}

impl From<&TaskTemplate> for internal::JobTemplate {
    fn from(template: &TaskTemplate) -> Self {
        let TaskTemplate { command, env, resources, timeout, retry, labels } = template;
        Self {
            command: command.as_ref().map(|command| command.as_str().to_owned()),
            env: Some(env.into()),
            resources: Some((*resources).into()),
            timeout_millis: timeout.map(millis),
            retry: Some(retry.into()),
            labels: labels.clone(),
        }
    }
}

impl TryFrom<internal::JobTemplate> for TaskTemplate {
    type Error = BadSpec;

    fn try_from(template: internal::JobTemplate) -> Result<Self, BadSpec> {
        let internal::JobTemplate { command, env, resources, timeout_millis, retry, labels } = template;
        Ok(Self {
            command: command.map(Command::stored),
            env: env.unwrap_or_default().try_into()?,
            resources: resources.unwrap_or_default().try_into()?,
            timeout: timeout_millis.map(Duration::from_millis),
            retry: retry.ok_or(BadSpec("retry"))?.try_into()?,
            labels,
        })
    }
}
