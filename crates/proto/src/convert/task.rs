//! Tasks.

use crate::convert::service::binding_to_pb;
use taskplane_domain::app::AppSpec;
use taskplane_domain::app::Command;
use taskplane_domain::env::{self, Env};
use taskplane_domain::event::{Event, EventData, Subject, TaskSnapshot};
use taskplane_domain::frozen::{self, Origin};
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::label;
use taskplane_domain::name::AppName;
use taskplane_domain::task::{
    Attempt, Exit, Outcome, Override, Reason, RetryPolicy, RunTask, StateKind, Task, TaskSpec, TaskState,
};

use crate::convert::app::resources_from_pb;
use crate::convert::space::etag;
use crate::convert::spec::{class_from_pb, class_to_pb};
use crate::convert::time::{duration_from_pb, duration_to_pb, timestamp_to_pb};
use crate::v1 as pb;

const REQUEST_ID_MAX: usize = 128;

impl From<StateKind> for pb::TaskState {
    fn from(state: StateKind) -> Self {
        match state {
            StateKind::Pending => Self::Pending,
            StateKind::Starting => Self::Starting,
            StateKind::Running => Self::Running,
            StateKind::Cancelling => Self::Cancelling,
            StateKind::Succeeded => Self::Succeeded,
            StateKind::Failed => Self::Failed,
            StateKind::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Reason> for pb::Reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::ExitCode => Self::ExitCode,
            Reason::Signalled => Self::Signalled,
            Reason::TimedOut => Self::TimedOut,
            Reason::OutOfMemory => Self::OutOfMemory,
            Reason::DiskQuotaExceeded => Self::DiskQuotaExceeded,
            Reason::Cancelled => Self::Cancelled,
            Reason::Lost => Self::Lost,
            Reason::StartFailed => Self::StartFailed,
            Reason::SourceUnavailable => Self::SourceUnavailable,
            Reason::SourceInvalid => Self::SourceInvalid,
            Reason::InvalidSpec => Self::InvalidSpec,
            Reason::StartDeadline => Self::StartDeadline,
            Reason::SignalledOr255 => Self::SignalledOr255,
            Reason::PodKilled => Self::PodKilled,
            Reason::ImagePull => Self::ImagePull,
            Reason::ConfigMissing => Self::ConfigMissing,
            Reason::PodRejected => Self::PodRejected,
            Reason::PodSecurity => Self::PodSecurity,
            Reason::NodePressure => Self::NodePressure,
            Reason::NodeFailure => Self::NodeFailure,
            Reason::NodeLost => Self::NodeLost,
            Reason::PlatformContainer => Self::PlatformContainer,
            Reason::PlatformUnknown => Self::PlatformUnknown,
            Reason::QuotaExceeded => Self::QuotaExceeded,
            Reason::AccessDenied => Self::AccessDenied,
            Reason::NameCollision => Self::NameCollision,
        }
    }
}

fn reason_number(reason: Option<Reason>) -> i32 {
    reason.map_or(pb::Reason::Unspecified, pb::Reason::from) as i32
}

/// What a Task froze, by name and origin, for its owner.
pub fn frozen_to_pb(task: &Task, space: &Env, app: &AppSpec) -> (Vec<pb::FrozenVariable>, Vec<pb::ServiceBinding>) {
    let origin = |origin| match origin {
        Origin::Space => pb::VariableOrigin::Space,
        Origin::App => pb::VariableOrigin::App,
        Origin::Task => pb::VariableOrigin::Task,
        Origin::Platform => pb::VariableOrigin::Platform,
        Origin::Binding => pb::VariableOrigin::Binding,
    };
    let variables = frozen::variables(space, app, &task.spec);
    let variables = variables.into_iter().map(|(name, from)| pb::FrozenVariable { name, origin: origin(from) as i32 });
    let name = task.name.app_name();
    (variables.collect(), app.services.iter().map(|binding| binding_to_pb(&name, binding)).collect())
}

