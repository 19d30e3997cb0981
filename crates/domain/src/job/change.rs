//! How a Job changes: everything that one change writes, put together so that it can be stored as one.

use jiff::Timestamp;

use super::{ConcurrencyPolicy, Job, JobRun, JobState, Plan, RunOutcome, Schedule, TaskTemplate};
use crate::app::App;
use crate::env::{Env, SealedEnv};
use crate::event::{Event, EventData, Fact, JobSnapshot, Subject};
use crate::name::{JobName, Name};
use crate::task::{Birth, Task, Transition};
use crate::uid::{JobUid, ScheduleUid, TaskUid};

/// A Job after a change that is still to be stored, with all that belongs to it.
#[derive(Debug, Clone)]
pub struct JobChange {
    job: Job,
    /// The event count the row must have for the change to happen; none for a birth.
    from: Option<u64>,
    schedules: Vec<ScheduleChange>,
    entries: Vec<Entry>,
    cancels: Vec<Transition>,
    at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleChange {
    Insert(Schedule),
    Update(Schedule),
    Delete(ScheduleUid),
}

/// One event to be, and what it tells of.
#[derive(Debug, Clone)]
struct Entry {
    fact: Fact,
    run: Option<(JobRun, Option<Birth>)>,
}

/// A change with every number given: what the store writes.
#[derive(Debug, Clone)]
pub struct JobWrite {
    pub job: Job,
    pub from: Option<u64>,
    pub schedules: Vec<ScheduleChange>,
    pub runs: Vec<JobRun>,
    pub events: Vec<Event>,
    pub births: Vec<Transition>,
    pub cancels: Vec<Transition>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is being deleted")]
pub struct Deleting(pub JobName);

impl JobChange {
    pub(super) fn new(job: Job, at: Timestamp) -> Self {
        let from = Some(job.sequence);
        Self { job, from, schedules: Vec::new(), entries: Vec::new(), cancels: Vec::new(), at }
    }

    pub fn job(&self) -> &Job {
        &self.job
    }

    pub fn from(&self) -> Option<u64> {
        self.from
    }

    pub fn schedules(&self) -> &[ScheduleChange] {
        &self.schedules
    }

    /// With a first schedule, made together with the Job.
    pub fn scheduled(mut self, uid: ScheduleUid, id: Name, plan: Plan, suspended: bool) -> Self {
        let schedule = Schedule::new(&self.job, uid, id, plan, suspended, self.at);
        self.tells(Fact::JobScheduleCreated);
        self.schedule(ScheduleChange::Insert(schedule));
        self
    }

    /// How many Tasks it makes: so many numbers of its App it needs.
    pub fn births(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.run, Some((_, Some(_))))).count()
    }

    /// The same change with what its Tasks bring sealed, as it is kept.
    pub fn sealed(mut self, seal: impl Fn(TaskUid, &Env) -> SealedEnv) -> Self {
        for (_, birth) in self.entries.iter_mut().filter_map(|entry| entry.run.as_mut()) {
            *birth = birth.take().map(|birth| birth.sealed(&seal));
        }
        self
    }

    pub(super) fn tells(&mut self, fact: Fact) {
        self.entries.push(Entry { fact, run: None });
    }

    pub(super) fn enters(&mut self, run: JobRun, birth: Option<Birth>) {
        let fact = match run.outcome {
            RunOutcome::Started { .. } => Fact::JobRunStarted,
            RunOutcome::SkippedOverlap { .. } | RunOutcome::Superseded { .. } => Fact::JobRunSkipped,
            RunOutcome::Missed { .. } => Fact::JobRunMissed,
            RunOutcome::Refused { .. } | RunOutcome::Told { .. } => Fact::JobRunRefused,
        };
        self.entries.push(Entry { fact, run: Some((run, birth)) });
    }

    pub(super) fn schedule(&mut self, change: ScheduleChange) {
        self.schedules.push(change);
    }

