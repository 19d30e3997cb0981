//! A tick: what becomes of a Job's schedules that have fallen due. No clock, no database; `now` is the database's time.

use jiff::Timestamp;

use super::ledger::NominalTick;
use super::plan::{Starting, seconds};
use super::{ConcurrencyPolicy, Job, JobChange, JobRun, RunJob, RunOutcome, Schedule, ScheduleChange};
use crate::app::App;
use crate::name::Name;
use crate::space::Space;
use crate::standing::Standing;
use crate::task::{Birth, JobRef, Task};
use crate::uid::TaskUid;

/// A Job with schedules due, and everything that bears on what becomes of them. Its row is locked.
#[derive(Debug, Clone)]
pub struct DueJob {
    pub job: Job,
    pub app: App,
    pub space: Space,
    pub cluster: Name,
    /// Those that have fallen due.
    pub schedules: Vec<Schedule>,
    /// Tasks of the Job that are not over.
    pub live: Vec<Task>,
    /// How many Tasks may come to wait in the Space besides those that do.
    pub room: usize,
}

impl DueJob {
    /// Neither its App nor its Space is on its way out.
    pub fn is_wanted(&self) -> bool {
        self.app.standing == Standing::Active && self.space.standing == Standing::Active
    }
}

/// A schedule that owes a tick.
struct Owing {
    schedule: Schedule,
    tick: Timestamp,
    missed: u64,
}

/// Decides each due schedule, in the order of their times. None: nothing is due after all.
///
/// A tick that there is no room for is not decided, nor are those behind it: they stay due, and what has not been decided by
/// the time there is room is decided then, the latest tick of each schedule.
pub fn decide(due: DueJob, now: Timestamp) -> Option<JobChange> {
    let DueJob { job, app, space, cluster, schedules, live, room } = due;
    let mut change = JobChange::new(job.clone(), now);
    let mut owing = Vec::new();
    for schedule in schedules {
        match schedule.plan.recurrence.latest_due(schedule.mark, now) {
            Some(due) if job.state.fires() && !schedule.suspended => {
                owing.push(Owing { tick: due.tick, missed: due.superseded, schedule });
            }
            // A clock that went back, or a row from before a pause: look again when it is time.
            Some(_) | None => {
                let next =
                    schedule.plan.next(schedule.mark.max(now)).filter(|_| job.state.fires() && !schedule.suspended);
                change.schedule(ScheduleChange::Update(Schedule { next, ..schedule }));
            }
        }
    }
    owing.sort_by(|a, b| (a.tick, &a.schedule.name).cmp(&(b.tick, &b.schedule.name)));
    let scene = Scene { job: &job, app: &app, space: &space, cluster: &cluster, now };
    let last_in_time = owing.iter().rposition(|owing| scene.starting(owing) == Starting::InTime);
    let last_name = last_in_time.map(|at| owing[at].schedule.name.schedule.clone());
    let mut alive = live.len();
    for (index, owing) in owing.into_iter().enumerate() {
        let superseded_by = last_name.clone().filter(|_| Some(index) != last_in_time);
        let (outcome, birth) = scene.outcome(&owing, alive, superseded_by);
        if birth.is_some() && change.births() >= room {
            break;
        }
        alive += usize::from(birth.is_some());
        change.enters(scene.entry(&owing, outcome), birth);
        let Owing { schedule, tick, missed: _ } = owing;
        let next = schedule.plan.next(tick.max(now));
        change.schedule(ScheduleChange::Update(Schedule { mark: tick, last_tick: Some(tick), next, ..schedule }));
    }
    if job.policy == ConcurrencyPolicy::Replace && change.births() > 0 {
        change.cancels(live.into_iter().filter_map(|task| task.cancel_within(None, now)));
    }
    let idle = change.nothing_to_tell() && change.schedules().is_empty();
    (!idle).then_some(change)
}

/// What is the same for all schedules of a Job.
struct Scene<'a> {
    job: &'a Job,
    app: &'a App,
    space: &'a Space,
    cluster: &'a Name,
    now: Timestamp,
}

impl Scene<'_> {
    fn starting(&self, owing: &Owing) -> Starting {
        owing.schedule.plan.starting(owing.tick, self.now)
    }

    fn outcome(&self, owing: &Owing, alive: usize, superseded_by: Option<Name>) -> (RunOutcome, Option<Birth>) {
        if let Starting::TooLate { by } = self.starting(owing) {
            return (RunOutcome::Missed { late_seconds: seconds(by) }, None);
        }
        match (self.job.policy, superseded_by) {
            (ConcurrencyPolicy::Forbid, _) if alive > 0 => return (RunOutcome::SkippedOverlap { live: alive }, None),
            (ConcurrencyPolicy::Replace, Some(by)) => return (RunOutcome::Superseded { by }, None),
            (ConcurrencyPolicy::Always | ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Replace, _) => {}
        }
        let uid = TaskUid::scheduled(owing.schedule.uid, owing.tick);
        let made_for = JobRef {
            uid: self.job.uid,
            name: self.job.name.job.clone(),
            schedule: Some(owing.schedule.name.schedule.clone()),
            tick: Some(owing.tick),
            waits: self.job.policy == ConcurrencyPolicy::Replace,
        };
        let suffix = owing.tick.strftime("%Y%m%d%H%M").to_string();
        let asked = self.job.asks_for(RunJob::default(), &suffix);
        match Task::create(uid, self.space, self.app, asked, self.cluster.clone(), None, self.now) {
            Ok(birth) => {
                let birth = birth.made_for(made_for);
                let task = birth.task().name.clone();
                (RunOutcome::Started { uid, task }, Some(birth))
            }
            Err(invalid) => (RunOutcome::Refused { why: invalid.to_string() }, None),
        }
    }

    fn entry(&self, owing: &Owing, outcome: RunOutcome) -> JobRun {
        JobRun {
            job: self.job.name.clone(),
            id: 0,
            tick: Some(NominalTick {
                schedule_uid: owing.schedule.uid,
                schedule: owing.schedule.name.schedule.clone(),
                at: owing.tick,
            }),
            outcome,
            missed: owing.missed,
            at: self.now,
        }
    }
}

/// A run that was asked for: always makes a Task, whatever the policy.
pub fn run_now(
    due: DueJob,
    uid: TaskUid,
    asked: RunJob,
    trace: Option<String>,
    now: Timestamp,
) -> Result<JobChange, RunRefused> {
    let DueJob { job, app, space, cluster, schedules: _, live: _, room: _ } = due;
    job.alive()?;
    let text = uid.0.simple().to_string();
    let asked = job.asks_for(asked, &text[text.len() - 6..]);
    let birth = Task::create(uid, &space, &app, asked, cluster, trace, now)?;
    let birth =
        birth.made_for(JobRef { uid: job.uid, name: job.name.job.clone(), schedule: None, tick: None, waits: false });
    let task = birth.task().name.clone();
    let mut change = JobChange::new(job.clone(), now);
    let run =
        JobRun { job: job.name, id: 0, tick: None, outcome: RunOutcome::Started { uid, task }, missed: 0, at: now };
    change.enters(run, Some(birth));
    Ok(change)
}

#[derive(Debug, thiserror::Error)]
pub enum RunRefused {
    #[error(transparent)]
    Deleting(#[from] super::change::Deleting),
    #[error(transparent)]
    Invalid(#[from] crate::invalid::Invalid),
}

#[cfg(test)]
#[path = "tick_tests.rs"]
mod tests;
