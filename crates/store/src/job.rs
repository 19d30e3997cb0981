//! Jobs with their schedules: how they are found, and the changes that somebody asks for.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{QueryOrder, QuerySelect};
use taskplane_domain::job::{DueJob, Job, JobChange, JobWrite, Schedule};
use taskplane_domain::name::{JobName, Name, SpaceName};
use taskplane_domain::task::Task;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::job_write::{self, Births};
use crate::quota::{self, Room, Turn};
use crate::request::{self, RequestKey};
use crate::row::{job, schedule, task};
use crate::txn::Txn;
use crate::{app, sql};

const METHOD: &str = "RunJob";

/// A Job as it is.
#[derive(Debug, Clone)]
pub struct JobView {
    pub job: Job,
    /// By their ids.
    pub schedules: Vec<Schedule>,
    /// How many of its Tasks are not over.
    pub live: u32,
}

/// What a change came to.
#[derive(Debug, Clone)]
pub struct Committed {
    pub job: Job,
    /// The Task it made, or made when it was asked for the first time.
    pub task: Option<Task>,
    pub repeated: bool,
}

impl Store {
    pub async fn job_get(&self, name: &JobName) -> Result<JobView, StoreError> {
        let row = self.read(found(name).one(self.db())).await?;
        let row = row.ok_or_else(|| StoreError::NotFound(name.to_string()))?;
        let views = self.views(vec![row]).await?;
        views.into_iter().next().ok_or_else(|| StoreError::NotFound(name.to_string()))
    }

    /// By name.
    pub async fn job_list(
        &self,
        space: &SpaceName,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<JobView>, StoreError> {
        let after = after.map(Name::as_str).unwrap_or_default();
        let found = job::Entity::find()
            .filter(job::Column::Space.eq(space.0.as_str()))
            .filter(job::Column::Name.gt(after))
            .order_by_asc(job::Column::Name)
            .limit(u64::from(limit));
        let rows = self.read(found.all(self.db())).await?;
        self.views(rows).await
    }

    async fn views(&self, rows: Vec<job::Model>) -> Result<Vec<JobView>, StoreError> {
        let uids: Vec<Uuid> = rows.iter().map(|row| row.uid).collect();
        let found = schedule::Entity::find()
            .filter(schedule::Column::JobUid.is_in(uids.clone()))
            .order_by_asc(schedule::Column::Id);
        let mut schedules: HashMap<Uuid, Vec<Schedule>> = HashMap::new();
        for row in self.read(found.all(self.db())).await? {
            schedules.entry(row.job_uid).or_default().push(row.try_into()?);
        }
        let counted = task::Entity::find()
            .select_only()
            .column(task::Column::JobUid)
            .column_as(task::Column::Uid.count(), "live")
            .filter(task::Column::JobUid.is_in(uids))
            .filter(is_live())
            .group_by(task::Column::JobUid)
            .into_tuple::<(Uuid, i64)>();
        let live: HashMap<Uuid, i64> = self.read(counted.all(self.db())).await?.into_iter().collect();
        let view = |row: job::Model| {
            let uid = row.uid;
            Ok(JobView {
                job: row.open(self.secrets())?,
                schedules: schedules.remove(&uid).unwrap_or_default(),
                live: live.get(&uid).and_then(|live| u32::try_from(*live).ok()).unwrap_or(0),
            })
        };
        rows.into_iter().map(view).collect()
    }

    /// A Job with all that bears on a run of it. What is decided on it is stored only if the Job is still the same then.
    pub async fn job_scene(&self, name: &JobName, cluster: Name) -> Result<DueJob, StoreError> {
        let row = self.read(found(name).one(self.db())).await?;
        let job = row.ok_or_else(|| StoreError::NotFound(name.to_string()))?.open(self.secrets())?;
        let app = self.app_get(&job.app).await?;
        let space = self.space_get(&SpaceName(name.space.clone())).await?;
        let live = self.read(live_of([job.uid.0]).all(self.db())).await?;
        let live = live.into_iter().map(Task::try_from).collect::<Result<_, _>>()?;
        Ok(DueJob { job, app, space, cluster, schedules: Vec::new(), live, room: usize::MAX })
    }

    /// `AlreadyExists` when the name is taken, `NotFound` when the App is gone.
    pub async fn job_create(&self, change: JobChange) -> Result<Job, StoreError> {
        let change = Arc::new(change);
        self.write("job_create", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { create(txn, (*change).clone().numbered(0)).await })
        })
        .await
    }

    /// `Conflict`: the Job, its App, or a Task that was to be cancelled is not what it was when the change was decided.
    /// `LiveQuota`: it makes a Task, and the Space has no room for one.
    pub async fn job_commit(&self, change: JobChange, key: Option<RequestKey>) -> Result<Committed, StoreError> {
        let change = change.sealed(|uid, env| self.secrets().seal_task(uid, env));
        let asked = Arc::new((change, key));
        let mut turn = Turn::Shared;
        loop {
            let asked = Arc::clone(&asked);
            let committed = self.write("job_commit", move |txn| {
                let asked = Arc::clone(&asked);
                Box::pin(async move { commit(txn, asked.0.clone(), asked.1.as_ref(), turn).await })
            });
            match committed.await? {
                Some(committed) => return Ok(committed),
                None => turn = Turn::Alone,
            }
        }
    }
}

