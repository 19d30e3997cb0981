//! The end of a Job: once the last of its Tasks is over, its Tasks go, and then the Job. Its ledger stays.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{QueryOrder, QuerySelect};

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::removed::{self, Owner};
use crate::row::job;
use crate::txn::Txn;
use crate::{event, sql};

impl Store {
    /// Clears up to `limit` Jobs that are being deleted and have nothing live. Says how many.
    pub async fn jobs_clear(&self, limit: u32) -> Result<u32, StoreError> {
        let (mut cleared, mut after) = (0, Uuid::nil());
        while cleared < limit {
            // On from the last one: those that cannot be cleared do not take the turns of the others.
            let ready = job::Entity::find().filter(is_ready()).filter(job::Column::Uid.gt(after));
            let ready = ready.order_by_asc(job::Column::Uid).limit(u64::from(limit - cleared));
            let rows = self.read(ready.all(self.db())).await?;
            let Some(last) = rows.last() else { break };
            after = last.uid;
            for row in rows {
                // One transaction each: a Job may have many Tasks.
                let uid = row.uid;
                match self.write("jobs_clear", move |txn| Box::pin(async move { clear(txn, uid).await })).await {
                    Ok(done) => cleared += u32::from(done),
                    // The others need not wait for somebody to mend it.
                    Err(StoreError::Corrupt(corrupt)) => {
                        tracing::error!(job.uid = %uid, %corrupt, "a job cannot be cleared");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(cleared)
    }
}

fn is_ready() -> sea_orm::Condition {
    sea_orm::Condition::all().add(job::Column::State.eq(job::DELETING)).add(Expr::cust(
        "NOT EXISTS (SELECT 1 FROM tasks t WHERE t.job_uid = jobs.uid \
         AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING'))",
    ))
}

/// False: somebody else is at it, or something of it is live after all.
async fn clear(txn: &Txn, uid: Uuid) -> Result<bool, Fault> {
    let locked = job::Entity::find_by_id(uid)
        .filter(is_ready())
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .one(&txn.db)
        .await?;
    let Some(row) = locked else { return Ok(false) };
    let now: Timestamp = txn.now().await?;
    removed::tasks(txn, Owner::Job(uid), now).await?;
    let write = row.open(&txn.secrets)?.deleted(now).numbered(0);
    for text in ["DELETE FROM schedules WHERE job_uid = $1", "DELETE FROM jobs WHERE uid = $1"] {
        sql::execute(&txn.db, text, [uid.into()]).await?;
    }
    event::append_all(txn, &write.events).await?;
    Ok(true)
}
