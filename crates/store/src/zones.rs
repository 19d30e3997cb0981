//! Which release of the time zone database the schedules were computed with. A replica with an older one would see other
//! ticks, so it makes none; one with a newer one brings them up to it first.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder, QuerySelect};
use taskplane_domain::job::Schedule;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::schedule;
use crate::sql;
use crate::txn::Txn;

const BATCH: u64 = 400;

impl Store {
    /// True: schedules may be decided with this release, and are computed with it from now on. False: a newer one did.
    pub async fn zones_claim(&self, release: &'static str) -> Result<bool, StoreError> {
        // All passes but the first find it as it is: they need not wait for anybody's turn.
        let known = self.read(sql::one::<Known>(self.db(), "SELECT tzdb FROM meta WHERE id = 1", [])).await?;
        if known.and_then(|known| known.tzdb).as_deref() == Some(release) {
            return Ok(true);
        }
        self.write("zones_claim", move |txn| Box::pin(async move { claim(txn, release).await })).await
    }
}

#[derive(sea_orm::FromQueryResult)]
struct Known {
    tzdb: Option<String>,
}

async fn claim(txn: &Txn, release: &'static str) -> Result<bool, Fault> {
    let text =
        sql::choose(&txn.db, "SELECT tzdb FROM meta WHERE id = 1", "SELECT tzdb FROM meta WHERE id = 1 FOR UPDATE");
    let known = sql::one::<Known>(&txn.db, text, []).await?.and_then(|known| known.tzdb);
    // Releases are a year and a letter: the order of their texts is theirs.
    match known.as_deref().map(|known| known.cmp(release)) {
        Some(std::cmp::Ordering::Greater) => return Ok(false),
        Some(std::cmp::Ordering::Equal) => return Ok(true),
        Some(std::cmp::Ordering::Less) => recompute(txn).await?,
        None => {}
    }
    sql::execute(&txn.db, "UPDATE meta SET tzdb = $1 WHERE id = 1", [release.into()]).await?;
    Ok(true)
}

async fn recompute(txn: &Txn) -> Result<(), Fault> {
    let now = txn.now().await?;
    let mut after = Uuid::nil();
    loop {
        let rows = schedule::Entity::find()
            .filter(schedule::Column::NextAt.is_not_null())
            .filter(schedule::Column::Uid.gt(after))
            .order_by_asc(schedule::Column::Uid)
            .limit(BATCH)
            // One that is being deleted is waited for, and is not brought back.
            .lock_exclusive()
            .all(&txn.db)
            .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.uid;
        let moved = rows.into_iter().filter_map(|row| moved(row, now));
        let moved: Vec<schedule::ActiveModel> = moved.collect();
        if moved.is_empty() {
            continue;
        }
        let next = OnConflict::column(schedule::Column::Uid).update_column(schedule::Column::NextAt).to_owned();
        schedule::Entity::insert_many(moved).on_conflict(next).exec_without_returning(&txn.db).await?;
    }
}

/// One that cannot be read is left to the pass that finds it due.
fn moved(row: schedule::Model, now: Timestamp) -> Option<schedule::ActiveModel> {
    let before = Schedule::try_from(row).ok()?;
    let after = before.clone().recomputed(now);
    (after != before).then(|| schedule::Model::from(&after).into())
}
