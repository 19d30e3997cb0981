//! The feed: all events in one order that readers can resume.
//!
//! Insert ids become visible out of order, so nobody may read "after id n". A position is given once an event is committed,
//! under the lock of one row: when n is visible, everything below n is.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use taskplane_domain::event::{Event, Kind};
use taskplane_domain::name::Name;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{Row, big, event};
use crate::sql;
use crate::txn::Txn;

#[derive(Debug, Clone)]
pub struct FeedQuery {
    pub space: Name,
    pub app: Option<Name>,
    pub task_id: Option<u64>,
    pub tasks_only: bool,
}

/// A place in the feed of a Space. What was trimmed before somebody came by there is nothing that he missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedMark {
    pub position: u64,
    /// How far the feed was trimmed when the mark was made.
    pub trimmed: u64,
}

impl FeedMark {
    /// Before the first event that is kept, whichever that is.
    pub const START: Self = Self { position: 0, trimmed: u64::MAX };

    /// Behind everything that there was when `position` was the last one given.
    pub fn behind(position: u64) -> Self {
        Self { position, trimmed: 0 }
    }

    fn reaches(self, trimmed: u64) -> bool {
        trimmed <= self.position.max(self.trimmed)
    }
}

#[derive(FromQueryResult)]
struct Placed {
    #[sea_orm(nested)]
    event: event::Model,
    trimmed: Option<i64>,
}

impl Store {
    /// Gives positions to up to `limit` events that have none. Says how many; fewer than `limit` means that none is left.
    pub async fn feed_assign(&self, limit: u32) -> Result<u64, StoreError> {
        // Most passes find nothing: they need not wait for anybody's turn.
        let text = "SELECT count(*) AS value FROM (SELECT id FROM events WHERE feed_position IS NULL LIMIT 1) fresh";
        if self.read(sql::number(self.db(), text, [])).await? == Some(0) {
            return Ok(0);
        }
        self.write("feed_assign", move |txn| Box::pin(async move { assign(txn, limit).await })).await
    }

    /// The last position given.
    pub async fn feed_head(&self) -> Result<u64, StoreError> {
        let head = self.read(sql::number(self.db(), "SELECT position AS value FROM feed WHERE id = 1", [])).await?;
        Ok(Row::new("feed", 1).count("position", head.unwrap_or(-1))?)
    }

    /// `Trimmed`: somebody who was there has missed something.
    pub async fn feed_reaches(&self, space: &Name, mark: FeedMark) -> Result<(), StoreError> {
        let text = "SELECT position AS value FROM feed_horizons WHERE space = $1";
        let trimmed = self.read(sql::number(self.db(), text, [space.as_str().into()])).await?.unwrap_or_default();
        let trimmed = Row::new("feed_horizons", space).count("position", trimmed)?;
        if mark.reaches(trimmed) { Ok(()) } else { Err(StoreError::Trimmed) }
    }

    /// Events behind a mark, in order, each with its own. `Trimmed`: not all that were behind it are kept.
    pub async fn feed_read(
        &self,
        query: &FeedQuery,
        after: FeedMark,
        limit: u32,
    ) -> Result<Vec<(FeedMark, Event)>, StoreError> {
        use event::Column;
        let FeedQuery { space, app, task_id, tasks_only } = query;
        let mut select = event::Entity::find()
            .filter(Column::Space.eq(space.as_str()))
            .filter(Column::FeedPosition.gt(big(after.position)));
        if let Some(app) = app {
            select = select.filter(Column::App.eq(app.as_str()));
        }
        if let Some(id) = task_id {
            select = select.filter(Column::TaskId.eq(big(*id)));
        }
        if *tasks_only {
            select = select.filter(Column::Kind.eq(Kind::Task.as_str()));
        }
        let select = select.order_by_asc(Column::FeedPosition).limit(u64::from(limit));
        // In the same statement: what is trimmed is either still here, or told.
        let horizon = Expr::cust("(SELECT h.position FROM feed_horizons h WHERE h.space = events.space)");
        let select = select.expr_as(horizon, "trimmed").into_model::<Placed>();
        let rows = self.read(select.all(self.db())).await?;
        let placed = |Placed { event, trimmed }: Placed| {
            let position = event.feed_position.unwrap_or(-1);
            let position = Row::new("events", event.id).count("feed_position", position)?;
            let trimmed = Row::new("feed_horizons", &event.space).count("position", trimmed.unwrap_or_default())?;
            if !after.reaches(trimmed) {
                return Err(StoreError::Trimmed);
            }
            Ok((FeedMark { position, trimmed }, event.try_into()?))
        };
        rows.into_iter().map(placed).collect()
    }
}

async fn assign(txn: &Txn, limit: u32) -> Result<u64, Fault> {
    let text = sql::choose(
        &txn.db,
        "SELECT position AS value FROM feed WHERE id = 1",
        "SELECT position AS value FROM feed WHERE id = 1 FOR UPDATE",
    );
    let head = sql::number(&txn.db, text, []).await?;
    let head = Row::new("feed", 1).needed("position", head)?;
    // In the order of their ids, which within one aggregate is the order of their sequence: the next change of a thing
    // cannot be written before the one before is committed.
    let text = "WITH fresh AS MATERIALIZED (SELECT id, row_number() OVER (ORDER BY id) AS place \
             FROM (SELECT id FROM events WHERE feed_position IS NULL ORDER BY id LIMIT $2) oldest) \
         UPDATE events SET feed_position = $1 + fresh.place FROM fresh WHERE events.id = fresh.id";
    let given = sql::execute(&txn.db, text, [head.into(), i64::from(limit).into()]).await?;
    let text = "UPDATE feed SET position = $1 WHERE id = 1";
    sql::execute(&txn.db, text, [(head + big(given)).into()]).await?;
    Ok(given)
}
