//! Tasks that somebody deletes: over, they are marked at once; live, they are asked to end and marked when they are over.

use std::sync::Arc;

use taskplane_domain::retention::Cause;
use taskplane_domain::task::Transition;
use taskplane_domain::uid::TaskUid;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::txn::Txn;
use crate::{sql, task};

impl Store {
    /// The Task is to go once it is over. `step`: the change that asks for its end, if that was not done before.
    pub async fn task_delete(&self, uid: TaskUid, step: Option<&Transition>) -> Result<(), StoreError> {
        let step = Arc::new(step.cloned());
        self.write("task_delete", move |txn| {
            let step = Arc::clone(&step);
            Box::pin(async move { delete(txn, uid, step.as_ref().as_ref()).await })
        })
        .await
    }

    /// Marks up to `limit` Tasks that are over and were to go then. Says how many.
    pub async fn removals_asked(&self, limit: u32) -> Result<u32, StoreError> {
        const ANY: &str = "SELECT count(*) AS value FROM (SELECT 1 FROM tasks WHERE remove_asked AND remove_since IS NULL \
             AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') LIMIT 1) over";
        if self.read(sql::number(self.db(), ANY, [])).await? == Some(0) {
            return Ok(0);
        }
        self.write("removals_asked", move |txn| Box::pin(async move { mark(txn, limit).await })).await
    }
}

async fn delete(txn: &Txn, uid: TaskUid, step: Option<&Transition>) -> Result<(), Fault> {
    if let Some(step) = step
        && !task::change(txn, step, None).await?
    {
        return Err(StoreError::Conflict(step.task().name.to_string()).into());
    }
    sql::execute(&txn.db, "UPDATE tasks SET remove_asked = true WHERE uid = $1", [uid.0.into()]).await?;
    Ok(())
}

async fn mark(txn: &Txn, limit: u32) -> Result<u32, Fault> {
    let text = sql::choose(
        &txn.db,
        "WITH picked AS MATERIALIZED (SELECT uid FROM tasks WHERE remove_asked AND remove_since IS NULL \
             AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') LIMIT $1) \
         UPDATE tasks SET remove_since = $2, remove_cause = $3 FROM picked WHERE tasks.uid = picked.uid",
        "WITH picked AS MATERIALIZED (SELECT uid FROM tasks WHERE remove_asked AND remove_since IS NULL \
             AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') LIMIT $1 FOR UPDATE SKIP LOCKED) \
         UPDATE tasks SET remove_since = $2, remove_cause = $3 FROM picked WHERE tasks.uid = picked.uid",
    );
    let now = txn.now().await?.as_microsecond();
    let values = [i64::from(limit).into(), now.into(), Cause::Deleted.as_str().into()];
    Ok(u32::try_from(sql::execute(&txn.db, text, values).await?).unwrap_or(u32::MAX))
}
