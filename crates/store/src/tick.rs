//! Ticks: Jobs with schedules due are claimed, decided and written in one transaction.
//!
//! The Spaces come first (see `tick_room`), then the Jobs' rows are locked, then the Apps' rows in the order of their uids,
//! then the Tasks that may be replaced: what is decided on cannot move. Replicas pass over what another one has locked.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, LockBehavior, LockType, OnConflict};
use sea_orm::{QueryOrder, QuerySelect, SelectGetableTuple, Selector};
use taskplane_domain::job::{ConcurrencyPolicy, DueJob, JobChange, JobWrite, Schedule};
use taskplane_domain::name::Name;
use taskplane_domain::space::Space;
use taskplane_domain::task::Task;

use crate::connect::Store;
use crate::error::{Corrupt, Fault, StoreError};
use crate::job::live_of;
use crate::row::{Row, app, app_revision, big, job, schedule, space, task};
use crate::secrets::Secrets;
use crate::tick_room::{self, Rooms};
use crate::txn::Txn;
use crate::{job_write, sql};

/// When a Job whose rows make no sense is looked at again.
const CORRUPT_AGAIN: Duration = Duration::from_secs(60);

/// What the domain makes of a Job that is due.
pub type Decide = fn(DueJob, Timestamp) -> Option<JobChange>;

/// What a pass came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ticked {
    pub jobs: u32,
    pub tasks: u32,
    /// By how much each tick that was decided is behind its time.
    pub late: Vec<Duration>,
    /// There may be more that is due now.
    pub more: bool,
}

impl Store {
    /// Decides up to `limit` Jobs with schedules due, by the database's clock.
    pub async fn ticks_pass(&self, limit: u32, cluster: Name, decide: Decide) -> Result<Ticked, StoreError> {
        // Most passes find nothing: they need not wait for anybody's turn.
        if self.ticks_next_due().await?.is_none_or(|next| !next.is_zero()) {
            return Ok(Ticked::default());
        }
        match self.ticks_of(None, limit, cluster.clone(), decide).await {
            // The database's word on all of them: nothing is known of any.
            Err(error @ (StoreError::Unavailable(_) | StoreError::Unreachable { .. } | StoreError::Unusable(_))) => {
                Err(error)
            }
            // One of them cannot be written as it stands. The others must not wait for it.
            Err(error) => {
                tracing::warn!(%error, "ticks are decided job by job");
                self.ticks_apart(limit, cluster, decide).await
            }
            ticked => ticked,
        }
    }

    async fn ticks_of(
        &self,
        only: Option<Uuid>,
        limit: u32,
        cluster: Name,
        decide: Decide,
    ) -> Result<Ticked, StoreError> {
        self.write("ticks_pass", move |txn| {
            let cluster = cluster.clone();
            Box::pin(async move { pass(txn, only, limit, cluster, decide).await })
        })
        .await
    }

    async fn ticks_apart(&self, limit: u32, cluster: Name, decide: Decide) -> Result<Ticked, StoreError> {
        let now = self.now().await?;
        let due = self.read(due_jobs(now, limit).all(self.db())).await?;
        let mut all = Ticked { more: due.len() as u64 >= u64::from(limit), ..Ticked::default() };
        for uid in due {
            match self.ticks_of(Some(uid), 1, cluster.clone(), decide).await {
                Ok(Ticked { jobs, tasks, late, more: _ }) => {
                    all.late.extend(late);
                    all.jobs += jobs;
                    all.tasks += tasks;
                }
                Err(error) => {
                    tracing::error!(job.uid = %uid, %error, "a job that is due cannot be decided and waits");
                    self.write("ticks_aside", move |txn| Box::pin(async move { set_aside(txn, vec![uid], now).await }))
                        .await?;
                }
            }
        }
        Ok(all)
    }

