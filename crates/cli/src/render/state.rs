//! The words for where a Task or a Job stands.

use taskplane_proto::v1::{
    Cause, ConcurrencyPolicy, ConditionStatus, Job, JobState, Reason, RunOutcome, Schedule, ScheduleState, StuckReason,
    Task, TaskState, WaitReason,
};

/// Whether a Task has come to its end.
pub fn is_over(state: TaskState) -> bool {
    match state {
        TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled => true,
        TaskState::Unspecified
        | TaskState::Pending
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Cancelling => false,
    }
}

/// kf's condition: what is not over is neither true nor false.
pub fn succeeded(state: TaskState) -> &'static str {
    match state {
        TaskState::Succeeded => "True",
        TaskState::Failed | TaskState::Cancelled => "False",
        TaskState::Unspecified
        | TaskState::Pending
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Cancelling => "Unknown",
    }
}

/// Why a Task ended or, before that, where it stands and what it waits for.
pub fn reason(task: &Task) -> String {
    let named = match task.waiting_cause() {
        Cause::Unspecified if is_over(task.state()) => reason_name(task.reason()),
        Cause::Unspecified => None,
        cause => Some(format!("{} ({})", state_name(task.state()), cause_name(cause))),
    };
    let named = named.unwrap_or_else(|| state_name(task.state()));
    let waits = task.waiting.as_ref().map(|waiting| wait_name(waiting.reason()));
    match (task.stuck.is_some(), waits) {
        (true, _) => format!("{named} (stuck)"),
        (false, Some(waits)) => format!("{named} ({waits})"),
        (false, None) => named,
    }
}

pub fn reason_name(reason: Reason) -> Option<String> {
    (reason != Reason::Unspecified).then(|| camel(reason.as_str_name(), "REASON_"))
}

pub fn wait_name(reason: WaitReason) -> String {
    camel(reason.as_str_name(), "WAIT_REASON_")
}

pub fn condition_status(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unspecified | ConditionStatus::Unknown => "Unknown",
    }
}

pub fn stuck_name(reason: StuckReason) -> String {
    camel(reason.as_str_name(), "STUCK_REASON_")
}

pub fn cause_name(cause: Cause) -> String {
    camel(cause.as_str_name(), "CAUSE_")
}

pub fn state_name(state: TaskState) -> String {
    match state {
        TaskState::Unspecified => "Unknown".to_owned(),
        known => camel(known.as_str_name(), "TASK_STATE_"),
    }
}

/// Whether a schedule is held back, by itself or with its Job.
pub fn is_suspended(job: &Job, schedule: &Schedule) -> bool {
    schedule.suspended || job.state() != JobState::Active
}

/// kf's condition: whether the Job can be run.
pub fn job_ready(job: &Job) -> &'static str {
    match job.state() {
        JobState::Active | JobState::Paused => "True",
        JobState::Deleting => "False",
        JobState::Unspecified => "Unknown",
    }
}

/// Why a Job fires, or why it does not.
pub fn job_reason(job: &Job) -> &'static str {
    let never = |schedule: &Schedule| schedule.state() == ScheduleState::Never;
    let on: Vec<&Schedule> = job.schedules.iter().filter(|schedule| !schedule.suspended).collect();
    match job.state() {
        JobState::Unspecified => "Unknown",
        JobState::Deleting => "Deleting",
        JobState::Paused => "Paused",
        JobState::Active if job.schedules.is_empty() => "Unscheduled",
        JobState::Active if on.is_empty() => "Suspended",
        JobState::Active if on.iter().copied().all(never) => "NeverFires",
        JobState::Active if on.iter().any(|schedule| schedule.held_tick.is_some()) => "Held",
        JobState::Active => "Active",
    }
}

