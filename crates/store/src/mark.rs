//! Marking: finished Tasks that are to go. A mark is final; what lives is never marked, whoever asks for it.

use taskplane_domain::retention::Cause;
use taskplane_domain::uid::{AppUid, JobUid, SpaceUid, TaskUid};

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::sql;
use crate::txn::Txn;

/// Whose Tasks are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalOf {
    Space(SpaceUid),
    App(AppUid),
    Job(JobUid),
    Task(TaskUid),
}

impl Store {
    /// Marks up to `limit` finished Tasks; none marked says that none is left to be marked now. What is live stays as it is:
    /// ask for its end first, and mark again when it is over.
    pub async fn removal_mark(&self, of: RemovalOf, cause: Cause, limit: u32) -> Result<u32, StoreError> {
        self.write("removal_mark", move |txn| Box::pin(async move { mark(txn, of, cause, limit).await })).await
    }
}

/// The limit is taken once, before anything is marked; and whatever was picked is judged again when it is.
macro_rules! marking {
    ($of:literal, $lock:literal) => {
        concat!(
            "WITH picked AS MATERIALIZED (SELECT uid FROM tasks WHERE ",
            $of,
            " AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND remove_since IS NULL LIMIT $2",
            $lock,
            ") \
             UPDATE tasks SET remove_since = $3, remove_cause = $4 FROM picked WHERE tasks.uid = picked.uid \
             AND tasks.state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND tasks.remove_since IS NULL"
        )
    };
}

/// The same within a transaction. Those that another marker is at are passed over: they are being marked.
pub(crate) async fn mark(txn: &Txn, of: RemovalOf, cause: Cause, limit: u32) -> Result<u32, Fault> {
    let (uid, sqlite, postgres) = match of {
        RemovalOf::Space(SpaceUid(uid)) => (
            uid,
            marking!("app_uid IN (SELECT uid FROM apps WHERE space_uid = $1)", ""),
            marking!("app_uid IN (SELECT uid FROM apps WHERE space_uid = $1)", " FOR UPDATE SKIP LOCKED"),
        ),
        RemovalOf::App(AppUid(uid)) => {
            (uid, marking!("app_uid = $1", ""), marking!("app_uid = $1", " FOR UPDATE SKIP LOCKED"))
        }
        RemovalOf::Job(JobUid(uid)) => {
            (uid, marking!("job_uid = $1", ""), marking!("job_uid = $1", " FOR UPDATE SKIP LOCKED"))
        }
        RemovalOf::Task(TaskUid(uid)) => {
            (uid, marking!("uid = $1", ""), marking!("uid = $1", " FOR UPDATE SKIP LOCKED"))
        }
    };
    let now = txn.now().await?.as_microsecond();
    let values = [uid.into(), i64::from(limit).into(), now.into(), cause.as_str().into()];
    let marked = sql::execute(&txn.db, sql::choose(&txn.db, sqlite, postgres), values).await?;
    Ok(u32::try_from(marked).unwrap_or(u32::MAX))
}
