//! Transactions: whole or not at all, whatever becomes of the caller.
//!
//! A call that goes away drops its future wherever it stands, and a connection dropped within BEGIN goes back to the pool with
//! a transaction open on it. So each transaction runs in a task of its own, to its end; the caller merely waits for it.
//!
//! SQLite has one writer at a time. Its writers queue here, in order, instead of racing for the file's lock.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::Instrument;

use crate::clock::DatabaseClock;
use crate::connect::Store;
use crate::error::{Fault, StoreError, is_passing};
use crate::secrets::Secrets;

/// How often a transaction is run again when it lost a race.
const TRIES: u32 = 6;
/// How long a writer waits for its turn on SQLite.
const TURN: Duration = Duration::from_secs(10);
/// How long anybody waits for a transaction, all its tries included. The transaction itself goes on.
const WRITE: Duration = Duration::from_secs(20);
/// How long anybody waits for an answer. A database that is there cuts a statement off before.
const READ: Duration = Duration::from_secs(6);

pub(crate) type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 't>>;

pub(crate) struct Txn {
    pub(crate) db: DatabaseTransaction,
    clock: DatabaseClock,
    pub(crate) secrets: Secrets,
}

impl Txn {
    pub(crate) async fn now(&self) -> Result<Timestamp, DbErr> {
        self.clock.now(&self.db).await
    }
}

fn late(elapsed: Elapsed) -> StoreError {
    StoreError::Unavailable(Box::new(elapsed))
}

impl Store {
    /// An answer in time, or none.
    pub(crate) async fn read<T>(&self, query: impl Future<Output = Result<T, DbErr>>) -> Result<T, StoreError> {
        Ok(timeout(READ, query).await.map_err(late)??)
    }

    /// Runs `work` in a transaction and commits it. Failpoints: `store::<name>::before_commit` and `…::after_commit`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the caller waits for it; a tracked task would be no different, and a dropped caller must not end it"
    )]
    pub(crate) async fn write<T, F>(&self, name: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Txn) -> Work<'t, T> + Send + Sync + 'static,
    {
        let turn = match self.turns() {
            None => None,
            Some(turns) => {
                let turn = timeout(TURN, Arc::clone(turns).acquire_owned()).await;
                Some(turn.map_err(late)?)
            }
        };
        let store = self.clone();
        let whole = async move {
            let result = store.run_again(name, work).await;
            drop(turn);
            result
        };
        let span = tracing::info_span!("store.write", db.transaction = name);
        match timeout(WRITE, tokio::spawn(whole.instrument(span))).await.map_err(late)? {
            Ok(result) => result,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(stopped) => Err(StoreError::Unavailable(Box::new(stopped))),
            },
        }
    }

    async fn run_again<T, F>(&self, name: &'static str, work: F) -> Result<T, StoreError>
    where
        F: for<'t> Fn(&'t Txn) -> Work<'t, T>,
    {
        let mut tried = 1;
        loop {
            let error = match self.run_once(name, &work).await {
                Ok(value) => return Ok(value),
                Err(Fault::Store(error)) => return Err(error),
                Err(Fault::Again(error)) => error,
                Err(Fault::Database(error)) if is_passing(&error) => error.into(),
                Err(Fault::Database(error)) => return Err(error.into()),
            };
            if tried == TRIES {
                return Err(error);
            }
            tracing::debug!(transaction = name, tried, "a transaction lost a race and runs again");
            tokio::time::sleep(Duration::from_millis(4 << tried)).await;
            tried += 1;
        }
    }

    async fn run_once<T, F>(&self, name: &'static str, work: &F) -> Result<T, Fault>
    where
        F: for<'t> Fn(&'t Txn) -> Work<'t, T>,
    {
        let immediate = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let db = self.db().begin_with_options(immediate).await?;
        let txn = Txn { db, clock: self.clock().clone(), secrets: self.secrets().clone() };
        match work(&txn).await {
            Ok(value) => {
                fail::fail_point!(&format!("store::{name}::before_commit"));
                // A commit without an answer may have happened: it is never run again from here.
                txn.db.commit().await.map_err(StoreError::from)?;
                fail::fail_point!(&format!("store::{name}::after_commit"));
                Ok(value)
            }
            Err(fault) => {
                if let Err(error) = txn.db.rollback().await {
                    tracing::debug!(transaction = name, %error, "a rollback failed; the connection is closed before its next use");
                }
                Err(fault)
            }
        }
    }
}