/// The same for one of its schedules.
pub fn schedule_reason(job: &Job, schedule: &Schedule) -> &'static str {
    match job.state() {
        JobState::Active if schedule.suspended => "Suspended",
        JobState::Active if schedule.state() == ScheduleState::Never => "NeverFires",
        JobState::Active if schedule.held_tick.is_some() => "Held",
        JobState::Active => "Active",
        JobState::Unspecified | JobState::Deleting | JobState::Paused => job_reason(job),
    }
}

pub fn policy_name(policy: ConcurrencyPolicy) -> String {
    match policy {
        ConcurrencyPolicy::Unspecified => "Always".to_owned(),
        known => camel(known.as_str_name(), "CONCURRENCY_POLICY_"),
    }
}

pub fn outcome_name(outcome: RunOutcome) -> String {
    match outcome {
        RunOutcome::Unspecified => "Unknown".to_owned(),
        known => camel(known.as_str_name(), "RUN_OUTCOME_"),
    }
}

/// `REASON_OUT_OF_MEMORY` as `OutOfMemory`.
fn camel(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .split('_')
        .map(|word| word[..1].to_owned() + &word[1..].to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use taskplane_proto::v1::{HeldTick, Stuck, Waiting};

    use super::*;

    #[test]
    fn reasons_are_in_camel_case() {
        assert_eq!(camel("REASON_OUT_OF_MEMORY", "REASON_"), "OutOfMemory");
        assert_eq!(state_name(TaskState::Cancelling), "Cancelling");
        assert_eq!(outcome_name(RunOutcome::SkippedOverlap), "SkippedOverlap");
        assert_eq!(policy_name(ConcurrencyPolicy::Forbid), "Forbid");
    }

    #[test]
    fn a_task_says_what_it_waits_for() {
        let task = |state: TaskState, cause: Cause| Task {
            state: state.into(),
            waiting_cause: cause.into(),
            reason: Reason::ExitCode.into(),
            ..Task::default()
        };
        for (state, cause, told) in [
            (TaskState::Pending, Cause::HeldByRunningQuota, "Pending (HeldByRunningQuota)"),
            (TaskState::Pending, Cause::Unspecified, "Pending"),
            (TaskState::Running, Cause::Unspecified, "Running"),
            (TaskState::Failed, Cause::Unspecified, "ExitCode"),
        ] {
            assert_eq!(reason(&task(state, cause)), told);
        }
    }

    #[test]
    fn a_task_that_starts_says_what_it_waits_for() {
        let waiting = Waiting { reason: WaitReason::QuotaExceeded.into(), ..Waiting::default() };
        let mut task = Task { state: TaskState::Starting.into(), waiting: Some(waiting), ..Task::default() };
        assert_eq!(reason(&task), "Starting (QuotaExceeded)");
        task.stuck = Some(Stuck::default());
        assert_eq!(reason(&task), "Starting (stuck)");
    }

    #[test]
    fn a_job_says_why_it_does_not_fire() {
        let schedule =
            |suspended, state: ScheduleState| Schedule { suspended, state: state.into(), ..Schedule::default() };
        let job = |state: JobState, schedules| Job { state: state.into(), schedules, ..Job::default() };
        let (active, never) = (schedule(false, ScheduleState::Active), schedule(false, ScheduleState::Never));
        let suspended = schedule(true, ScheduleState::Suspended);
        let held = Schedule { held_tick: Some(HeldTick::default()), ..active.clone() };
        for (job, reason) in [
            (job(JobState::Active, vec![]), "Unscheduled"),
            (job(JobState::Active, vec![suspended.clone(), active.clone(), never.clone()]), "Active"),
            (job(JobState::Active, vec![suspended.clone(), never]), "NeverFires"),
            (job(JobState::Active, vec![suspended]), "Suspended"),
            (job(JobState::Paused, vec![active.clone()]), "Paused"),
            (job(JobState::Deleting, vec![]), "Deleting"),
            (job(JobState::Active, vec![held, active.clone()]), "Held"),
        ] {
            assert_eq!(job_reason(&job), reason);
        }
        assert_eq!(schedule_reason(&job(JobState::Paused, vec![]), &active), "Paused");
    }
}
