//! Marking: finished Tasks that are to go. A mark is final; what lives is never marked, whoever asks for it.

use sea_orm::prelude::Uuid;
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

/// The limit is taken once, before anything is marked; and whatever was picked is judged again when it is. `$1` and what
/// comes after `$4` are the condition's.
macro_rules! marking {
    ($of:literal, $lock:literal) => {
        concat!(
            "WITH picked AS MATERIALIZED (SELECT uid FROM tasks WHERE state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') \
             AND remove_since IS NULL AND ",
            $of,
            " LIMIT $2",
            $lock,
            ") UPDATE tasks SET remove_since = $3, remove_cause = $4 FROM picked WHERE tasks.uid = picked.uid \
             AND tasks.state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND tasks.remove_since IS NULL"
        )
    };
    ($of:literal) => {
        (marking!($of, ""), marking!($of, " FOR UPDATE SKIP LOCKED"))
    };
}
pub(crate) use marking;

/// The same within a transaction. Those that another marker is at are passed over: they are being marked.
pub(crate) async fn mark(txn: &Txn, of: RemovalOf, cause: Cause, limit: u32) -> Result<u32, Fault> {
    let (uid, texts) = match of {
        RemovalOf::Space(SpaceUid(uid)) => {
            (uid, marking!("app_uid IN (SELECT a.uid FROM apps a WHERE a.space_uid = $1)"))
        }
        RemovalOf::App(AppUid(uid)) => (uid, marking!("app_uid = $1")),
        RemovalOf::Job(JobUid(uid)) => (uid, marking!("job_uid = $1")),
        RemovalOf::Task(TaskUid(uid)) => (uid, marking!("uid = $1")),
    };
    marked(txn, texts, uid, None, cause, limit).await
}

/// Runs one of those statements, with one more value if it needs one.
pub(crate) async fn marked(
    txn: &Txn,
    (sqlite, postgres): (&'static str, &'static str),
    of: Uuid,
    bound: Option<i64>,
    cause: Cause,
    limit: u32,
) -> Result<u32, Fault> {
    let now = txn.now().await?.as_microsecond();
    let values = [of.into(), i64::from(limit).into(), now.into(), cause.as_str().into()];
    let values = values.into_iter().chain(bound.map(Into::into));
    let marked = sql::execute(&txn.db, sql::choose(&txn.db, sqlite, postgres), values).await?;
    Ok(u32::try_from(marked).unwrap_or(u32::MAX))
}
