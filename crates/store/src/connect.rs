//! From an address to a store that works: which engine, its settings, and one process per SQLite file.

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{Connection as _, Error as SqlxError, Executor as _};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use taskplane_proto::keyring::Keyring;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::accept_room::Counts;
use crate::clock::DatabaseClock;
use crate::error::{BoxError, StoreError, is_passing_refusal};
use crate::secrets::Secrets;

/// Nobody waits longer for a connection, a lock on a SQLite file, or a statement.
const PATIENCE: Duration = Duration::from_secs(5);
const SQLITE_CONNECTIONS: std::ops::RangeInclusive<u32> = 2..=8;

#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub max_connections: u32,
    pub clock: DatabaseClock,
    /// What seals secrets on their way into the database.
    pub secrets: Keyring,
}

impl StoreOptions {
    /// The usual ones. There is no store without keys: nothing that is secret is ever written open.
    pub fn new(secrets: Keyring) -> Self {
        Self { max_connections: 16, clock: DatabaseClock::Database, secrets }
    }
}

/// A handle; clones share one pool.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    db: DatabaseConnection,
    connections: u32,
    address: Address,
    clock: DatabaseClock,
    secrets: Secrets,
    /// SQLite: whose turn it is to write.
    turns: Option<Arc<Semaphore>>,
    /// What the live Tasks of Spaces were counted to be.
    counts: Arc<Counts>,
    /// SQLite: held as long as the store is.
    _lock: Option<File>,
}

pub(crate) enum Address {
    Sqlite(PathBuf),
    /// With a password in it: never shown.
    Postgres(String),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.address {
            Address::Sqlite(path) => write!(f, "Store({})", path.display()),
            Address::Postgres(_) => f.write_str("Store(postgres)"),
        }
    }
}

