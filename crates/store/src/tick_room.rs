//! How many more Tasks may come to wait in a Space. A tick is never dropped for want of room: it stays due.
//!
//! A Space is decided on by one pass at a time, so that no two count on the same room. A schedule that is held back is looked
//! at again after a pause, by its `next_at`; its mark stays where it was. Hence it costs nothing meanwhile, and keeps nobody
//! else from being decided.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{DbBackend, QuerySelect};
use taskplane_domain::space::Quota;

use crate::error::Fault;
use crate::row::{job, schedule, space};
use crate::sql;
use crate::txn::Txn;

/// When there may be room again.
const PAUSE: Duration = Duration::from_secs(10);
/// Schedules of a full Space that one statement holds back.
const BATCH: i64 = 5_000;

/// What is left in each Space that the pass decides on.
pub(crate) struct Rooms {
    left: HashMap<Uuid, u64>,
    /// Jobs in Spaces that another pass is at.
    elsewhere: u32,
    made_way: bool,
}

impl Rooms {
    /// Of the Jobs that are due, those that there is room for; the schedules of the others are held back.
    pub(crate) async fn of(txn: &Txn, due: Vec<Uuid>, now: Timestamp) -> Result<(Vec<Uuid>, Self), Fault> {
        let homes: Vec<(Uuid, Uuid)> = job::Entity::find()
            .select_only()
            .columns([job::Column::Uid, job::Column::SpaceUid])
            .filter(job::Column::Uid.is_in(due))
            .into_tuple()
            .all(&txn.db)
            .await?;
        let mut spaces: Vec<Uuid> = homes.iter().map(|(_, space)| *space).collect();
        spaces.sort_unstable();
        spaces.dedup();
        let mine = turns(txn, spaces).await?;
        let left = left(txn, mine).await?;
        let mut rooms = Self { left, elsewhere: 0, made_way: false };
        for (space, _) in rooms.left.iter().filter(|(_, left)| **left == 0) {
            hold_space(txn, *space, now).await?;
            rooms.made_way = true;
        }
        let mut jobs = Vec::with_capacity(homes.len());
        for (job, space) in homes {
            match rooms.left.get(&space) {
                Some(0) => {}
                Some(_) => jobs.push(job),
                None => rooms.elsewhere += 1,
            }
        }
        Ok((jobs, rooms))
    }

    pub(crate) fn left(&self, space: Uuid) -> usize {
        self.left.get(&space).map_or(0, |left| usize::try_from(*left).unwrap_or(usize::MAX))
    }

    pub(crate) fn take(&mut self, space: Uuid, births: u64) {
        if let Some(left) = self.left.get_mut(&space) {
            *left = left.saturating_sub(births);
        }
    }

    pub(crate) fn elsewhere(&self) -> u32 {
        self.elsewhere
    }

    /// Whether others may come to the fore now that whole Spaces are held back.
    pub(crate) fn made_way(&self) -> bool {
        self.made_way
    }
}

/// Of these Spaces, those that nobody else makes ticks in; they are this transaction's until it is over.
async fn turns(txn: &Txn, spaces: Vec<Uuid>) -> Result<Vec<Uuid>, Fault> {
    if txn.db.get_database_backend() != DbBackend::Postgres {
        return Ok(spaces);
    }
    let taken: Vec<(Uuid, bool)> = space::Entity::find()
        .select_only()
        .column(space::Column::Uid)
        .expr_as(Expr::cust("pg_try_advisory_xact_lock(hashtextextended(uid::text, 2))"), "taken")
        .filter(space::Column::Uid.is_in(spaces))
        .into_tuple()
        .all(&txn.db)
        .await?;
    Ok(taken.into_iter().filter(|(_, taken)| *taken).map(|(uid, _)| uid).collect())
}

/// Counted by a statement of its own: it sees what others had committed before the turn was given.
async fn left(txn: &Txn, spaces: Vec<Uuid>) -> Result<HashMap<Uuid, u64>, Fault> {
    let counted: Vec<(Uuid, Option<i64>, i64)> = space::Entity::find()
        .select_only()
        .columns([space::Column::Uid, space::Column::WaitingQuota])
        .expr_as(
            Expr::cust(
                "(SELECT count(*) FROM tasks t WHERE t.space_uid = spaces.uid AND t.state = 'PENDING' \
                 AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING'))",
            ),
            "waiting",
        )
        .filter(space::Column::Uid.is_in(spaces))
        .into_tuple()
        .all(&txn.db)
        .await?;
    let left = |(uid, quota, waiting): (Uuid, Option<i64>, i64)| {
        let quota = quota.unwrap_or_else(|| Quota::WAITING_DEFAULT.into());
        (uid, u64::try_from(quota - waiting).unwrap_or(0))
    };
    Ok(counted.into_iter().map(left).collect())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Puts everything due in a Space off until there may be room. What has waited longest comes first then: a microsecond
/// earlier for each second since its mark, within half the pause.
async fn hold_space(txn: &Txn, space: Uuid, now: Timestamp) -> Result<(), Fault> {
    let text = sql::choose(
        &txn.db,
        "UPDATE schedules SET next_at = $1 + $2 - min(($1 - mark) / 1000000, $2 / 2) WHERE uid IN (SELECT s.uid \
             FROM schedules s JOIN jobs j ON j.uid = s.job_uid WHERE j.space_uid = $3 AND s.next_at <= $1 LIMIT $4)",
        "UPDATE schedules SET next_at = $1 + $2 - least(($1 - mark) / 1000000, $2 / 2) WHERE uid IN (SELECT s.uid \
             FROM schedules s JOIN jobs j ON j.uid = s.job_uid WHERE j.space_uid = $3 AND s.next_at <= $1 LIMIT $4)",
    );
    let values = [now.as_microsecond().into(), micros(PAUSE).into(), space.into(), BATCH.into()];
    sql::execute(&txn.db, text, values).await?;
    Ok(())
}

/// The same for what is due still of Jobs that were decided, and are locked.
pub(crate) async fn hold_jobs(txn: &Txn, jobs: Vec<Uuid>, now: Timestamp) -> Result<(), Fault> {
    if jobs.is_empty() {
        return Ok(());
    }
    let least = if txn.db.get_database_backend() == DbBackend::Postgres { "least" } else { "min" };
    let (now, pause) = (now.as_microsecond(), micros(PAUSE));
    let next = format!("{} - {least}(({now} - mark) / 1000000, {})", now + pause, pause / 2);
    schedule::Entity::update_many()
        .col_expr(schedule::Column::NextAt, Expr::cust(next))
        .filter(schedule::Column::JobUid.is_in(jobs))
        .filter(schedule::Column::NextAt.lte(now))
        .exec(&txn.db)
        .await?;
    Ok(())
}
