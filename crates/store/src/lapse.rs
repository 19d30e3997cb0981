//! Sessions whose executor fell silent, and what they leave behind.
//!
//! Silence is told apart from our own: each api replica keeps the row `control` fresh while it takes heartbeats. A gap in that
//! row, whatever caused it (database, network, a stopped process, a clock that jumped), begins a new count of uptime, and
//! nobody lapses before the control plane has listened for a whole lease.

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use taskplane_domain::session::{LEASE, Uptime};
use taskplane_domain::task::Task;
use taskplane_domain::uid::{Fence, SessionUid};
use uuid::Uuid;

use crate::connect::Store;
use crate::deadline::readable;
use crate::error::{Corrupt, Fault, StoreError};
use crate::row::{Row, task};
use crate::sql;
use crate::txn::Txn;

const CONTROL: &str = "SELECT beat_at, up_since FROM control WHERE id = 1";

/// A Task with a run, whose executor is gone.
#[derive(Debug, Clone)]
pub struct Orphan {
    pub task: Task,
    pub session: SessionUid,
    pub fence: Fence,
    /// Its executor fell silent; else it closed its session, and did not come back.
    pub lapsed: bool,
}

#[derive(FromQueryResult)]
struct ControlRow {
    beat_at: i64,
    up_since: i64,
}

#[derive(FromQueryResult)]
struct SilentRow {
    uid: Uuid,
    adoptable: bool,
}

#[derive(FromQueryResult)]
struct OrphanRow {
    #[sea_orm(nested)]
    task: task::Model,
    session_lapsed: bool,
}

impl Store {
    /// An api replica takes heartbeats at this moment.
    pub async fn control_beat(&self) -> Result<(), StoreError> {
        self.write("control_beat", |txn| {
            Box::pin(async move {
                let locked =
                    sql::choose(&txn.db, CONTROL, "SELECT beat_at, up_since FROM control WHERE id = 1 FOR UPDATE");
                let up = uptime(sql::one::<ControlRow>(&txn.db, locked, []).await?)?;
                let Uptime { beat_at, up_since } = up.beats(txn.now().await?);
                let text = "UPDATE control SET beat_at = $1, up_since = $2 WHERE id = 1";
                let values = [beat_at.as_microsecond().into(), up_since.as_microsecond().into()];
                sql::execute(&txn.db, text, values).await?;
                Ok(())
            })
        })
        .await
    }

    /// Ends up to `limit` sessions whose lease lapsed, and sets free what they held and had not started. One whose runs can be
    /// taken over is not ended: what it holds may be claimed by others, and if nobody does, a late heartbeat renews it.
    /// Says how many were ended.
    pub async fn sessions_lapse(&self, limit: u32) -> Result<u32, StoreError> {
        self.write("sessions_lapse", move |txn| Box::pin(async move { lapse(txn, limit).await })).await
    }

    /// Up to `limit` Tasks with a run whose executor is gone and whose runs nobody can take over: its session lapsed, or was
    /// closed a lease ago and none was opened since.
    pub async fn tasks_orphaned(&self, limit: u32) -> Result<Vec<Orphan>, StoreError> {
        let now = self.now().await?;
        let up = self.read(sql::one::<ControlRow>(self.db(), CONTROL, [])).await?;
        let Some(before) = uptime(up)?.lapsed_before(now) else { return Ok(Vec::new()) };
        let before = before.checked_sub(SignedDuration::try_from(LEASE).unwrap_or_default()).unwrap_or(Timestamp::MIN);
        let text = "SELECT t.*, s.lapsed AS session_lapsed FROM sessions s JOIN tasks t ON t.session_uid = s.uid \
             WHERE s.closed_at IS NOT NULL AND NOT s.adoptable AND (s.lapsed OR s.closed_at <= $1) \
             AND t.state IN ('STARTING', 'RUNNING', 'CANCELLING') ORDER BY t.uid LIMIT $2";
        let values = [before.as_microsecond().into(), i64::from(limit).into()];
        let rows: Vec<OrphanRow> = self.read(sql::all(self.db(), text, values)).await?;
        let mut orphans = Vec::with_capacity(rows.len());
        for OrphanRow { task, session_lapsed: lapsed } in rows {
            let row = Row::new("tasks", task.uid);
            let session = SessionUid(row.needed("session_uid", task.session_uid)?);
            let fence = task.fence()?;
            orphans.extend(readable(task).map(|task| Orphan { task, session, fence, lapsed }));
        }
        Ok(orphans)
    }
}

fn uptime(row: Option<ControlRow>) -> Result<Uptime, Corrupt> {
    let at = Row::new("control", 1);
    let ControlRow { beat_at, up_since } = at.needed("id", row)?;
    Ok(Uptime { beat_at: at.time("beat_at", beat_at)?, up_since: at.time("up_since", up_since)? })
}

/// Whose lease ended by then is silent by its own doing. None: that can be said of nobody yet.
pub(crate) async fn lapsed_before(
    db: &impl ConnectionTrait,
    now: Timestamp,
) -> Result<Result<Option<Timestamp>, Corrupt>, DbErr> {
    let row = sql::one::<ControlRow>(db, CONTROL, []).await?;
    Ok(uptime(row).map(|up| up.lapsed_before(now)))
}

async fn lapse(txn: &Txn, limit: u32) -> Result<u32, Fault> {
    let Some(before) = lapsed_before(&txn.db, txn.now().await?).await?? else { return Ok(0) };
    // A heartbeat that comes at the same moment is before or after this, never between.
    let silent = sql::choose(
        &txn.db,
        "SELECT uid, adoptable FROM sessions WHERE closed_at IS NULL AND lease_until <= $1 \
         ORDER BY lease_until, uid LIMIT $2",
        "SELECT uid, adoptable FROM sessions WHERE closed_at IS NULL AND lease_until <= $1 \
         ORDER BY lease_until, uid LIMIT $2 FOR UPDATE SKIP LOCKED",
    );
    let values = [before.as_microsecond().into(), i64::from(limit).into()];
    let silent: Vec<SilentRow> = sql::all(&txn.db, silent, values).await?;
    let now = txn.now().await?.as_microsecond();
    let mut ended = 0;
    for SilentRow { uid, adoptable } in silent {
        if !adoptable {
            let text = "UPDATE sessions SET closed_at = $1, lapsed = true WHERE uid = $2";
            sql::execute(&txn.db, text, [now.into(), uid.into()]).await?;
            ended += 1;
        }
        let text = "UPDATE tasks SET session_uid = NULL WHERE session_uid = $1 AND state = 'PENDING'";
        sql::execute(&txn.db, text, [uid.into()]).await?;
    }
    Ok(ended)
}
