//! Work for executors: Tasks are claimed by a session, and held until they are over or given back.

use std::time::Duration;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, LockBehavior, LockType};
use sea_orm::{DbBackend, FromQueryResult, QuerySelect as _, QueryTrait as _};
use taskplane_domain::name::Name;
use taskplane_domain::task::{StateKind, Task};
use taskplane_domain::uid::{Fence, SessionUid};

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{session, task};
use crate::session::ended;
use crate::sql;
use crate::txn::Txn;

/// The Spaces with Tasks that nobody holds, one after the other by the index. The last row is empty.
macro_rules! waiting {
    () => {
        "waiting(space_uid) AS (SELECT * FROM (SELECT t.space_uid FROM tasks t WHERE t.state = 'PENDING' \
             AND t.session_uid IS NULL AND t.cluster = $1 ORDER BY t.space_uid LIMIT 1) first \
             UNION ALL SELECT (SELECT t.space_uid FROM tasks t WHERE t.state = 'PENDING' AND t.session_uid IS NULL \
             AND t.cluster = $1 AND t.space_uid > w.space_uid ORDER BY t.space_uid LIMIT 1) \
             FROM waiting w WHERE w.space_uid IS NOT NULL)"
    };
}

/// What each of these Spaces has handed out already, where it may have more.
macro_rules! shares {
    () => {
        "shares AS MATERIALIZED (SELECT * FROM (SELECT w.space_uid, s.running_quota, \
             (SELECT count(*) FROM tasks r WHERE r.space_uid = w.space_uid \
                 AND r.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') \
                 AND r.state IN ('STARTING', 'RUNNING', 'CANCELLING')) \
             + (SELECT count(*) FROM tasks r WHERE r.space_uid = w.space_uid \
                 AND r.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') \
                 AND r.state = 'PENDING' AND r.session_uid > $5) AS running \
             FROM waiting w LEFT JOIN spaces s ON s.uid = w.space_uid WHERE w.space_uid IS NOT NULL) counted \
             WHERE running_quota IS NULL OR running < running_quota)"
    };
}

/// The first few Tasks of the Space `shares` that may be handed out, the oldest first.
macro_rules! first_of_space {
    () => {
        "FROM tasks n WHERE n.state = 'PENDING' AND n.session_uid IS NULL AND n.cluster = $1 \
             AND n.space_uid = shares.space_uid AND (n.not_before IS NULL OR n.not_before <= $2) \
             AND (NOT n.job_waits OR NOT EXISTS (SELECT 1 FROM tasks older WHERE older.job_uid = n.job_uid \
             AND older.id < n.id AND older.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING'))) \
             ORDER BY n.created_at, n.uid LIMIT $4"
    };
}

/// Of these the ones that come first when every Space counts what it has handed out as places taken. Where two are equal it
/// goes round: the next Space behind the one that had the last place.
macro_rules! picked {
    () => {
        "SELECT uid, space_uid FROM placed WHERE running_quota IS NULL OR running + place <= running_quota \
             ORDER BY running + place, space_uid <= coalesce((SELECT turns.space_uid FROM turns WHERE cluster = $1), $5), \
             space_uid, created_at, uid LIMIT $3"
    };
}

const PICK_SQLITE: &str = concat!(
    "WITH RECURSIVE ",
    waiting!(),
    ", ",
    shares!(),
    ", placed AS (SELECT t.uid, t.created_at, shares.space_uid, shares.running, shares.running_quota, \
         row_number() OVER (PARTITION BY shares.space_uid ORDER BY t.created_at, t.uid) AS place \
         FROM shares CROSS JOIN tasks t WHERE t.uid IN (SELECT n.uid ",
    first_of_space!(),
    ")) ",
    picked!()
);

const PICK_POSTGRES: &str = concat!(
    "WITH RECURSIVE ",
    waiting!(),
    ", ",
    shares!(),
    ", placed AS (SELECT t.uid, t.created_at, shares.space_uid, shares.running, shares.running_quota, t.place \
         FROM shares CROSS JOIN LATERAL (SELECT f.uid, f.created_at, \
         row_number() OVER (ORDER BY f.created_at, f.uid) AS place FROM (SELECT n.uid, n.created_at ",
    first_of_space!(),
    ") f) t) ",
    picked!()
);

#[derive(FromQueryResult)]
struct Picked {
    uid: Uuid,
    space_uid: Uuid,
}

/// A live Task of a session. Its reports must carry the fence.
#[derive(Debug, Clone)]
pub struct Held {
    pub task: Task,
    pub fence: Fence,
}