impl Store {
    /// `sqlite:PATH` or `postgres://…`. Connects at once, so that a wrong address is told at the start.
    pub async fn connect(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let StoreOptions { max_connections, clock, secrets } = options;
        let address = Address::parse(url)?;
        let lock = match &address {
            Address::Sqlite(path) => Some(lock(path)?),
            Address::Postgres(url) => {
                probe(url).await?;
                None
            }
        };
        let turns = lock.as_ref().map(|_| Arc::new(Semaphore::new(1)));
        let connections = match &address {
            Address::Sqlite(_) => max_connections.clamp(*SQLITE_CONNECTIONS.start(), *SQLITE_CONNECTIONS.end()),
            Address::Postgres(_) => max_connections.max(1),
        };
        let db = address.open(connections).await?;
        let secrets = Secrets::new(secrets);
        let counts = Arc::default();
        let inner = Inner { db, connections, address, clock, secrets, turns, counts, _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether an address can be one, as far as can be told without connecting.
    pub fn check(url: &str) -> Result<(), StoreError> {
        match Address::parse(url)? {
            Address::Sqlite(_) => Ok(()),
            // What the parser has to say may repeat the address, and with it a password.
            Address::Postgres(url) => url.parse::<PgConnectOptions>().map(drop).map_err(|_| {
                StoreError::Unusable("the address must be like postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned())
            }),
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(self.db().ping()).await
    }

    /// Waits for what is under way, and gives the connections back. The file stays locked until the last clone is gone.
    pub async fn close(&self) -> Result<(), StoreError> {
        Ok(self.db().close_by_ref().await?)
    }

    pub(crate) fn db(&self) -> &DatabaseConnection {
        &self.inner.db
    }

    /// How many the pool may open.
    pub(crate) fn connections(&self) -> u32 {
        self.inner.connections
    }

    pub(crate) fn address(&self) -> &Address {
        &self.inner.address
    }

    pub(crate) fn clock(&self) -> &DatabaseClock {
        &self.inner.clock
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.inner.counts
    }

    pub(crate) fn turns(&self) -> Option<&Arc<Semaphore>> {
        self.inner.turns.as_ref()
    }
}

impl Address {
    fn parse(url: &str) -> Result<Self, StoreError> {
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let path = path.split_once('?').map_or(path, |(path, _)| path);
            if path.is_empty() || path == ":memory:" {
                return Err(StoreError::Unusable("sqlite needs a file: sqlite:PATH".to_owned()));
            }
            Ok(Self::Sqlite(PathBuf::from(path)))
        } else if let Some(rest) = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) {
            Ok(Self::Postgres(format!("postgres://{rest}")))
        } else {
            // The address may hold a password: it is not repeated.
            Err(StoreError::Unusable("the address must begin with sqlite: or postgres://".to_owned()))
        }
    }

    /// A pool of that many connections.
    pub(crate) async fn open(&self, connections: u32) -> Result<DatabaseConnection, StoreError> {
        let mut options = match self {
            // The file is named below, as it is: a URL would decode it first.
            Self::Sqlite(_) => ConnectOptions::new("sqlite://taskplane"),
            Self::Postgres(url) => ConnectOptions::new(url.clone()),
        };
        options
            .max_connections(connections)
            .connect_timeout(PATIENCE)
            .acquire_timeout(PATIENCE)
            .test_before_acquire_if_idle_for(Duration::from_secs(10))
            .sqlx_logging(false)
            .record_stmt_in_spans(false);
        match self {
            Self::Sqlite(path) => {
                let path = path.clone();
                // A COMMIT that failed, on a full disk say, leaves the transaction open, and the next one on that connection
                // would only be a part of it: acknowledged, and never written.
                options.map_sqlx_sqlite_before_acquire(|connection, _| {
                    Box::pin(async move {
                        let left_open = connection.execute("ROLLBACK").await.is_ok();
                        Ok(!left_open)
                    })
                });
                options.map_sqlx_sqlite_opts(move |sqlite| {
                    sqlite
                        .filename(&path)
                        .create_if_missing(true)
                        .busy_timeout(PATIENCE)
                        .pragma("journal_mode", "WAL")
                        // NORMAL may lose the last commits when the power goes.
                        .pragma("synchronous", "FULL")
                        .pragma("journal_size_limit", "67108864")
                });
            }
            Self::Postgres(_) => {
                options.map_sqlx_postgres_opts(|postgres| {
                    postgres.application_name("taskplane").options([
                        ("statement_timeout", "5s"),
                        ("lock_timeout", "2s"),
                        ("idle_in_transaction_session_timeout", "30s"),
                    ])
                });
            }
        }
        Database::connect(options).await.map_err(|error| self.unreachable(Box::new(error)))
    }

    fn unreachable(&self, source: BoxError) -> StoreError {
        let at = match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => match url.parse::<PgConnectOptions>() {
                Ok(options) => format!("{}:{}", options.get_host(), options.get_port()),
                Err(_) => "an address that cannot be read".to_owned(),
            },
        };
        StoreError::Unreachable { at, source }
    }
}

/// One connection by hand: the pool would only say that it waited in vain.
async fn probe(url: &str) -> Result<(), StoreError> {
    let address = Address::Postgres(url.to_owned());
    let attempt = async {
        let options = url.parse::<PgConnectOptions>()?;
        PgConnection::connect_with(&options).await?.close().await
    };
    match timeout(PATIENCE, attempt).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(SqlxError::Database(refused))) if !is_passing_refusal(refused.code().as_deref()) => {
            Err(StoreError::Unusable(refused.message().to_owned()))
        }
        Ok(Err(error)) => Err(address.unreachable(Box::new(error))),
        Err(late) => Err(address.unreachable(Box::new(late))),
    }
}

/// The right to use a SQLite file, for as long as the file returned is open. The system takes it back from a dead process.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let unreachable =
        |source: std::io::Error| StoreError::Unreachable { at: path.display().to_string(), source: Box::new(source) };
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(unreachable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Unusable(format!("{} is in use by another process", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(unreachable(error)),
    }
}