    pub(super) fn cancels(&mut self, transitions: impl IntoIterator<Item = Transition>) {
        self.cancels.extend(transitions);
    }

    pub(super) fn nothing_to_tell(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives every number: events count on from the Job's last one, Tasks from `first_id`, which the App's counter gave.
    pub fn numbered(self, first_id: u64) -> JobWrite {
        let Self { mut job, from, schedules, entries, cancels, at } = self;
        let mut write = JobWrite {
            job: job.clone(),
            from,
            schedules,
            runs: Vec::new(),
            events: Vec::new(),
            births: Vec::new(),
            cancels,
        };
        let mut next_id = first_id;
        for Entry { fact, run } in entries {
            job.sequence += 1;
            let mut told = None;
            if let Some((mut run, birth)) = run {
                run.id = job.sequence;
                if let Some(birth) = birth {
                    let born = birth.numbered(next_id);
                    next_id += 1;
                    run.outcome = RunOutcome::Started { uid: born.task().uid, task: born.task().name.clone() };
                    write.births.push(born);
                }
                told = Some(run.clone());
                write.runs.push(run);
            }
            write.events.push(job.event(fact, told, at));
        }
        write.job = job;
        write
    }
}

impl Job {
    pub fn create(
        (uid, name): (JobUid, JobName),
        app: &App,
        template: TaskTemplate,
        policy: ConcurrencyPolicy,
        at: Timestamp,
    ) -> JobChange {
        let job = Self {
            uid,
            space_uid: app.space_uid,
            app_uid: app.uid,
            name,
            app: app.name.clone(),
            template,
            policy,
            state: JobState::Active,
            version: 1,
            sequence: 0,
            created_at: at,
            updated_at: at,
        };
        let mut change = JobChange::new(job, at);
        change.from = None;
        change.tells(Fact::JobCreated);
        change
    }

    /// None when everything is as it is to be.
    pub fn update(
        self,
        template: TaskTemplate,
        policy: ConcurrencyPolicy,
        at: Timestamp,
    ) -> Result<Option<JobChange>, Deleting> {
        self.alive()?;
        if template == self.template && policy == self.policy {
            return Ok(None);
        }
        let mut change = self.changed(at);
        (change.job.template, change.job.policy) = (template, policy);
        change.tells(Fact::JobUpdated);
        Ok(Some(change))
    }

    /// Holds all ticks back.
    pub fn pause(
        self,
        paused: JobState,
        schedules: Vec<Schedule>,
        at: Timestamp,
    ) -> Result<Option<JobChange>, Deleting> {
        self.alive()?;
        if self.state == paused {
            return Ok(None);
        }
        let mut change = self.changed(at);
        change.job.state = paused;
        change.tells(Fact::JobPaused);
        change.schedules =
            schedules.into_iter().map(|schedule| ScheduleChange::Update(Schedule { next: None, ..schedule })).collect();
        Ok(Some(change))
    }

    /// Lets ticks fire again. What fell due meanwhile is not made up for.
    pub fn resume(self, schedules: Vec<Schedule>, at: Timestamp) -> Result<Option<JobChange>, Deleting> {
        self.alive()?;
        if self.state == JobState::Active {
            return Ok(None);
        }
        let mut change = self.changed(at);
        change.job.state = JobState::Active;
        change.tells(Fact::JobResumed);
        change.schedules =
            schedules.into_iter().map(|schedule| ScheduleChange::Update(schedule.counts_from(at, true))).collect();
        Ok(Some(change))
    }

    /// Another time to fire. No tick before now does.
    pub fn schedule(
        self,
        uid: ScheduleUid,
        id: Name,
        plan: Plan,
        suspended: bool,
        at: Timestamp,
    ) -> Result<JobChange, Deleting> {
        self.alive()?;
        let schedule = Schedule::new(&self, uid, id, plan, suspended, at);
        Ok(self.with_schedule(Fact::JobScheduleCreated, ScheduleChange::Insert(schedule), at))
    }

