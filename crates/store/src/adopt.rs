//! Runs that outlive their executor: when it is gone, another one of the same cluster takes their Tasks over, under a new fence.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::FromQueryResult;
use taskplane_domain::session::BEAT_GAP;
use taskplane_domain::uid::SessionUid;
use uuid::Uuid;

use crate::connect::Store;
use crate::deadline::micros;
use crate::error::{Fault, StoreError};
use crate::lapse::lapsed_before;
use crate::row::session;
use crate::session::ended;
use crate::sql;
use crate::txn::Txn;

/// Sessions of the cluster of `$1` that are gone, with something that can be taken over: closed, or silent since `$2`.
macro_rules! gone {
    () => {
        "FROM sessions me JOIN sessions s ON s.cluster = me.cluster AND s.uid <> me.uid \
             WHERE me.uid = $1 AND me.adoptable AND s.adoptable AND (s.closed_at IS NOT NULL OR s.lease_until <= $2) \
             AND EXISTS (SELECT 1 FROM tasks t WHERE t.session_uid = s.uid \
                 AND t.state IN ('STARTING', 'RUNNING', 'CANCELLING'))"
    };
}

#[derive(FromQueryResult)]
struct GoneRow {
    uid: Uuid,
}

impl Store {
    /// Takes over up to `limit` Tasks with a run from executors of the session's cluster that are gone: that closed their
    /// session, or whose lease lapsed. A lapsed session is ended by it, so that its executor changes nothing any more. Says
    /// how many; none for a session whose own runs could not be taken over. `Fenced`: the session was ended itself.
    pub async fn work_adopt(&self, session: SessionUid, limit: u32) -> Result<u64, StoreError> {
        let silent = self.silent_since().await?;
        let text = concat!("SELECT count(*) AS value FROM (SELECT 1 ", gone!(), " LIMIT 1) gone");
        if self.read(sql::number(self.db(), text, [session.0.into(), silent.into()])).await?.unwrap_or(0) == 0 {
            return Ok(0);
        }
        self.write("work_adopt", move |txn| Box::pin(async move { adopt(txn, session, limit).await })).await
    }

    /// How long until another executor of the session's cluster lapses whose runs could be taken over, if it stays silent.
    pub async fn work_next_lapse(&self, session: SessionUid) -> Result<Option<Duration>, StoreError> {
        let text = "SELECT min(s.lease_until) AS value FROM sessions me \
             JOIN sessions s ON s.cluster = me.cluster AND s.uid <> me.uid \
             WHERE me.uid = $1 AND me.adoptable AND s.adoptable AND s.closed_at IS NULL AND s.lease_until > $2 \
             AND EXISTS (SELECT 1 FROM tasks t WHERE t.session_uid = s.uid)";
        let now = self.now().await?.as_microsecond();
        let since = now.saturating_sub(micros(BEAT_GAP));
        let next = self.read(sql::number(self.db(), text, [session.0.into(), since.into()])).await?;
        Ok(next.map(|next| SignedDuration::from_micros(next - since).unsigned_abs()))
    }

    async fn silent_since(&self) -> Result<i64, StoreError> {
        let now = self.now().await?;
        let before = self.read(lapsed_before(self.db(), now)).await??;
        Ok(before.unwrap_or(Timestamp::MIN).as_microsecond())
    }
}

async fn adopt(txn: &Txn, uid: SessionUid, limit: u32) -> Result<u64, Fault> {
    // Locked: the session cannot be ended while it takes more.
    let open = sql::choose(
        &txn.db,
        "SELECT * FROM sessions WHERE uid = $1 AND closed_at IS NULL",
        "SELECT * FROM sessions WHERE uid = $1 AND closed_at IS NULL FOR SHARE",
    );
    if sql::one::<session::Model>(&txn.db, open, [uid.0.into()]).await?.is_none() {
        return Err(ended(txn, uid).await?);
    }
    let now = txn.now().await?;
    let silent = lapsed_before(&txn.db, now).await??.unwrap_or(Timestamp::MIN).as_microsecond();
    // A heartbeat that comes at the same moment is before or after this, never between. Of two that take over, the second one
    // passes over what the first one is at.
    let gone = sql::choose(
        &txn.db,
        concat!("SELECT s.uid ", gone!(), " ORDER BY s.opened_at, s.uid"),
        concat!("SELECT s.uid ", gone!(), " ORDER BY s.opened_at, s.uid FOR UPDATE OF s SKIP LOCKED"),
    );
    let gone: Vec<GoneRow> = sql::all(&txn.db, gone, [uid.0.into(), silent.into()]).await?;
    let mut adopted = 0;
    for GoneRow { uid: before } in gone {
        let room = u64::from(limit).saturating_sub(adopted);
        if room == 0 {
            break;
        }
        let text = "UPDATE sessions SET closed_at = $1, lapsed = true WHERE uid = $2 AND closed_at IS NULL";
        if sql::execute(&txn.db, text, [now.as_microsecond().into(), before.into()]).await? > 0 {
            let text = "UPDATE tasks SET session_uid = NULL WHERE session_uid = $1 AND state = 'PENDING'";
            sql::execute(&txn.db, text, [before.into()]).await?;
        }
        adopted += take(txn, before, uid, i64::try_from(room).unwrap_or(i64::MAX)).await?;
    }
    Ok(adopted)
}

/// A row that is being changed by somebody else is passed over.
async fn take(txn: &Txn, before: Uuid, after: SessionUid, room: i64) -> Result<u64, Fault> {
    let text = sql::choose(
        &txn.db,
        "UPDATE tasks SET session_uid = $2, fence = fence + 1 WHERE uid IN (SELECT t.uid FROM tasks t \
             WHERE t.session_uid = $1 AND t.state IN ('STARTING', 'RUNNING', 'CANCELLING') \
             ORDER BY t.created_at, t.uid LIMIT $3)",
        "UPDATE tasks SET session_uid = $2, fence = fence + 1 WHERE uid IN (SELECT t.uid FROM tasks t \
             WHERE t.session_uid = $1 AND t.state IN ('STARTING', 'RUNNING', 'CANCELLING') \
             ORDER BY t.created_at, t.uid LIMIT $3 FOR UPDATE SKIP LOCKED)",
    );
    Ok(sql::execute(&txn.db, text, [before.into(), after.0.into(), room.into()]).await?)
}
