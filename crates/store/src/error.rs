//! What can go wrong, told apart by what a caller can do about it. SQL never shows in a message.

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::{DbErr, RuntimeErr, SqlErr};
use taskplane_domain::Invalid;
use taskplane_domain::name::{AppName, SpaceName};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0} not found")]
    NotFound(String),
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// It is not what it was when it was read: read it again and decide again.
    #[error("{0} changed meanwhile")]
    Conflict(String),
    /// It cannot go while others need it.
    #[error("{name} still has {what}")]
    InUse { name: String, what: String },
    /// What is stored already and what was asked for break a rule together.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Something is sealed under the key of this id.
    #[error("secrets are sealed under key {0}, which --secret-key-file does not hold: add it as the second line")]
    KeyMissing(String),
    /// The idempotency key belongs to another request.
    #[error("the request id was used before, for another request")]
    KeyReused,
    /// It takes nothing in any more: it is on its way out.
    #[error("{0} is being deleted")]
    AppDeleting(AppName),
    /// The same of a Space, and of what is in it.
    #[error("{0} is being deleted")]
    SpaceDeleting(SpaceName),
    /// What lies between there and now is not all kept any more.
    #[error("the feed no longer goes back that far")]
    Trimmed,
    /// The Space has as many live Tasks as its quota allows.
    #[error("{space} has as many live Tasks as its quota allows ({quota})")]
    LiveQuota { space: String, quota: u32 },
    /// The caller holds it no longer: nothing was changed, and nothing it says will be.
    #[error("held by another session, or by none")]
    Fenced,
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The address, the file or the schema is not what this binary can work with; waiting does not help.
    #[error("the database cannot be used: {0}")]
    Unusable(String),
    #[error("cannot connect to the database at {at}")]
    Unreachable {
        at: String,
        #[source]
        source: BoxError,
    },
    /// Try again later. A write may or may not have happened.
    #[error("the database is unavailable")]
    Unavailable(#[source] BoxError),
}

/// A row that makes no sense: which cell of which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {table}.{column} of {row}", self.why.as_str())]
pub struct Corrupt {
    pub why: Why,
    pub table: &'static str,
    pub column: &'static str,
    /// Its key.
    pub row: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Senseless,
    /// It may well make sense to somebody who has the key.
    Locked,
}

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Self::Senseless => "a stored row is inconsistent",
            Self::Locked => "a stored row is sealed under a key that --secret-key-file does not hold",
        }
    }
}

impl StoreError {
    /// Whether the database was not there, or went away: it may be back at the next try. What it refuses, it refuses again.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Unavailable(source) => match source.downcast_ref::<DbErr>() {
                Some(error) => is_absence(error),
                None => true,
            },
            _ => false,
        }
    }

    /// The same for another one whom it concerns as well.
    pub fn alike(&self) -> Self {
        match self {
            Self::NotFound(name) => Self::NotFound(name.clone()),
            Self::AlreadyExists(name) => Self::AlreadyExists(name.clone()),
            Self::Conflict(name) => Self::Conflict(name.clone()),
            Self::InUse { name, what } => Self::InUse { name: name.clone(), what: what.clone() },
            Self::Invalid(invalid) => Self::Invalid(invalid.clone()),
            Self::KeyMissing(key) => Self::KeyMissing(key.clone()),
            Self::KeyReused => Self::KeyReused,
            Self::AppDeleting(name) => Self::AppDeleting(name.clone()),
            Self::SpaceDeleting(name) => Self::SpaceDeleting(name.clone()),
            Self::Trimmed => Self::Trimmed,
            Self::LiveQuota { space, quota } => Self::LiveQuota { space: space.clone(), quota: *quota },
            Self::Fenced => Self::Fenced,
            Self::Corrupt(corrupt) => Self::Corrupt(corrupt.clone()),
            Self::Unusable(why) => Self::Unusable(why.clone()),
            Self::Unreachable { at, source } => Self::Unreachable { at: at.clone(), source: text(source.as_ref()) },
            Self::Unavailable(source) => Self::Unavailable(text(source.as_ref())),
        }
    }
}

/// An error that only says what another one said, causes and all.
fn text(error: &(dyn std::error::Error + 'static)) -> BoxError {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")).into()
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It lost a race that it wins, or loses for good, when it is run again.
    Again(StoreError),
    Store(StoreError),
    Database(DbErr),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Corrupt> for Fault {
    fn from(corrupt: Corrupt) -> Self {
        Self::Store(corrupt.into())
    }
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl Fault {
    /// A second row under a key that takes one says that somebody was faster: the next try will see who.
    pub(crate) fn taken(error: DbErr, name: impl ToString) -> Self {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Self::Again(StoreError::AlreadyExists(name.to_string())),
            _ => Self::Database(error),
        }
    }

    /// The same where another try would only see the same again.
    pub(crate) fn exists(error: DbErr, name: impl ToString) -> Self {
        match Self::taken(error, name) {
            Self::Again(error) => Self::Store(error),
            fault => fault,
        }
    }
}

fn is_absence(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))
        | DbErr::Conn(RuntimeErr::SqlxError(error)) => match &**error {
            SqlxError::Database(refused) => is_passing_refusal(refused.code().as_deref()),
            SqlxError::Io(_) | SqlxError::PoolTimedOut | SqlxError::WorkerCrashed | SqlxError::Protocol(_) => true,
            _ => false,
        },
        _ => false,
    }
}

/// The server is there and takes nobody in just now: it starts, ends, or has too many already; or it was too slow.
pub(crate) fn is_passing_refusal(code: Option<&str>) -> bool {
    matches!(code, Some("57P01" | "57P02" | "57P03" | "53300" | "55P03" | "57014"))
}

/// Whether the database asks for the whole transaction to be run again: SQLite is busy, PostgreSQL saw a serialization
/// failure or a deadlock.
pub(crate) fn is_passing(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))
    | DbErr::Conn(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("5" | "6" | "261" | "517" | "40001" | "40P01"))
}