pub(crate) fn found(name: &JobName) -> Select<job::Entity> {
    job::Entity::find()
        .filter(job::Column::Space.eq(name.space.as_str()))
        .filter(job::Column::Name.eq(name.job.as_str()))
}

/// Tasks of these Jobs that are not over, in the order in which others lock them too.
pub(crate) fn live_of(jobs: impl IntoIterator<Item = Uuid>) -> Select<task::Entity> {
    task::Entity::find()
        .filter(task::Column::JobUid.is_in(jobs))
        .filter(is_live())
        .order_by_asc(task::Column::CreatedAt)
        .order_by_asc(task::Column::Uid)
}

/// As the index of live Tasks has it: spelled out, since an engine cannot see it in bound values.
fn is_live() -> Expr {
    Expr::cust("job_uid IS NOT NULL AND state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')")
}

async fn create(txn: &Txn, write: JobWrite) -> Result<Job, Fault> {
    // Keeps the App from being deleted until this transaction is over.
    let text = sql::choose(
        &txn.db,
        "SELECT count(*) AS value FROM apps WHERE uid = $1 AND standing = 'ACTIVE'",
        "SELECT count(*) AS value FROM (SELECT standing FROM apps WHERE uid = $1 FOR SHARE) locked \
             WHERE standing = 'ACTIVE'",
    );
    if sql::number(&txn.db, text, [write.job.app_uid.0.into()]).await? != Some(1) {
        return Err(app::refused(txn, write.job.app_uid, write.job.app.clone()).await?);
    }
    let row = job::ActiveModel::from(job::Model::sealed(&write.job, &txn.secrets));
    let inserted = job::Entity::insert(row).exec_without_returning(&txn.db).await;
    inserted.map_err(|error| Fault::exists(error, &write.job.name))?;
    let job = write.job.clone();
    job_write::all(txn, vec![write]).await?;
    Ok(job)
}

/// None: whether there is room can only be said by one that has the Space to itself.
async fn commit(
    txn: &Txn,
    change: JobChange,
    key: Option<&RequestKey>,
    turn: Turn,
) -> Result<Option<Committed>, Fault> {
    let job = change.job().clone();
    let repeated = |task, job| Committed { job, task: Some(task), repeated: true };
    if let Some(task) = request::made_before_by(txn, job.space_uid, METHOD, key).await? {
        return Ok(Some(repeated(task, job)));
    }
    let births = Births::of(&change);
    if births.count > 0 {
        match quota::room(txn, job.space_uid, turn).await? {
            Room::Enough => {}
            Room::Scarce => return Ok(None),
            Room::None { quota } => {
                // What took the last place may have been this very request.
                let before = request::made_before_by(txn, job.space_uid, METHOD, key).await?;
                let task = before.ok_or_else(|| quota::full(&job.name.space, quota))?;
                return Ok(Some(repeated(task, job)));
            }
        }
    }
    // Its place in the order of Jobs first, then of Apps: whoever takes both takes them in this order.
    advance(txn, &change).await?;
    let first_id = match births {
        Births { count: 0, .. } => 0,
        births => job_write::next_ids(txn, &births).await?,
    };
    let write = change.numbered(first_id);
    let task = write.births.first().map(|born| born.task().clone());
    if let (Some(key), Some(task)) = (key, &task) {
        request::keep(txn, METHOD, &[(task.clone(), key)]).await?;
    }
    let job = write.job.clone();
    job_write::all(txn, vec![write]).await?;
    Ok(Some(Committed { job, task, repeated: false }))
}

/// Moves the row on if it is still what the change was decided on, and holds it until the transaction is over.
pub(crate) async fn advance(txn: &Txn, change: &JobChange) -> Result<(), Fault> {
    let after = change.clone().numbered(0).job;
    let name = after.name.to_string();
    let from = change.from().ok_or_else(|| StoreError::AlreadyExists(name.clone()))?;
    let row = job::Model::sealed(&after, &txn.secrets);
    let cells = job::ActiveModel {
        template: sea_orm::Set(row.template),
        policy: sea_orm::Set(row.policy),
        state: sea_orm::Set(row.state),
        pause_note: sea_orm::Set(row.pause_note),
        delete_grace: sea_orm::Set(row.delete_grace),
        version: sea_orm::Set(row.version),
        sequence: sea_orm::Set(row.sequence),
        updated_at: sea_orm::Set(row.updated_at),
        ..Default::default()
    };
    let done = job::Entity::update_many()
        .set(cells)
        .filter(job::Column::Uid.eq(after.uid.0))
        .filter(job::Column::Sequence.eq(crate::row::big(from)))
        .exec(&txn.db)
        .await?;
    if done.rows_affected == 1 {
        return Ok(());
    }
    let there = job::Entity::find_by_id(after.uid.0).count(&txn.db).await? > 0;
    Err(if there { StoreError::Conflict(name) } else { StoreError::NotFound(name) }.into())
}
