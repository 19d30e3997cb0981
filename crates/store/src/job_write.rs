//! What a change of Jobs writes, for one Job or for hundreds: rows of one kind go in one statement.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use taskplane_domain::job::{JobChange, JobWrite, ScheduleChange};
use taskplane_domain::task::Task;

use crate::error::{Fault, StoreError};
use crate::row::{job_run, schedule, task};
use crate::txn::Txn;
use crate::{app, event, sql, task as tasks};

/// Rows of one statement: engines bound how many values it may have.
const ROWS: usize = 400;

/// How many Tasks a change makes, all on the same App and environment: those of the first one.
pub(crate) struct Births {
    pub(crate) count: usize,
    first: Option<Task>,
}

impl Births {
    pub(crate) fn of(change: &JobChange) -> Self {
        // Numbers play no part in what is looked at here.
        let born = change.clone().numbered(1).births;
        Self { count: born.len(), first: born.first().map(|born| born.task().clone()) }
    }
}

/// Takes the App's next numbers, if it has the revision that the Tasks were made from.
pub(crate) async fn next_ids(txn: &Txn, births: &Births) -> Result<u64, Fault> {
    const TEXT: &str = "UPDATE apps SET next_task_id = next_task_id + $3 WHERE uid = $1 AND revision = $2 AND standing = 'ACTIVE' \
         AND EXISTS (SELECT 1 FROM space_envs WHERE space_uid = $4 AND revision = $5) \
         RETURNING next_task_id - $3 AS value";
    let Some(asked) = &births.first else { return Ok(0) };
    let count = i64::try_from(births.count).unwrap_or(i64::MAX);
    let (app, env) = (i64::from(asked.app_revision), i64::from(asked.space_env_revision));
    let values = [asked.app_uid.0.into(), app.into(), count.into(), asked.space_uid.0.into(), env.into()];
    if let Some(id) = sql::number(&txn.db, TEXT, values).await? {
        return Ok(id.unsigned_abs());
    }
    Err(app::refused(txn, asked.app_uid, asked.name.app_name()).await?)
}

/// Everything but the rows of the Jobs themselves, which are locked by now.
pub(crate) async fn all(txn: &Txn, writes: Vec<JobWrite>) -> Result<(), Fault> {
    let (mut kept, mut gone, mut runs, mut born, mut events) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for write in &writes {
        for change in &write.schedules {
            match change {
                ScheduleChange::Insert(schedule) | ScheduleChange::Update(schedule) => kept.push(schedule),
                ScheduleChange::Delete(uid) => gone.push(uid.0),
            }
        }
        runs.extend(write.runs.iter().map(|run| job_run::Model::new(write.job.uid, run)));
        born.extend(write.births.iter().map(|born| task::Model::from(born.task())));
        events.extend(write.births.iter().map(|born| born.event()).chain(&write.events));
    }
    // Inserted or, where it is there, brought up to date: the Job's lock keeps everybody else away from it.
    let upsert = OnConflict::column(schedule::Column::Uid)
        .update_columns([
            schedule::Column::Plan,
            schedule::Column::Suspended,
            schedule::Column::Mark,
            schedule::Column::NextAt,
            schedule::Column::LastTick,
            schedule::Column::Version,
            schedule::Column::UpdatedAt,
        ])
        .to_owned();
    for some in kept.chunks(ROWS) {
        let rows = some.iter().map(|schedule| schedule::ActiveModel::from(schedule::Model::from(*schedule)));
        schedule::Entity::insert_many(rows).on_conflict(upsert.clone()).exec_without_returning(&txn.db).await?;
    }
    for some in gone.chunks(ROWS) {
        schedule::Entity::delete_many().filter(schedule::Column::Uid.is_in(some.iter().copied())).exec(&txn.db).await?;
    }
    for some in runs.chunks(ROWS) {
        let rows = some.iter().cloned().map(job_run::ActiveModel::from);
        let done = job_run::Entity::insert_many(rows).exec_without_returning(&txn.db).await;
        done.map_err(|error| Fault::taken(error, "the tick"))?;
    }
    for some in born.chunks(ROWS) {
        let rows = some.iter().cloned().map(task::ActiveModel::from);
        let done = task::Entity::insert_many(rows).exec_without_returning(&txn.db).await;
        done.map_err(|error| Fault::taken(error, "the task of a tick"))?;
    }
    for some in events.chunks(ROWS) {
        event::append_all(txn, some.iter().copied()).await?;
    }
    for cancel in writes.iter().flat_map(|write| &write.cancels) {
        if !tasks::change(txn, cancel, None).await? {
            return Err(StoreError::Conflict(cancel.task().name.to_string()).into());
        }
    }
    Ok(())
}
