//! What a Space may have: live Tasks counted when another one is asked for, running ones when work is handed out.
//!
//! Nothing is booked anywhere: the rows are counted, by an index of live Tasks, so that no count can go astray. On SQLite
//! there is one writer, and what it counts is so. On PostgreSQL others write meanwhile; see [`room`].

use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;
use taskplane_domain::name::{Name, SpaceName};
use taskplane_domain::space::Quota;
use taskplane_domain::uid::SpaceUid;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::sql;
use crate::txn::Txn;

/// Of the Tasks of a Space that are not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub live: u64,
    /// Handed to an executor.
    pub running: u64,
    /// All the others.
    pub waiting: u64,
}

/// How a transaction that makes a Task stands to others that make one in the same Space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Shared,
    Alone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// For this Task and for all that others may be making at this moment.
    Enough,
    /// For this one perhaps: roll back, and come again alone.
    Scarce,
    None {
        quota: u32,
    },
}

#[derive(FromQueryResult)]
struct Counted {
    quota: i64,
    live: i64,
    /// As many transactions may write at once.
    writers: i64,
}

/// Whether one more Task may be made. To be asked before anything is locked, and of no use once the transaction is over.
///
/// Far below its quota a Space is shared: whoever makes a Task counts those that are committed, and leaves room for as many as
/// the database has connections. Of all that were let through like this, the last one to count missed none but those that were
/// being written at that moment, hence together they cannot go beyond the quota. Nearer to it one makes a Task at a time,
/// after all who share have committed. Of both kinds of lock, a transaction takes one.
pub(crate) async fn room(txn: &Txn, space: SpaceUid, turn: Turn) -> Result<Room, Fault> {
    match (txn.db.get_database_backend(), turn) {
        (sea_orm::DbBackend::Postgres, Turn::Shared) => {
            let text = "SELECT pg_advisory_xact_lock_shared(hashtextextended($1::text, 1))";
            sql::execute(&txn.db, text, [space.0.into()]).await?;
        }
        (sea_orm::DbBackend::Postgres, Turn::Alone) => {
            let text = "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 1))";
            sql::execute(&txn.db, text, [space.0.into()]).await?;
        }
        _ => {}
    }
    // A statement of its own: it sees what was committed before the lock was given.
    let text = sql::choose(
        &txn.db,
        "SELECT coalesce(s.live_quota, $2) AS quota, 0 AS writers, (SELECT count(*) FROM tasks t \
             WHERE t.space_uid = s.uid AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')) AS live \
         FROM spaces s WHERE s.uid = $1",
        "SELECT coalesce(s.live_quota, $2) AS quota, current_setting('max_connections')::bigint AS writers, \
             (SELECT count(*) FROM tasks t \
             WHERE t.space_uid = s.uid AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')) AS live \
         FROM spaces s WHERE s.uid = $1",
    );
    let values = [space.0.into(), i64::from(Quota::LIVE_DEFAULT).into()];
    // Without a Space there is no App either, which is for others to say.
    let Some(Counted { quota, live, writers }) = sql::one(&txn.db, text, values).await? else {
        return Ok(Room::Enough);
    };
    Ok(match turn {
        _ if live >= quota => Room::None { quota: u32::try_from(quota).unwrap_or(u32::MAX) },
        Turn::Shared if live + writers > quota => Room::Scarce,
        Turn::Shared | Turn::Alone => Room::Enough,
    })
}

pub(crate) fn full(space: &Name, quota: u32) -> StoreError {
    StoreError::LiveQuota { space: SpaceName(space.clone()).to_string(), quota }
}

#[derive(FromQueryResult)]
struct UsageRow {
    live: i64,
    running: i64,
}

#[derive(FromQueryResult)]
struct Named {
    name: String,
}

impl Store {
    pub async fn space_usage(&self, space: SpaceUid) -> Result<Usage, StoreError> {
        // Two ranges of the index, and no look at what waits.
        const TEXT: &str = "SELECT (SELECT count(*) FROM tasks t WHERE t.space_uid = $1 \
                 AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')) AS live, \
             (SELECT count(*) FROM tasks t WHERE t.space_uid = $1 \
                 AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') \
                 AND t.state IN ('STARTING', 'RUNNING', 'CANCELLING')) \
             + (SELECT count(*) FROM tasks t WHERE t.space_uid = $1 \
                 AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') \
                 AND t.state = 'PENDING' AND t.session_uid > $2) AS running";
        let row = self.read(sql::one::<UsageRow>(self.db(), TEXT, [space.0.into(), Uuid::nil().into()])).await?;
        let (live, running) = row.map_or((0, 0), |row| (row.live.unsigned_abs(), row.running.unsigned_abs()));
        Ok(Usage { live, running, waiting: live.saturating_sub(running) })
    }

    /// The Spaces with a quota of running Tasks that have Tasks for `cluster` which wait. Whoever looked for work in vain, and
    /// asks this afterwards, knows where the end of a Task may make room for another.
    pub async fn work_held_back(&self, cluster: &Name) -> Result<Vec<Name>, StoreError> {
        const TEXT: &str = "SELECT s.name FROM spaces s WHERE s.running_quota IS NOT NULL \
             AND EXISTS (SELECT 1 FROM tasks t WHERE t.state = 'PENDING' AND t.session_uid IS NULL \
                 AND t.cluster = $1 AND t.space_uid = s.uid)";
        let rows: Vec<Named> = self.read(sql::all(self.db(), TEXT, [cluster.as_str().into()])).await?;
        let row = crate::row::Row::new("spaces", "held back");
        rows.into_iter().map(|Named { name }| Ok(row.parsed("name", &name)?)).collect()
    }
}