    /// How long until the next schedule is due; zero: one is. None: no schedule will be.
    pub async fn ticks_next_due(&self) -> Result<Option<Duration>, StoreError> {
        let now = self.now().await?;
        let text = "SELECT min(next_at) AS value FROM schedules WHERE next_at IS NOT NULL";
        let next = self.read(sql::number(self.db(), text, [])).await?;
        // Reckoned in numbers: one that is no time is due at once, and is set aside by the next pass.
        let left = next.map(|next| next.saturating_sub(now.as_microsecond()));
        Ok(left.map(|left| Duration::from_micros(u64::try_from(left).unwrap_or_default())))
    }
}

/// Everything that bears on the Jobs of one pass.
struct Scene {
    secrets: Secrets,
    now: Timestamp,
    cluster: Name,
    jobs: Vec<job::Model>,
    apps: HashMap<Uuid, app::Model>,
    specs: HashMap<Uuid, Vec<u8>>,
    spaces: HashMap<Uuid, Result<Space, Corrupt>>,
    schedules: HashMap<Uuid, Vec<schedule::Model>>,
    /// The latest tick behind its mark for which a schedule has an entry in the ledger: nothing up to it is decided again.
    entered: HashMap<Uuid, i64>,
    live: HashMap<Uuid, Vec<task::Model>>,
    rooms: Rooms,
}

/// Jobs with schedules due, the longest overdue first.
fn due_jobs(now: Timestamp, limit: u32) -> Selector<SelectGetableTuple<Uuid>> {
    schedule::Entity::find()
        .select_only()
        .column(schedule::Column::JobUid)
        .filter(schedule::Column::NextAt.lte(now.as_microsecond()))
        .group_by(schedule::Column::JobUid)
        .order_by_asc(schedule::Column::NextAt.min())
        .limit(u64::from(limit))
        .into_tuple::<Uuid>()
}

/// `only`: that Job and no other.
async fn pass(txn: &Txn, only: Option<Uuid>, limit: u32, cluster: Name, decide: Decide) -> Result<Ticked, Fault> {
    let mut scene = Scene::lock(txn, only, limit, cluster).await?;
    let found = u32::try_from(scene.jobs.len()).unwrap_or(u32::MAX);
    let (mut writes, mut aside, mut held) = (Vec::new(), Vec::new(), Vec::new());
    let mut counters: HashMap<Uuid, u64> =
        scene.apps.iter().map(|(uid, app)| (*uid, app.next_task_id.unsigned_abs())).collect();
    for row in scene.jobs_in_turn() {
        let (uid, app_uid, space_uid) = (row.uid, row.app_uid, row.space_uid);
        match scene.due(row) {
            // On its way out with its App: the reaper is about to take its schedules away.
            Ok(due) if !due.is_wanted() => aside.push(uid),
            Ok(due) => {
                let schedules = due.schedules.len();
                let change = decide(due, scene.now);
                if change.as_ref().map_or(0, |change| change.schedules().len()) < schedules {
                    held.push(uid);
                }
                let Some(change) = change else { continue };
                let next = counters.entry(app_uid).or_insert(1);
                let births = change.births() as u64;
                scene.rooms.take(space_uid, births);
                let change = change.sealed(|uid, env| scene.secrets.seal_task(uid, env));
                writes.push(change.numbered(*next));
                *next += births;
            }
            Err(corrupt) => {
                tracing::error!(job.uid = %uid, %corrupt, "a job that is due cannot be read and waits");
                aside.push(uid);
            }
        }
    }
    let tasks = writes.iter().map(|write: &JobWrite| write.births.len()).sum::<usize>();
    // What is held back takes no part any more; what another replica is at would be found again at once.
    let more = scene.rooms.made_way() || found > 0 && found + scene.rooms.elsewhere() == limit;
    let runs = writes.iter().flat_map(|write| &write.runs);
    let ticks = runs.filter_map(|run| Some(scene.now.duration_since(run.tick.as_ref()?.at)));
    let late = ticks.map(|late| Duration::try_from(late).unwrap_or_default()).collect();
    let ticked = Ticked { jobs: found, tasks: u32::try_from(tasks).unwrap_or(u32::MAX), late, more };
    scene.advance(txn, &writes, &counters).await?;
    job_write::all(txn, writes).await?;
    tick_room::hold_jobs(txn, held, scene.now).await?;
    set_aside(txn, aside, scene.now).await?;
    Ok(ticked)
}

