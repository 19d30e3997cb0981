//! The outbox: events that the bus does not have yet. Each aggregate shows its oldest one only, so that its order holds
//! however many relays there are.
//!
//! Where the bus keeps a stream, the row of `bus_stream` says which one the marks are about. When that is another one, all marks
//! are taken back in the transaction that notes it; and a mark that comes late, about the former one, is none.

use std::sync::Arc;

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter};
use taskplane_domain::event::{Event, StreamMark};

use crate::connect::Store;
use crate::error::{Corrupt, Fault, StoreError};
use crate::row::{Row, big, event};
use crate::sql;
use crate::txn::Txn;

/// Rows that one statement marks.
const ROWS: usize = 500;

/// Some of what is to be published next, each with the id to mark it by.
#[derive(Debug)]
pub struct Heads {
    pub events: Vec<(i64, Event)>,
    /// Those that cannot be read. They hold back what follows of the same aggregate, and nothing else.
    pub corrupt: Vec<(i64, Corrupt)>,
    /// Where to go on; none: there are no more.
    pub next: Option<i64>,
}

#[derive(FromQueryResult)]
struct Noted {
    incarnation: String,
    last: i64,
}

impl Store {
    /// The oldest unpublished event of each aggregate: up to `limit` of those with an id behind `after`.
    pub async fn outbox_heads(&self, after: i64, limit: u32) -> Result<Heads, StoreError> {
        // As in `purge.rs`: what is earlier is looked up by the uid.
        let text = "SELECT * FROM events e WHERE e.published_at IS NULL AND e.id > $1 AND (\
                 SELECT 1 FROM events earlier \
                 WHERE earlier.uid = e.uid AND earlier.sequence < e.sequence AND coalesce(earlier.published_at, -1) = -1 \
                 LIMIT 1) IS NULL \
             ORDER BY e.id LIMIT $2";
        let values = [after.into(), i64::from(limit).into()];
        let rows: Vec<event::Model> = self.read(sql::all(self.db(), text, values)).await?;
        let full = u64::try_from(rows.len()).unwrap_or_default() >= u64::from(limit);
        let next = rows.last().map(|row| row.id).filter(|_| full);
        let (mut events, mut corrupt) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let id = row.id;
            match row.try_into() {
                Ok(event) => events.push((id, event)),
                Err(error) => corrupt.push((id, error)),
            }
        }
        Ok(Heads { events, corrupt, next })
    }

    /// The bus has acknowledged them; `into`: the stream it put them into, filled as far as that. False: marks are about another
    /// stream by now, and these do not count. Marking twice is no error.
    pub async fn outbox_mark(&self, ids: &[i64], into: Option<&StreamMark>) -> Result<bool, StoreError> {
        if ids.is_empty() {
            return Ok(true);
        }
        let (ids, into): (Arc<[i64]>, _) = (ids.into(), into.cloned());
        self.write("outbox_mark", move |txn| {
            let (ids, into) = (Arc::clone(&ids), into.clone());
            Box::pin(async move { mark(txn, &ids, into).await })
        })
        .await
    }

    /// The stream that marks are about.
    pub async fn outbox_stream(&self) -> Result<Option<StreamMark>, StoreError> {
        let text = "SELECT incarnation, last FROM bus_stream WHERE id = 1";
        let row = Row::new("bus_stream", 1);
        let Noted { incarnation, last } = row.needed("id", self.read(sql::one(self.db(), text, [])).await?)?;
        let last = row.count("last", last)?;
        Ok(Some(StreamMark { incarnation, last }).filter(|mark| !mark.incarnation.is_empty()))
    }

    /// Marks are about `found` from now on, which has nothing of what was published before: all events that are kept are to be
    /// published again. Says how many; none: somebody else has changed it from `known` meanwhile.
    pub async fn outbox_refill(
        &self,
        known: Option<&StreamMark>,
        found: &StreamMark,
    ) -> Result<Option<u64>, StoreError> {
        let known = known.map(|known| known.incarnation.clone()).unwrap_or_default();
        let found = found.clone();
        self.write("outbox_refill", move |txn| {
            let (known, found) = (known.clone(), found.clone());
            Box::pin(async move { refill(txn, known, found).await })
        })
        .await
    }

    /// There is no stream any more. One that comes later has missed what is published until then.
    pub async fn outbox_forget(&self) -> Result<(), StoreError> {
        let text = "UPDATE bus_stream SET incarnation = '', last = 0 WHERE id = 1 AND incarnation <> ''";
        self.write("outbox_forget", move |txn| {
            Box::pin(async move {
                sql::execute(&txn.db, text, []).await?;
                Ok(())
            })
        })
        .await
    }
}

async fn mark(txn: &Txn, ids: &[i64], into: Option<StreamMark>) -> Result<bool, Fault> {
    if let Some(StreamMark { incarnation, last }) = into {
        let text = "UPDATE bus_stream SET last = CASE WHEN last < $1 THEN $1 ELSE last END \
             WHERE id = 1 AND incarnation = $2";
        if sql::execute(&txn.db, text, [big(last).into(), incarnation.into()]).await? == 0 {
            return Ok(false);
        }
    }
    let now = txn.now().await?.as_microsecond();
    let cells = event::ActiveModel { published_at: Set(Some(now)), ..Default::default() };
    for some in ids.chunks(ROWS) {
        event::Entity::update_many()
            .set(cells.clone())
            .filter(event::Column::Id.is_in(some.iter().copied()))
            .filter(event::Column::PublishedAt.is_null())
            .exec(&txn.db)
            .await?;
    }
    Ok(true)
}

async fn refill(txn: &Txn, known: String, StreamMark { incarnation, last }: StreamMark) -> Result<Option<u64>, Fault> {
    if txn.db.get_database_backend() == DbBackend::Postgres {
        // It may be about millions of rows, and nothing is published before it is done.
        txn.db.execute_unprepared("SET LOCAL statement_timeout = '10min'").await?;
    }
    // From here on marks wait.
    let text = "UPDATE bus_stream SET incarnation = $1, last = $2 WHERE id = 1 AND incarnation = $3";
    if sql::execute(&txn.db, text, [incarnation.into(), big(last).into(), known.into()]).await? == 0 {
        return Ok(None);
    }
    let text = "UPDATE events SET published_at = NULL WHERE published_at IS NOT NULL";
    Ok(Some(sql::execute(&txn.db, text, []).await?))
}
