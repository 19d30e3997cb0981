//! What can go wrong, by what a caller can do about it.

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// A setting to correct.
    #[error("object store url is not usable: {0}")]
    Url(String),
    /// Worth another try.
    #[error("object store unavailable")]
    Unavailable(#[source] BoxError),
    /// What is stored is not what was written; trying again does not help.
    #[error("object {object} is damaged: {what}")]
    Damaged { object: String, what: &'static str },
    #[error("a source is named by a sha-256 of 64 lower-case hexadecimal digits, and the uid of its upload")]
    NotASource,
    /// The bytes are not what their name says; nothing was stored.
    #[error("source has sha-256 {actual}, not {expected}")]
    DigestMismatch { expected: String, actual: String },
    #[error("source {0} is not there")]
    NoSuchSource(String),
    /// A local file could not be read or written.
    #[error("file cannot be used")]
    File(#[from] std::io::Error),
}

impl From<object_store::Error> for LogsError {
    fn from(error: object_store::Error) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<tokio::task::JoinError> for LogsError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}
