//! The last moment of a Job: once its Tasks are gone, it goes. Its ledger stays.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{QueryOrder, QuerySelect};
use std::time::Duration;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{job, schedule};
use crate::txn::Txn;
use crate::{event, job as jobs, job_write, sql};

impl Store {
    /// Marks up to `limit` Jobs of an App that is on its way out. Says how many.
    pub(crate) async fn app_jobs_delete(&self, app: Uuid, limit: u32) -> Result<u32, StoreError> {
        self.write("app_jobs_delete", move |txn| Box::pin(async move { mark(txn, app, limit).await })).await
    }

    /// The Job goes if it is on its way out and has no Tasks. Says whether it went.
    pub(crate) async fn job_remove(&self, uid: Uuid) -> Result<bool, StoreError> {
        self.write("job_remove", move |txn| Box::pin(async move { remove(txn, uid).await })).await
    }
}

async fn mark(txn: &Txn, app: Uuid, limit: u32) -> Result<u32, Fault> {
    let rows = job::Entity::find()
        .filter(job::Column::AppUid.eq(app))
        .filter(job::Column::State.ne(job::DELETING))
        .order_by_asc(job::Column::Uid)
        .limit(u64::from(limit))
        .lock_exclusive()
        .all(&txn.db)
        .await?;
    let now = txn.now().await?;
    let mut writes = Vec::with_capacity(rows.len());
    for row in rows {
        let found = schedule::Entity::find().filter(schedule::Column::JobUid.eq(row.uid)).all(&txn.db).await?;
        let schedules = found.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>, _>>()?;
        // Its Tasks are ended with the App's others.
        let Some(change) = row.open(&txn.secrets)?.delete(&schedules, Vec::new(), Duration::ZERO, now) else {
            continue;
        };
        jobs::advance(txn, &change).await?;
        writes.push(change.numbered(0));
    }
    let marked = u32::try_from(writes.len()).unwrap_or(u32::MAX);
    job_write::all(txn, writes).await?;
    Ok(marked)
}

async fn remove(txn: &Txn, uid: Uuid) -> Result<bool, Fault> {
    let locked = job::Entity::find_by_id(uid)
        .filter(job::Column::State.eq(job::DELETING))
        .filter(Expr::cust("NOT EXISTS (SELECT 1 FROM tasks t WHERE t.job_uid = jobs.uid)"))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .one(&txn.db)
        .await?;
    let Some(row) = locked else { return Ok(false) };
    let write = row.open(&txn.secrets)?.deleted(txn.now().await?).numbered(0);
    for text in ["DELETE FROM schedules WHERE job_uid = $1", "DELETE FROM jobs WHERE uid = $1"] {
        sql::execute(&txn.db, text, [uid.into()]).await?;
    }
    event::append_all(txn, &write.events).await?;
    Ok(true)
}