    /// None when everything is as it is to be: a no-op moves no mark.
    pub fn reschedule(
        self,
        schedule: Schedule,
        plan: Plan,
        suspended: bool,
        at: Timestamp,
    ) -> Result<Option<JobChange>, Deleting> {
        self.alive()?;
        if schedule.plan == plan && schedule.suspended == suspended {
            return Ok(None);
        }
        let fires = self.state.fires();
        let version = schedule.version + 1;
        let schedule = Schedule { plan, suspended, version, updated_at: at, ..schedule }.counts_from(at, fires);
        Ok(Some(self.with_schedule(Fact::JobScheduleUpdated, ScheduleChange::Update(schedule), at)))
    }

    pub fn unschedule(self, schedule: ScheduleUid, at: Timestamp) -> Result<JobChange, Deleting> {
        self.alive()?;
        Ok(self.with_schedule(Fact::JobScheduleDeleted, ScheduleChange::Delete(schedule), at))
    }

    /// No tick fires any more, and its live Tasks are to end, within `grace`; those of `live` are asked at once. None: that was
    /// asked for before.
    pub fn delete(
        self,
        schedules: &[Schedule],
        live: Vec<Task>,
        grace: std::time::Duration,
        at: Timestamp,
    ) -> Option<JobChange> {
        if self.alive().is_err() {
            return None;
        }
        let mut change = self.changed(at);
        change.job.state = JobState::Deleting { grace };
        change.tells(Fact::JobDeleteRequested);
        change.schedules = schedules.iter().map(|schedule| ScheduleChange::Delete(schedule.uid)).collect();
        change.cancels(live.into_iter().filter_map(|task| task.cancel_within(Some(grace), at)));
        Some(change)
    }

    /// Its last event: the row is about to go.
    pub fn deleted(self, at: Timestamp) -> JobChange {
        let mut change = JobChange::new(self, at);
        change.tells(Fact::JobDeleted);
        change
    }

    pub(super) fn alive(&self) -> Result<(), Deleting> {
        if matches!(self.state, JobState::Deleting { .. }) { Err(Deleting(self.name.clone())) } else { Ok(()) }
    }

    fn changed(self, at: Timestamp) -> JobChange {
        let version = self.version + 1;
        JobChange::new(Self { version, updated_at: at, ..self }, at)
    }

    fn with_schedule(self, fact: Fact, schedule: ScheduleChange, at: Timestamp) -> JobChange {
        let mut change = JobChange::new(self, at);
        change.tells(fact);
        change.schedule(schedule);
        change
    }

    fn event(&self, fact: Fact, run: Option<JobRun>, at: Timestamp) -> Event {
        Event {
            uid: self.uid.0,
            sequence: self.sequence,
            subject: Subject::Job(self.name.clone()),
            fact,
            at,
            data: EventData::Job(JobSnapshot { run }),
            trace: None,
        }
    }
}

impl Schedule {
    fn new(job: &Job, uid: ScheduleUid, id: Name, plan: Plan, suspended: bool, at: Timestamp) -> Self {
        let schedule = Self {
            uid,
            job_uid: job.uid,
            name: job.name.schedule(id),
            plan,
            suspended,
            mark: at,
            next: None,
            last_tick: None,
            version: 1,
            created_at: at,
            updated_at: at,
        };
        schedule.counts_from(at, job.state.fires())
    }

    /// Its next tick by the zone data that is in force now. One that is due already stays due: it is decided by that data.
    pub fn recomputed(self, now: Timestamp) -> Self {
        let next = match self.next {
            Some(next) if next > now => self.plan.next(self.mark.max(now)),
            as_it_is => as_it_is,
        };
        Self { next, ..self }
    }

    /// Nothing before `at` fires any more.
    fn counts_from(self, at: Timestamp, job_fires: bool) -> Self {
        let next = if self.suspended || !job_fires { None } else { self.plan.next(at) };
        Self { mark: at, next, ..self }
    }
}