impl Scene {
    async fn lock(txn: &Txn, only: Option<Uuid>, limit: u32, cluster: Name) -> Result<Self, Fault> {
        let now = txn.now().await?;
        let due = match only {
            Some(uid) => vec![uid],
            None => due_jobs(now, limit).all(&txn.db).await?,
        };
        let (due, rooms) = Rooms::of(txn, due, now).await?;
        let jobs = job::Entity::find()
            .filter(job::Column::Uid.is_in(due))
            .order_by_asc(job::Column::Uid)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .all(&txn.db)
            .await?;
        let uids: Vec<Uuid> = jobs.iter().map(|job| job.uid).collect();
        let apps = app::Entity::find()
            .filter(app::Column::Uid.is_in(jobs.iter().map(|job| job.app_uid)))
            .order_by_asc(app::Column::Uid)
            .lock_exclusive()
            .all(&txn.db)
            .await?;
        let specs = app_revision::Entity::find()
            .filter(app_revision::Column::AppUid.is_in(apps.iter().map(|app| app.uid)))
            .filter(Expr::cust("revision = (SELECT a.revision FROM apps a WHERE a.uid = app_revisions.app_uid)"))
            .all(&txn.db)
            .await?;
        // Read under the lock: another replica may have decided some of them in between.
        let rows = schedule::Entity::find()
            .filter(schedule::Column::JobUid.is_in(uids.iter().copied()))
            .filter(schedule::Column::NextAt.lte(now.as_microsecond()))
            .all(&txn.db)
            .await?;
        // Only behind the mark, where there is nothing but after a failover: a ledger may be long.
        let entered = schedule::Entity::find()
            .select_only()
            .column(schedule::Column::Uid)
            .expr_as(
                Expr::cust(
                    "(SELECT max(r.tick_at) FROM job_runs r WHERE r.schedule_uid = schedules.uid AND r.tick_at > schedules.mark)",
                ),
                "latest",
            )
            .filter(schedule::Column::JobUid.is_in(uids.iter().copied()))
            .filter(schedule::Column::NextAt.lte(now.as_microsecond()))
            .into_tuple::<(Uuid, Option<i64>)>()
            .all(&txn.db)
            .await?;
        let mut schedules: HashMap<Uuid, Vec<schedule::Model>> = HashMap::new();
        for row in rows {
            schedules.entry(row.job_uid).or_default().push(row);
        }
        let mut live: HashMap<Uuid, Vec<task::Model>> = HashMap::new();
        // Those that are to be cancelled must not move meanwhile; for Forbid their number at this moment is enough, and
        // Always does not ask.
        let of = |policy: ConcurrencyPolicy| {
            let jobs = jobs.iter().filter(move |job| job.policy == policy.as_str());
            live_of(jobs.map(|job| job.uid).collect::<Vec<_>>())
        };
        let replaced = of(ConcurrencyPolicy::Replace).lock_exclusive().all(&txn.db).await?;
        let counted = of(ConcurrencyPolicy::Forbid).all(&txn.db).await?;
        for row in replaced.into_iter().chain(counted) {
            live.entry(row.job_uid.unwrap_or_default()).or_default().push(row);
        }
        Ok(Self {
            secrets: txn.secrets.clone(),
            now,
            cluster,
            spaces: spaces(txn, &jobs).await?,
            jobs,
            apps: apps.into_iter().map(|app| (app.uid, app)).collect(),
            specs: specs.into_iter().map(|revision| (revision.app_uid, revision.spec)).collect(),
            schedules,
            entered: entered.into_iter().filter_map(|(uid, latest)| Some((uid, latest?))).collect(),
            live,
            rooms,
        })
    }

    /// Where there is not room for all, whoever has waited longest comes first.
    fn jobs_in_turn(&mut self) -> Vec<job::Model> {
        let mut jobs = std::mem::take(&mut self.jobs);
        let mark = |job: &job::Model| self.schedules.get(&job.uid)?.iter().map(|schedule| schedule.mark).min();
        jobs.sort_by_cached_key(mark);
        jobs
    }

