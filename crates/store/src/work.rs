//! Work for executors: Tasks are claimed by a session, and held until they are over or given back.

use std::time::Duration;

use jiff::Timestamp;
use taskplane_domain::name::Name;
use taskplane_domain::task::Task;
use taskplane_domain::uid::{Fence, SessionUid};

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{session, task};
use crate::session::ended;
use crate::sql;
use crate::txn::Txn;

/// A live Task of a session. Its reports must carry the fence.
#[derive(Debug, Clone)]
pub struct Held {
    pub task: Task,
    pub fence: Fence,
}

impl Store {
    /// Takes up to `limit` Tasks of the session's cluster that wait, are due and nobody's; the oldest first. Says how many.
    /// `Fenced`: the session was ended.
    pub async fn work_claim(&self, session: SessionUid, limit: u32) -> Result<u64, StoreError> {
        if limit == 0 {
            return Ok(0);
        }
        self.write("work_claim", move |txn| Box::pin(async move { claim(txn, session, limit).await })).await
    }

    /// Every Task that the session holds; the oldest first.
    pub async fn work_held(&self, session: SessionUid) -> Result<Vec<Held>, StoreError> {
        let text = "SELECT * FROM tasks WHERE session_uid = $1 ORDER BY created_at, uid";
        let rows: Vec<task::Model> = self.read(sql::all(self.db(), text, [session.0.into()])).await?;
        let held = |row: task::Model| Ok(Held { fence: row.fence()?, task: row.try_into()? });
        rows.into_iter().map(held).collect()
    }

    /// How long until the next waiting Task of the cluster is due, by the database's clock. None: no Task waits for its time.
    pub async fn work_next_due(&self, cluster: &Name) -> Result<Option<Duration>, StoreError> {
        let now = self.now().await?;
        let text = "SELECT min(not_before) AS value FROM tasks \
             WHERE state = 'PENDING' AND session_uid IS NULL AND cluster = $1 AND not_before > $2";
        let due =
            self.read(sql::number(self.db(), text, [cluster.as_str().into(), now.as_microsecond().into()])).await?;
        let due = due.and_then(|due| Timestamp::from_microsecond(due).ok());
        Ok(due.map(|due| due.duration_since(now).unsigned_abs()))
    }
}

async fn claim(txn: &Txn, uid: SessionUid, limit: u32) -> Result<u64, Fault> {
    // Locked: the session cannot be ended while it takes more.
    let open = sql::choose(
        &txn.db,
        "SELECT * FROM sessions WHERE uid = $1 AND closed_at IS NULL",
        "SELECT * FROM sessions WHERE uid = $1 AND closed_at IS NULL FOR SHARE",
    );
    let Some(session) = sql::one::<session::Model>(&txn.db, open, [uid.0.into()]).await? else {
        return Err(ended(txn, uid).await?);
    };
    let text = sql::choose(
        &txn.db,
        "WITH picked AS MATERIALIZED (SELECT uid FROM tasks \
             WHERE state = 'PENDING' AND session_uid IS NULL AND cluster = $2 AND (not_before IS NULL OR not_before <= $3) \
             AND (NOT job_waits OR NOT EXISTS (SELECT 1 FROM tasks older WHERE older.job_uid = tasks.job_uid \
             AND older.id < tasks.id AND older.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING'))) \
             ORDER BY created_at, uid LIMIT $4) \
         UPDATE tasks SET session_uid = $1, fence = fence + 1 FROM picked WHERE tasks.uid = picked.uid",
        "WITH picked AS MATERIALIZED (SELECT uid FROM tasks \
             WHERE state = 'PENDING' AND session_uid IS NULL AND cluster = $2 AND (not_before IS NULL OR not_before <= $3) \
             AND (NOT job_waits OR NOT EXISTS (SELECT 1 FROM tasks older WHERE older.job_uid = tasks.job_uid \
             AND older.id < tasks.id AND older.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING'))) \
             ORDER BY created_at, uid LIMIT $4 FOR UPDATE SKIP LOCKED) \
         UPDATE tasks SET session_uid = $1, fence = fence + 1 FROM picked WHERE tasks.uid = picked.uid",
    );
    let now = txn.now().await?.as_microsecond();
    let values = [uid.0.into(), session.cluster.into(), now.into(), i64::from(limit).into()];
    Ok(sql::execute(&txn.db, text, values).await?)
}
