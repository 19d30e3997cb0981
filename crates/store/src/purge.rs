//! Removal, its last step: rows of marked Tasks go once nothing of their last run is left and all their events are told.

use std::time::Duration;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryFilter, Set};
use taskplane_domain::task::Task;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{attempt, removal, task};
use crate::txn::Txn;
use crate::{event, sql};

/// Rows that one transaction takes away.
pub(crate) const BATCH: u32 = 200;

/// Where a pass stands: behind the last row it looked at.
type Place = (i64, Uuid);

impl Store {
    /// Takes away up to about `limit` Tasks that may go, the oldest marks first: of each its last event stays, its runs in the
    /// ledger, and an entry that says what is to be cleared in the object store. Says how many went.
    pub async fn removals_purge(&self, limit: u32) -> Result<u32, StoreError> {
        let (mut gone, mut place) = (0, (i64::MIN, Uuid::nil()));
        while gone < limit {
            let batch = (limit - gone).min(BATCH);
            let (some, last) = self
                .write("removals_purge", move |txn| Box::pin(async move { purge(txn, place, batch).await }))
                .await?;
            gone += some;
            match last {
                Some(last) => place = last,
                None => break,
            }
        }
        Ok(gone)
    }

    /// How long ago the latest mark was set of those that still have their row; none: no Task is marked.
    pub async fn removals_pending(&self) -> Result<Option<Duration>, StoreError> {
        let text = "SELECT max(at) AS value FROM (\
                 SELECT max(remove_since) AS at FROM tasks WHERE remove_since IS NOT NULL AND NOT run_left \
                 UNION ALL SELECT max(remove_since) FROM tasks WHERE remove_since IS NOT NULL AND run_left) latest";
        let Some(latest) = self.read(sql::number(self.db(), text, [])).await? else { return Ok(None) };
        let now = self.now().await?.as_microsecond();
        Ok(Some(Duration::from_micros(u64::try_from(now.saturating_sub(latest)).unwrap_or_default())))
    }
}

/// How many went, and where to go on; nowhere, when there was less than was asked for.
async fn purge(txn: &Txn, (since, uid): Place, limit: u32) -> Result<(u32, Option<Place>), Fault> {
    // The events of each Task are looked up by its uid and in no other way, whatever statistics say that know of few events
    // yet: a subquery with a limit is never made a join, and `coalesce` keeps it off the indexes of all that is untold.
    let text = sql::choose(
        &txn.db,
        "SELECT * FROM tasks t WHERE t.remove_since IS NOT NULL AND NOT t.run_left AND (t.remove_since, t.uid) > ($1, $2) \
             AND t.state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') \
             AND (SELECT 1 FROM events e WHERE e.uid = t.uid AND coalesce(e.published_at, -1) = -1 LIMIT 1) IS NULL \
             ORDER BY t.remove_since, t.uid LIMIT $3",
        "SELECT * FROM tasks t WHERE t.remove_since IS NOT NULL AND NOT t.run_left AND (t.remove_since, t.uid) > ($1, $2) \
             AND t.state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') \
             AND (SELECT 1 FROM events e WHERE e.uid = t.uid AND coalesce(e.published_at, -1) = -1 LIMIT 1) IS NULL \
             ORDER BY t.remove_since, t.uid LIMIT $3 FOR UPDATE SKIP LOCKED",
    );
    let values = [since.into(), uid.into(), i64::from(limit).into()];
    let rows: Vec<task::Model> = sql::all(&txn.db, text, values).await?;
    let full = u64::try_from(rows.len()).unwrap_or_default() >= u64::from(limit);
    let last = rows.last().and_then(|row| Some((row.remove_since?, row.uid))).filter(|_| full);
    let mut tasks = Vec::with_capacity(rows.len());
    for row in rows {
        match Task::try_from(row) {
            Ok(task) => tasks.push(task),
            // The others need not wait for somebody to mend it.
            Err(corrupt) => tracing::error!(%corrupt, "a task cannot be removed"),
        }
    }
    let gone = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
    remove(txn, tasks, txn.now().await?).await?;
    Ok((gone, last))
}

/// Takes the rows of these Tasks away: each says goodbye, and what they left in the object store is listed. The caller holds
/// the rows, and all of them are over.
pub(crate) async fn remove(txn: &Txn, tasks: Vec<Task>, at: Timestamp) -> Result<(), Fault> {
    if tasks.is_empty() {
        return Ok(());
    }
    let uids: Vec<Uuid> = tasks.iter().map(|task| task.uid.0).collect();
    let (mut events, mut removals) = (Vec::with_capacity(tasks.len()), Vec::with_capacity(tasks.len()));
    for task in tasks {
        removals.push(removal::ActiveModel {
            space_uid: Set(task.space_uid.0),
            app_uid: Set(task.app_uid.0),
            task_uid: Set(task.uid.0),
            created_at: Set(at.as_microsecond()),
            ..Default::default()
        });
        let name = task.name.to_string();
        let removed = task.remove(at).map_err(|_| Fault::Again(StoreError::Conflict(name)))?;
        events.push(removed.event().clone());
    }
    event::append_all(txn, &events).await?;
    removal::Entity::insert_many(removals).exec_without_returning(&txn.db).await?;
    attempt::Entity::delete_many().filter(attempt::Column::TaskUid.is_in(uids.iter().copied())).exec(&txn.db).await?;
    task::Entity::delete_many().filter(task::Column::Uid.is_in(uids)).exec(&txn.db).await?;
    Ok(())
}
