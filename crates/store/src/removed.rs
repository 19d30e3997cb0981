//! Tasks that go with what they belong to: each says goodbye, and what they left in the object store is listed.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use taskplane_domain::event::Event;
use taskplane_domain::task::Task;

use crate::error::{Fault, StoreError};
use crate::row::task;
use crate::txn::Txn;
use crate::{event, sql};

/// Rows read and written at a time.
const BATCH: u64 = 200;

/// Whose Tasks go.
#[derive(Clone, Copy)]
pub(crate) enum Owner {
    App(Uuid),
    Job(Uuid),
}

/// All of them are over; the caller has seen to it that none comes.
pub(crate) async fn tasks(txn: &Txn, owner: Owner, at: Timestamp) -> Result<(), Fault> {
    tell(txn, owner, at).await?;
    let (uid, texts) = match owner {
        Owner::App(uid) => (
            uid,
            [
                "INSERT INTO removals (space_uid, app_uid, task_uid, created_at) \
                     SELECT space_uid, app_uid, uid, $2 FROM tasks WHERE app_uid = $1",
                "DELETE FROM attempts WHERE task_uid IN (SELECT uid FROM tasks WHERE app_uid = $1)",
                "DELETE FROM tasks WHERE app_uid = $1",
            ],
        ),
        Owner::Job(uid) => (
            uid,
            [
                "INSERT INTO removals (space_uid, app_uid, task_uid, created_at) \
                     SELECT space_uid, app_uid, uid, $2 FROM tasks WHERE job_uid = $1",
                "DELETE FROM attempts WHERE task_uid IN (SELECT uid FROM tasks WHERE job_uid = $1)",
                "DELETE FROM tasks WHERE job_uid = $1",
            ],
        ),
    };
    let [listed, attempts, tasks] = texts;
    sql::execute(&txn.db, listed, [uid.into(), at.as_microsecond().into()]).await?;
    sql::execute(&txn.db, attempts, [uid.into()]).await?;
    sql::execute(&txn.db, tasks, [uid.into()]).await?;
    Ok(())
}

/// Finished rows stay as they are, so what is read here is what is deleted after.
async fn tell(txn: &Txn, owner: Owner, at: Timestamp) -> Result<(), Fault> {
    let mut after = 0;
    loop {
        let of = match owner {
            Owner::App(uid) => task::Column::AppUid.eq(uid),
            Owner::Job(uid) => task::Column::JobUid.eq(uid),
        };
        let found = task::Entity::find().filter(of).filter(task::Column::Id.gt(after));
        let rows = found.order_by_asc(task::Column::Id).limit(BATCH).all(&txn.db).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.id;
        let mut events: Vec<Event> = Vec::with_capacity(rows.len());
        for row in rows {
            let task = Task::try_from(row)?;
            let name = task.name.to_string();
            let removed = task.remove(at).map_err(|_| Fault::Again(StoreError::Conflict(name)))?;
            events.push(removed.event().clone());
        }
        event::append_all(txn, &events).await?;
    }
}
