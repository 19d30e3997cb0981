//! What deletions left in the object store: listed until somebody says that it is cleared.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use taskplane_domain::uid::{AppUid, SpaceUid, TaskUid};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::removal;
use crate::sql;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    pub id: i64,
    pub space: SpaceUid,
    pub app: AppUid,
    pub task: TaskUid,
}

#[derive(FromQueryResult)]
struct TaskRow {
    uid: Uuid,
}

/// Only when nothing of its last run is left is all of its log in the archive; or an hour after, when nobody says so.
macro_rules! logs_to_list {
    ($lock:literal) => {
        concat!(
            "SELECT uid FROM tasks WHERE log_delete = 'ASKED' AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') \
             AND (NOT run_left OR finished_at <= $1) ORDER BY uid LIMIT $2",
            $lock
        )
    };
}

const COMPLETE: SignedDuration = SignedDuration::from_hours(1);

impl Store {
    /// The oldest first.
    pub async fn removals_list(&self, limit: u32) -> Result<Vec<Removal>, StoreError> {
        let found = removal::Entity::find().order_by_asc(removal::Column::Id).limit(u64::from(limit));
        let rows = self.read(found.all(self.db())).await?;
        let removal = |row: removal::Model| Removal {
            id: row.id,
            space: SpaceUid(row.space_uid),
            app: AppUid(row.app_uid),
            task: TaskUid(row.task_uid),
        };
        Ok(rows.into_iter().map(removal).collect())
    }

    /// Lists the logs of up to `limit` Tasks that are over and are not to keep theirs. False: none waits for that.
    pub async fn removals_of_logs(&self, limit: u32) -> Result<bool, StoreError> {
        let any = "SELECT min(id) AS value FROM tasks WHERE log_delete = 'ASKED' \
             AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')";
        if self.read(sql::number(self.db(), any, [])).await?.is_none() {
            return Ok(false);
        }
        self.write("removals_of_logs", move |txn| {
            Box::pin(async move {
                let now = txn.now().await?;
                let complete = now.checked_sub(COMPLETE).unwrap_or(Timestamp::MIN).as_microsecond();
                let picked = sql::choose(&txn.db, logs_to_list!(""), logs_to_list!(" FOR UPDATE SKIP LOCKED"));
                let values = [complete.into(), i64::from(limit).into()];
                for TaskRow { uid } in sql::all(&txn.db, picked, values).await? {
                    let text = "INSERT INTO removals (space_uid, app_uid, task_uid, created_at) \
                         SELECT space_uid, app_uid, uid, $2 FROM tasks WHERE uid = $1";
                    sql::execute(&txn.db, text, [uid.into(), now.as_microsecond().into()]).await?;
                    let text = "UPDATE tasks SET log_delete = 'LISTED' WHERE uid = $1";
                    sql::execute(&txn.db, text, [uid.into()]).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// Nothing is left of them.
    pub async fn removals_done(&self, ids: &[i64]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids: Arc<[i64]> = ids.into();
        self.write("removals_done", move |txn| {
            let ids = Arc::clone(&ids);
            Box::pin(async move {
                for some in ids.chunks(500) {
                    removal::Entity::delete_many()
                        .filter(removal::Column::Id.is_in(some.iter().copied()))
                        .exec(&txn.db)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}