    fn due(&mut self, row: job::Model) -> Result<DueJob, Corrupt> {
        let (uid, key) = (row.uid, Row::new("jobs", row.uid));
        let app = key.needed("app_uid", self.apps.get(&row.app_uid).cloned())?;
        let app = app::WithSpec { spec: self.specs.get(&app.uid).cloned(), app }.open(&self.secrets)?;
        let space = key.needed("space_uid", self.spaces.get(&row.space_uid).cloned())??;
        let mut schedules = Vec::new();
        for row in self.schedules.remove(&uid).unwrap_or_default() {
            let latest = self.entered.get(&row.uid).and_then(|latest| Timestamp::from_microsecond(*latest).ok());
            let schedule = Schedule::try_from(row)?;
            let mark = latest.map_or(schedule.mark, |latest| latest.max(schedule.mark));
            schedules.push(Schedule { mark, ..schedule });
        }
        let live = self.live.remove(&uid).unwrap_or_default();
        let live = live.into_iter().map(Task::try_from).collect::<Result<_, _>>()?;
        let room = self.rooms.left(row.space_uid);
        Ok(DueJob { job: row.open(&self.secrets)?, app, space, cluster: self.cluster.clone(), schedules, live, room })
    }

    /// Moves on the counters of Jobs and Apps, whose rows are locked.
    async fn advance(&self, txn: &Txn, writes: &[JobWrite], counters: &HashMap<Uuid, u64>) -> Result<(), Fault> {
        if writes.is_empty() {
            return Ok(());
        }
        let rows = writes.iter().map(|write| job::ActiveModel::from(job::Model::sealed(&write.job, &self.secrets)));
        let sequence = OnConflict::column(job::Column::Uid).update_column(job::Column::Sequence).to_owned();
        job::Entity::insert_many(rows).on_conflict(sequence).exec_without_returning(&txn.db).await?;
        let moved = self.apps.values().filter_map(|app| {
            let next = big(*counters.get(&app.uid)?);
            (next != app.next_task_id).then(|| app::ActiveModel::from(app::Model { next_task_id: next, ..app.clone() }))
        });
        let moved: Vec<app::ActiveModel> = moved.collect();
        if !moved.is_empty() {
            let next = OnConflict::column(app::Column::Uid).update_column(app::Column::NextTaskId).to_owned();
            app::Entity::insert_many(moved).on_conflict(next).exec_without_returning(&txn.db).await?;
        }
        Ok(())
    }
}

/// Few, however many Jobs there are.
async fn spaces(txn: &Txn, jobs: &[job::Model]) -> Result<HashMap<Uuid, Result<Space, Corrupt>>, Fault> {
    const TEXT: &str = "SELECT s.*, e.env, e.security_groups FROM spaces s \
         LEFT JOIN space_envs e ON e.space_uid = s.uid AND e.revision = s.env_revision WHERE s.uid = $1";
    let mut spaces = HashMap::new();
    for job in jobs {
        if spaces.contains_key(&job.space_uid) {
            continue;
        }
        if let Some(row) = sql::one::<space::WithEnv>(&txn.db, TEXT, [job.space_uid.into()]).await? {
            spaces.insert(job.space_uid, row.open(&txn.secrets));
        }
    }
    Ok(spaces)
}

/// What cannot be decided must not keep the rest from it.
async fn set_aside(txn: &Txn, jobs: Vec<Uuid>, now: Timestamp) -> Result<(), Fault> {
    if jobs.is_empty() {
        return Ok(());
    }
    let again = now.as_microsecond() + i64::try_from(CORRUPT_AGAIN.as_micros()).unwrap_or(0);
    schedule::Entity::update_many()
        .col_expr(schedule::Column::NextAt, Expr::value(again))
        .filter(schedule::Column::JobUid.is_in(jobs))
        .filter(schedule::Column::NextAt.lte(now.as_microsecond()))
        .exec(&txn.db)
        .await?;
    Ok(())
}
