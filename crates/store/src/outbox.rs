//! The outbox: events that the bus does not have yet. Each aggregate shows its oldest one only, so that its order holds
//! however many relays there are.

use std::sync::Arc;

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use taskplane_domain::event::Event;

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::event;
use crate::sql;

impl Store {
    /// The oldest unpublished event of each aggregate, with the id to mark it by.
    pub async fn outbox_heads(&self, limit: u32) -> Result<Vec<(i64, Event)>, StoreError> {
        let text = "SELECT * FROM events e WHERE e.published_at IS NULL AND NOT EXISTS (SELECT 1 FROM events earlier \
                 WHERE earlier.uid = e.uid AND earlier.sequence < e.sequence AND earlier.published_at IS NULL) \
             ORDER BY e.id LIMIT $1";
        let rows: Vec<event::Model> = self.read(sql::all(self.db(), text, [i64::from(limit).into()])).await?;
        rows.into_iter().map(|row| Ok((row.id, row.try_into()?))).collect()
    }

    /// The bus has acknowledged them. Marking twice is no error.
    pub async fn outbox_mark(&self, ids: &[i64]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids: Arc<[i64]> = ids.into();
        self.write("outbox_mark", move |txn| {
            let ids = Arc::clone(&ids);
            Box::pin(async move {
                let now = txn.now().await?.as_microsecond();
                let cells = event::ActiveModel { published_at: Set(Some(now)), ..Default::default() };
                for some in ids.chunks(500) {
                    event::Entity::update_many()
                        .set(cells.clone())
                        .filter(event::Column::Id.is_in(some.iter().copied()))
                        .filter(event::Column::PublishedAt.is_null())
                        .exec(&txn.db)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}
