//! Histories that are over: once a thing is gone and its time is up, its events and its idempotency key go, all of them.
//!
//! They are found by their ends, which only things that are gone have. So what is kept is never walked over, and no history
//! is cut in half: the end goes last.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::key;
use crate::sql;
use crate::txn::Txn;

/// Histories looked at in one pass.
const HISTORIES: i64 = 200;
/// Values of one statement.
const VALUES: usize = 500;

#[derive(FromQueryResult)]
struct Trimmed {
    uid: Uuid,
    space: String,
    feed_position: Option<i64>,
    ended: bool,
}

impl Store {
    /// Removes up to `limit` events of things that are gone, whose end was published before `before`; with the end the
    /// idempotency key too. Says how many. Whoever reads the feed from further back is told so from now on.
    pub async fn histories_trim(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.write("histories_trim", move |txn| Box::pin(async move { trim(txn, before, limit).await })).await
    }
}

async fn trim(txn: &Txn, before: Timestamp, limit: u32) -> Result<u32, Fault> {
    const TEXT: &str = "DELETE FROM events WHERE id IN (SELECT e.id FROM (SELECT x.uid FROM events x \
             WHERE x.fact IN ('removed', 'deleted') AND x.feed_position IS NOT NULL AND x.published_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.uid = x.uid) \
             AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.uid = x.uid) \
             AND NOT EXISTS (SELECT 1 FROM apps a WHERE a.uid = x.uid) \
             AND NOT EXISTS (SELECT 1 FROM spaces s WHERE s.uid = x.uid) \
             ORDER BY x.feed_position LIMIT $2) gone JOIN events e ON e.uid = gone.uid \
         ORDER BY CASE WHEN e.fact IN ('removed', 'deleted') THEN 1 ELSE 0 END, e.id LIMIT $3) \
         RETURNING uid, space, feed_position, fact IN ('removed', 'deleted') AS ended";
    let values = [before.as_microsecond().into(), HISTORIES.into(), i64::from(limit).into()];
    let trimmed: Vec<Trimmed> = sql::all(&txn.db, TEXT, values).await?;
    let mut horizons: HashMap<&str, i64> = HashMap::new();
    for Trimmed { space, feed_position, .. } in &trimmed {
        let horizon = horizons.entry(space).or_default();
        *horizon = (*horizon).max(feed_position.unwrap_or_default());
    }
    // In one order, so that two reapers wait for each other at most once.
    let mut horizons: Vec<(&str, i64)> = horizons.into_iter().collect();
    horizons.sort_unstable();
    for (space, position) in horizons {
        const TEXT: &str = "INSERT INTO feed_horizons (space, position) VALUES ($1, $2) \
             ON CONFLICT (space) DO UPDATE SET position = CASE WHEN feed_horizons.position > excluded.position \
             THEN feed_horizons.position ELSE excluded.position END";
        sql::execute(&txn.db, TEXT, [space.into(), position.into()]).await?;
    }
    let ended: Vec<Uuid> = trimmed.iter().filter(|event| event.ended).map(|event| event.uid).collect();
    for some in ended.chunks(VALUES) {
        key::Entity::delete_many().filter(key::Column::TaskUid.is_in(some.iter().copied())).exec(&txn.db).await?;
    }
    Ok(u32::try_from(trimmed.len()).unwrap_or(u32::MAX))
}
