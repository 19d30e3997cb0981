//! The database's clock: the one that all replicas share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, DbErr};

use crate::connect::Store;
use crate::error::StoreError;
use crate::sql;

#[derive(Debug, Clone, Default)]
pub enum DatabaseClock {
    /// Asked of the database each time.
    #[default]
    Database,
    /// The database's, so many microseconds ahead: what time does to a process is shown without waiting for it.
    Ahead(i64),
    /// Microseconds since 1970, moved by hand.
    Manual(Arc<AtomicI64>),
}

impl DatabaseClock {
    pub(crate) async fn now(&self, db: &impl ConnectionTrait) -> Result<Timestamp, DbErr> {
        let micros = match self {
            Self::Manual(micros) => micros.load(Ordering::SeqCst),
            Self::Database => asked(db).await?,
            Self::Ahead(micros) => asked(db).await? + micros,
        };
        Timestamp::from_microsecond(micros).map_err(|error| DbErr::Custom(error.to_string()))
    }
}

async fn asked(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let text = sql::choose(
        db,
        "SELECT CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER) * 1000 AS value",
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS value",
    );
    Ok(sql::number(db, text, []).await?.unwrap_or_default())
}

impl Store {
    /// What time it is for leases and due dates.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read(self.clock().now(self.db())).await
    }
}