impl Store {
    /// Takes up to `limit` Tasks of the session's cluster that wait, are due and nobody's. Says how many; there may be more
    /// when it is one or more. `Fenced`: the session was ended.
    ///
    /// Each place goes to the Space that has the fewest Tasks handed out, in turn where some have equally few, and in it to the
    /// oldest Task; a Space never has more than its quota. One claims at a time in a cluster: what is counted is so.
    pub async fn work_claim(&self, session: SessionUid, limit: u32) -> Result<u64, StoreError> {
        if limit == 0 {
            return Ok(0);
        }
        self.write("work_claim", move |txn| Box::pin(async move { claim(txn, session, limit).await })).await
    }

    /// Every Task that the session holds; the oldest first.
    pub async fn work_held(&self, session: SessionUid) -> Result<Vec<Held>, StoreError> {
        let text = "SELECT * FROM tasks WHERE session_uid = $1 ORDER BY created_at, uid";
        let rows: Vec<task::Model> = self.read(sql::all(self.db(), text, [session.0.into()])).await?;
        let held = |row: task::Model| Ok(Held { fence: row.fence()?, task: row.try_into()? });
        rows.into_iter().map(held).collect()
    }

    /// How long until the next waiting Task of the cluster is due, by the database's clock. None: no Task waits for its time.
    pub async fn work_next_due(&self, cluster: &Name) -> Result<Option<Duration>, StoreError> {
        let now = self.now().await?;
        let text = "SELECT min(not_before) AS value FROM tasks \
             WHERE state = 'PENDING' AND session_uid IS NULL AND cluster = $1 AND not_before > $2";
        let due =
            self.read(sql::number(self.db(), text, [cluster.as_str().into(), now.as_microsecond().into()])).await?;
        let due = due.and_then(|due| Timestamp::from_microsecond(due).ok());
        Ok(due.map(|due| due.duration_since(now).unsigned_abs()))
    }
}

async fn claim(txn: &Txn, uid: SessionUid, limit: u32) -> Result<u64, Fault> {
    // Locked: the session cannot be ended while it takes more.
    let open = sql::choose(
        &txn.db,
        "SELECT * FROM sessions WHERE uid = $1 AND closed_at IS NULL",
        "SELECT * FROM sessions WHERE uid = $1 AND closed_at IS NULL FOR SHARE",
    );
    let Some(session) = sql::one::<session::Model>(&txn.db, open, [uid.0.into()]).await? else {
        return Err(ended(txn, uid).await?);
    };
    let cluster = session.cluster;
    let spaces = waiting_spaces(txn, &cluster).await?;
    if spaces == 0 {
        return Ok(0);
    }
    if txn.db.get_database_backend() == DbBackend::Postgres {
        let text = "SELECT pg_advisory_xact_lock(hashtextextended($1, 3))";
        sql::execute(&txn.db, text, [cluster.as_str().into()]).await?;
    }
    // All together they offer some times what is taken, however many wait in one of them.
    let each = i64::try_from(4 * u64::from(limit) / spaces).unwrap_or(1).clamp(1, limit.into());
    let text = sql::choose(&txn.db, PICK_SQLITE, PICK_POSTGRES);
    let now = txn.now().await?.as_microsecond();
    let values = [cluster.as_str().into(), now.into(), i64::from(limit).into(), each.into(), Uuid::nil().into()];
    let picked: Vec<Picked> = sql::all(&txn.db, text, values).await?;
    let Some(last) = picked.last() else { return Ok(0) };
    let text = "INSERT INTO turns (cluster, space_uid) VALUES ($1, $2) \
         ON CONFLICT (cluster) DO UPDATE SET space_uid = excluded.space_uid";
    sql::execute(&txn.db, text, [cluster.into(), last.space_uid.into()]).await?;
    hold(txn, uid, picked.into_iter().map(|picked| picked.uid).collect()).await
}

/// A row that is being changed by somebody else is passed over.
async fn hold(txn: &Txn, session: SessionUid, picked: Vec<Uuid>) -> Result<u64, Fault> {
    let free = task::Entity::find()
        .select_only()
        .column(task::Column::Uid)
        .filter(task::Column::Uid.is_in(picked))
        .filter(task::Column::State.eq(StateKind::Pending.as_str()))
        .filter(task::Column::SessionUid.is_null())
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    let held = task::Entity::update_many()
        .col_expr(task::Column::SessionUid, Expr::value(session.0))
        .col_expr(task::Column::Fence, Expr::col(task::Column::Fence).add(1))
        .filter(task::Column::Uid.in_subquery(free.into_query()))
        .exec(&txn.db)
        .await?;
    Ok(held.rows_affected)
}

/// How many Spaces have Tasks that nobody holds. One look into the index for each, however many wait in it.
async fn waiting_spaces(txn: &Txn, cluster: &str) -> Result<u64, Fault> {
    const TEXT: &str = concat!("WITH RECURSIVE ", waiting!(), " SELECT count(space_uid) AS value FROM waiting");
    Ok(sql::number(&txn.db, TEXT, [cluster.into()]).await?.unwrap_or(0).unsigned_abs())
}
