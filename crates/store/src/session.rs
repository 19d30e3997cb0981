//! Sessions of executors: opened, kept alive, closed. Leases are counted by the database's clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use taskplane_domain::name::Name;
use taskplane_domain::session::Session;
use taskplane_domain::task::{Task, Transition};
use taskplane_domain::uid::{Fence, SessionUid};

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::session;
use crate::txn::Txn;
use crate::{settle, sql};

/// A session that is to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub uid: SessionUid,
    pub executor: Name,
    pub cluster: Name,
    pub adoptable: bool,
    pub runs_images: bool,
    pub logs_address: Option<String>,
}

impl Store {
    /// Ends every earlier session of the same executor at once. What those held is asked of `settle`, Task by Task: its
    /// transition is written; where it has none, or one after which the Task is still held, the new session takes the Task
    /// over under a new fence. Tasks that had not started go back to those who may be claimed.
    ///
    /// `settle` may be asked again about the same Tasks, when the transaction lost a race.
    pub async fn session_open<F>(&self, new: NewSession, lease: Duration, settle: F) -> Result<Session, StoreError>
    where
        F: FnMut(&Task, Fence) -> Option<Transition> + Send + 'static,
    {
        let asked = Arc::new((new, Mutex::new(settle)));
        self.write("session_open", move |txn| {
            let asked = Arc::clone(&asked);
            Box::pin(async move { open(txn, &asked.0, lease, &asked.1).await })
        })
        .await
    }

    /// Renews the lease. `Fenced`: the session was ended meanwhile.
    pub async fn session_heartbeat(&self, uid: SessionUid, lease: Duration) -> Result<(), StoreError> {
        self.write("session_heartbeat", move |txn| {
            Box::pin(async move {
                let until = lease_end(txn.now().await?, lease);
                let text = "UPDATE sessions SET lease_until = $1 WHERE uid = $2 AND closed_at IS NULL";
                let values = [until.as_microsecond().into(), uid.0.into()];
                match sql::execute(&txn.db, text, values).await? {
                    1 => Ok(()),
                    _ => Err(ended(txn, uid).await?),
                }
            })
        })
        .await
    }

    /// Gives back what has not started. The rest stays with the session until its executor opens another.
    pub async fn session_close(&self, uid: SessionUid) -> Result<(), StoreError> {
        self.write("session_close", move |txn| {
            Box::pin(async move {
                let now = txn.now().await?.as_microsecond();
                let text = "UPDATE sessions SET closed_at = $1 WHERE uid = $2 AND closed_at IS NULL";
                if sql::execute(&txn.db, text, [now.into(), uid.0.into()]).await? == 0 {
                    // Closing twice is no error.
                    return match ended(txn, uid).await? {
                        Fault::Store(StoreError::Fenced) => Ok(()),
                        fault => Err(fault),
                    };
                }
                let text = "UPDATE tasks SET session_uid = NULL WHERE session_uid = $1 AND state = 'PENDING'";
                sql::execute(&txn.db, text, [uid.0.into()]).await?;
                Ok(())
            })
        })
        .await
    }

    /// The sessions that are open, lapsed ones included: compare `lease_until` with [`Store::now`].
    pub async fn sessions_open(&self, cluster: &Name) -> Result<Vec<Session>, StoreError> {
        let found = session::Entity::find()
            .filter(session::Column::Cluster.eq(cluster.as_str()))
            .filter(session::Column::ClosedAt.is_null())
            .order_by_asc(session::Column::OpenedAt)
            .order_by_asc(session::Column::Uid);
        let rows = self.read(found.all(self.db())).await?;
        rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
    }

    /// Forgets up to `limit` sessions that ended before `before` and hold nothing any more. Says how many.
    pub async fn sessions_trim(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.write("sessions_trim", move |txn| {
            Box::pin(async move {
                let text = "DELETE FROM sessions WHERE uid IN (SELECT s.uid FROM sessions s WHERE s.closed_at < $1 \
                         AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.session_uid = s.uid) LIMIT $2)";
                let done =
                    sql::execute(&txn.db, text, [before.as_microsecond().into(), i64::from(limit).into()]).await?;
                Ok(u32::try_from(done).unwrap_or(u32::MAX))
            })
        })
        .await
    }

    /// An open session. `Fenced`: it was ended.
    pub async fn session_get(&self, uid: SessionUid) -> Result<Session, StoreError> {
        match self.read(session::Entity::find_by_id(uid.0).one(self.db())).await? {
            None => Err(StoreError::NotFound(format!("session {uid}"))),
            Some(row) if row.closed_at.is_some() => Err(StoreError::Fenced),
            Some(row) => Ok(row.try_into()?),
        }
    }
}

fn lease_end(now: Timestamp, lease: Duration) -> Timestamp {
    let lease = SignedDuration::try_from(lease).unwrap_or(SignedDuration::MAX);
    now.checked_add(lease).unwrap_or(Timestamp::MAX)
}

/// What to say of a session that is not open.
pub(crate) async fn ended(txn: &Txn, uid: SessionUid) -> Result<Fault, Fault> {
    let there = session::Entity::find_by_id(uid.0).count(&txn.db).await? > 0;
    Ok(Fault::Store(if there { StoreError::Fenced } else { StoreError::NotFound(format!("session {uid}")) }))
}

async fn open<F>(txn: &Txn, new: &NewSession, lease: Duration, settle: &Mutex<F>) -> Result<Session, Fault>
where
    F: FnMut(&Task, Fence) -> Option<Transition> + Send,
{
    let now = txn.now().await?;
    let executor = new.executor.as_str();
    let text = "UPDATE sessions SET closed_at = $1 WHERE executor = $2 AND closed_at IS NULL";
    sql::execute(&txn.db, text, [now.as_microsecond().into(), executor.into()]).await?;
    let NewSession { uid, executor: _, cluster, adoptable, runs_images, logs_address } = new.clone();
    let session = Session {
        uid,
        executor: new.executor.clone(),
        cluster,
        adoptable,
        runs_images,
        logs_address,
        opened_at: now,
        lease_until: lease_end(now, lease),
    };
    // Two that open at once: the later one finds the earlier one open, and ends it on its next try.
    let row = session::ActiveModel::from(session::Model::from(&session));
    let inserted = session::Entity::insert(row).exec_without_returning(&txn.db).await;
    inserted.map_err(|error| Fault::taken(error, format_args!("session {uid}")))?;
    settle::settle_earlier(txn, &session, settle).await?;
    Ok(session)
}
