//! What deletions left in the object store: listed until somebody says that it is cleared.

use std::sync::Arc;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use taskplane_domain::uid::{AppUid, SpaceUid, TaskUid};

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::removal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    pub id: i64,
    pub space: SpaceUid,
    pub app: AppUid,
    pub task: TaskUid,
}

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
