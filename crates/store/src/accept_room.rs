//! How many more Tasks a Space may have, without counting those it has each time.
//!
//! A Task that is live was counted, or was born since: so what was counted once, and what the Apps have numbered since then,
//! is as much as there can be. Only when that reaches the quota are the Tasks counted anew. What is remembered between
//! acceptances decides nothing by itself: the counters it is compared with are the Apps' rows, so any number of processes may
//! remember what they like.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;
use taskplane_domain::space::Quota;
use taskplane_domain::uid::SpaceUid;

use crate::error::Fault;
use crate::sql;
use crate::txn::Txn;

/// Spaces remembered; when there are more, all are counted anew.
const KEPT: usize = 10_000;

/// What was counted, for each Space.
#[derive(Default)]
pub(crate) struct Counts(Mutex<HashMap<Uuid, Count>>);

#[derive(Clone, Copy)]
struct Count {
    live: i64,
    /// What the Apps had numbered by then, and which Apps those were.
    numbered: i64,
    apps: (i64, i64),
}

/// What a Space may have, and how many more that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub quota: u32,
    pub left: usize,
}

#[derive(FromQueryResult)]
struct Numbers {
    quota: i64,
    numbered: i64,
    apps: i64,
    /// The set of Apps is told by their number and their ages: one that goes takes its numbers along.
    ages: i64,
}

/// One Space at a time, across all processes that accept Tasks in it; until the transaction is over.
pub(crate) async fn lock(txn: &Txn, space: SpaceUid) -> Result<(), Fault> {
    if txn.db.get_database_backend() == sea_orm::DbBackend::Postgres {
        let text = "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 1))";
        sql::execute(&txn.db, text, [space.0.into()]).await?;
    }
    Ok(())
}

impl Counts {
    /// Room for `wanted` more Tasks, or for how many. To be asked under the Space's [`lock`].
    pub(crate) async fn room(&self, txn: &Txn, space: SpaceUid, wanted: usize) -> Result<Room, Fault> {
        const NUMBERS: &str = "SELECT coalesce(s.live_quota, $2) AS quota, count(a.uid) AS apps, \
                 CAST(coalesce(sum(a.next_task_id), 0) AS bigint) AS numbered, \
                 CAST(coalesce(sum(a.created_at - 1700000000000000), 0) AS bigint) AS ages \
             FROM spaces s LEFT JOIN apps a ON a.space = s.name WHERE s.uid = $1 GROUP BY s.uid, s.live_quota";
        const LIVE: &str = "SELECT count(*) AS value FROM tasks t WHERE t.space_uid = $1 \
             AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')";
        let values = [space.0.into(), i64::from(Quota::LIVE_DEFAULT).into()];
        // Without a Space there is no App either, which is for others to say.
        let Some(Numbers { quota, numbered, apps, ages }) = sql::one(&txn.db, NUMBERS, values).await? else {
            return Ok(Room { quota: 0, left: wanted });
        };
        let left = |live: i64| Room {
            quota: u32::try_from(quota).unwrap_or(u32::MAX),
            left: usize::try_from(quota - live).unwrap_or(0).min(wanted),
        };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&space.0).copied();
        if let Some(count) = known.filter(|count| count.apps == (apps, ages)) {
            let at_most = left(count.live + numbered - count.numbered);
            if at_most.left == wanted {
                return Ok(at_most);
            }
        }
        // Behind the numbers: a Task that a tick makes in between is counted twice rather than never.
        let live = sql::number(&txn.db, LIVE, [space.0.into()]).await?.unwrap_or(0);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= KEPT {
            counts.clear();
        }
        counts.insert(space.0, Count { live, numbered, apps: (apps, ages) });
        Ok(left(live))
    }
}