/// A Task as a client sees it. `ended`: its attempts that are over, for a single Task; none in lists.
pub fn task_to_pb(task: &Task, ended: Option<&[Attempt]>) -> pb::Task {
    let Task {
        uid,
        space_uid: _,
        app_uid: _,
        name,
        display_name,
        state,
        attempt,
        guard: _,
        conditions,
        spec,
        app_revision,
        space_env_revision: _,
        job,
        cluster: _,
        version,
        created_at,
        remove_since,
        delete_log,
        trace: _,
    } = task;
    let TaskSpec { command, env, resources, timeout, retry, labels } = spec;
    let outcome = match state {
        TaskState::Finished { outcome, .. } => Some(outcome),
        _ => None,
    };
    let cancelling = match state {
        TaskState::Cancelling { since, grace, forced_at, .. } => Some((*since, *grace, *forced_at)),
        _ => None,
    };
    // While the next attempt waits, the last one's end is what a person wants to know.
    let last = match state {
        TaskState::Pending { .. } => {
            ended.and_then(<[Attempt]>::last).and_then(|attempt| attempt.end.as_ref()).map(|(_, outcome)| outcome)
        }
        _ => outcome,
    };
    let exit = last.map(Outcome::exit).unwrap_or_default();
    pb::Task {
        name: name.to_string(),
        uid: uid.to_string(),
        id: name.id.cast_signed(),
        display_name: display_name.clone(),
        state: pb::TaskState::from(state.kind()) as i32,
        reason: reason_number(last.and_then(Outcome::reason)),
        message: last.map(Outcome::message).unwrap_or_default().to_owned(),
        exit_code: exit.code,
        signal: exit.signal,
        attempt: attempt.cast_signed(),
        attempts: ended
            .map(|ended| ended.iter().cloned().chain(task.present_attempt()).map(|attempt| (&attempt).into()).collect())
            .unwrap_or_default(),
        command: command.as_str().to_owned(),
        variables: Vec::new(),
        waiting_cause: pb::Cause::Unspecified as i32,
        services: Vec::new(),
        env_names: env.names().into_iter().map(str::to_owned).collect(),
        resources: Some((*resources).into()),
        timeout: timeout.map(duration_to_pb),
        retry_policy: (*retry != RetryPolicy::default()).then(|| retry.into()),
        labels: labels.clone(),
        app_revision: app_revision.cast_signed(),
        job: job.as_ref().map(|job| format!("spaces/{}/jobs/{}", name.space, job.name)).unwrap_or_default(),
        create_time: Some(timestamp_to_pb(*created_at)),
        start_time: state.started_at().map(timestamp_to_pb),
        end_time: state.finished_at().map(timestamp_to_pb),
        next_attempt_time: match state {
            TaskState::Pending { not_before } => not_before.map(timestamp_to_pb),
            _ => None,
        },
        etag: etag(*version),
        schedule: job.as_ref().and_then(|job| job.schedule.as_ref()).map(ToString::to_string).unwrap_or_default(),
        tick_time: job.as_ref().and_then(|job| job.tick).map(timestamp_to_pb),
        delete_time: remove_since.map(timestamp_to_pb),
        // Whoever knows what time it is says so.
        stuck: None,
        cancel_time: cancelling.map(|(since, ..)| timestamp_to_pb(since)),
        cancel_grace: cancelling.and_then(|(_, grace, _)| grace).map(duration_to_pb),
        force_time: cancelling.and_then(|(.., forced_at)| forced_at).map(timestamp_to_pb),
        logs_deleted: *delete_log,
        waiting: match state {
            TaskState::Starting { waiting, .. } => waiting.as_ref().map(Into::into),
            _ => None,
        },
        conditions: conditions.iter().map(Into::into).collect(),
    }
}

impl From<&RetryPolicy> for pb::RetryPolicy {
    fn from(policy: &RetryPolicy) -> Self {
        let RetryPolicy { max_attempts, backoff, retry_on, retry_unknown } = policy;
        Self {
            max_attempts: max_attempts.cast_signed(),
            backoff: Some(duration_to_pb(*backoff)),
            retry_on: retry_on.iter().map(|class| class_to_pb(*class) as i32).collect(),
            retry_unknown: *retry_unknown,
        }
    }
}

impl From<&Attempt> for pb::Attempt {
    fn from(attempt: &Attempt) -> Self {
        let Attempt { number, run: _, made_at, started_at, end } = attempt;
        let outcome = end.as_ref().map(|(_, outcome)| outcome);
        let reason = outcome.and_then(Outcome::reason);
        let exit = outcome.map(Outcome::exit).unwrap_or_default();
        Self {
            number: number.cast_signed(),
            end_state: outcome.map_or(pb::TaskState::Unspecified, |outcome| match outcome {
                Outcome::Succeeded => pb::TaskState::Succeeded,
                Outcome::Failed(_) => pb::TaskState::Failed,
                Outcome::Cancelled { .. } => pb::TaskState::Cancelled,
            }) as i32,
            reason: reason_number(reason),
            reason_class: outcome.and_then(Outcome::class).map_or(pb::ReasonClass::Unspecified, class_to_pb) as i32,
            message: outcome.map(Outcome::message).unwrap_or_default().to_owned(),
            exit_code: exit.code,
            signal: exit.signal,
            create_time: made_at.map(timestamp_to_pb),
            start_time: started_at.map(timestamp_to_pb),
            end_time: end.as_ref().map(|(at, _)| timestamp_to_pb(*at)),
        }
    }
}

/// The Task right after the change that `event` tells of; None when it tells of something else.
pub fn watched_to_pb(event: &Event) -> Option<pb::WatchTasksResponse> {
    let (Subject::Task(name), EventData::Task(snapshot)) = (&event.subject, &event.data) else {
        return None;
    };
    let TaskSnapshot {
        id,
        display_name,
        state,
        reason,
        exit: Exit { code, signal },
        attempt,
        app_revision,
        job,
        created_at,
        started_at,
        finished_at,
        waiting,
    } = snapshot;
    let task = pb::Task {
        name: name.to_string(),
        uid: event.uid.to_string(),
        id: id.cast_signed(),
        display_name: display_name.clone(),
        state: pb::TaskState::from(*state) as i32,
        reason: reason_number(*reason),
        exit_code: *code,
        signal: *signal,
        attempt: attempt.cast_signed(),
        app_revision: app_revision.cast_signed(),
        job: job.as_ref().map(|job| format!("spaces/{}/jobs/{job}", name.space)).unwrap_or_default(),
        create_time: Some(timestamp_to_pb(*created_at)),
        start_time: started_at.map(timestamp_to_pb),
        end_time: finished_at.map(timestamp_to_pb),
        etag: etag(event.sequence),
        waiting: waiting
            .map(|reason| pb::Waiting { reason: pb::WaitReason::from(reason) as i32, ..pb::Waiting::default() }),
        ..pb::Task::default()
    };
    Some(pb::WatchTasksResponse {
        task: Some(task),
        fact: event.fact.as_str().to_owned(),
        sequence: event.sequence.cast_signed(),
        resume_token: String::new(),
    })
}

/// Everything that is wrong with a request at once.
pub fn run_task_from_pb(request: pb::RunTaskRequest) -> Result<RunTask, Invalid> {
    let pb::RunTaskRequest { parent, command, display_name, resources, env, timeout, retry_policy, labels, request_id } =
        request;
    let mut check = Check::new();
    let app = check.field("parent", parent.parse::<AppName>());
    let command = check.all(Command::parse("command", command)).flatten();
    check.all(RunTask::check_display_name(&display_name));
    let resources = check.all(resources_from_pb("resources", resources));
    let env = check.all(Env::parse("env", env, env::TASK_MAX));
    let timeout = match timeout.as_ref().map(duration_from_pb) {
        None => None,
        Some(None) => {
            check.refuse("timeout", "must be more than 0 and at most 365 days");
            None
        }
        Some(Some(timeout)) => check.all(RunTask::check_timeout(timeout)).map(|()| timeout),
    };
    let retry = match retry_policy {
        None => Some(RetryPolicy::default()),
        Some(policy) => check.all(retry_from_pb(policy)),
    };
    let labels = check.all(label::parse("labels", labels));
    let request_id = request_id_from_pb(&mut check, request_id);
    check.finish()?;
    let (Some(app), Some(resources), Some(env), Some(retry), Some(labels)) = (app, resources, env, retry, labels)
    else {
        return Err(Invalid::one("request", "is incomplete"));
    };
    Ok(RunTask {
        app,
        display_name: Some(display_name).filter(|text| !text.is_empty()),
        overrides: Override { command, env, resources },
        timeout,
        retry,
        labels,
        request_id,
    })
}

pub(super) fn request_id_from_pb(check: &mut Check, request_id: String) -> Option<String> {
    if request_id.len() > REQUEST_ID_MAX || request_id.chars().any(char::is_control) {
        check.refuse("request_id", format!("must be at most {REQUEST_ID_MAX} characters, without control characters"));
    }
    Some(request_id).filter(|text| !text.is_empty())
}

pub(super) fn retry_from_pb(policy: pb::RetryPolicy) -> Result<RetryPolicy, Invalid> {
    let pb::RetryPolicy { max_attempts, backoff, retry_on, retry_unknown } = policy;
    let mut check = Check::new();
    let backoff = match backoff.as_ref().map(duration_from_pb) {
        Some(None) => {
            check.refuse("retry_policy.backoff", "must be between 0 and 1h");
            None
        }
        known => known.flatten(),
    };
    let classes: Option<Vec<_>> =
        retry_on.iter().map(|number| pb::ReasonClass::try_from(*number).ok().and_then(class_from_pb)).collect();
    if classes.is_none() {
        check.refuse("retry_policy.retry_on", "must hold only USER, INFRASTRUCTURE and CONFIGURATION");
    }
    let policy =
        check.all(RetryPolicy::parse(max_attempts.into(), backoff, classes.unwrap_or_default(), retry_unknown));
    check.finish_with(policy)
}
