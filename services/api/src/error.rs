//! What went wrong, as a client hears it. Logged once, here, when it is ours to mend.

use std::time::Duration;

use taskplane_domain::Invalid;
use taskplane_domain::bind::Unbindable;
use taskplane_domain::task::StateKind;
use taskplane_logs::LogsError;
use taskplane_proto::details;
use taskplane_store::StoreError;
use tonic::{Code, Status};

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error("{0} changed meanwhile: read it again and repeat with its etag")]
    EtagMismatch(String),
    #[error("{0} runs container images, but only executors for uploaded source serve it: push the source instead")]
    ImagesNotRun(String),
    #[error("{0} takes no more than a burst of new Tasks at once: try again a little later")]
    TooManyRequests(String, Duration),
    #[error(transparent)]
    Unbindable(Unbindable),
    #[error(
        "{0} is bound to {1}, whose credentials stand in a Secret of a cluster, and only executors without one serve it: give the service its credentials, or unbind it"
    )]
    SecretsNotRead(String, String),
    #[error("{0}: nothing of it can be changed or run any more")]
    JobDeleting(String),
    #[error("{0} is not over: end it first, or delete it by force")]
    TaskLive(String),
    #[error("{0} has {1} schedules already, and may have no more")]
    TooManySchedules(String, usize),
    #[error("{0} is bound to {1} Apps already: bind it to the whole Space")]
    TooManyBindings(String, u64),
    #[error("as many sources as may be are being uploaded at this moment: try again a little later")]
    TooManyUploads,
    #[error("{0} is {state}, and not stuck in its end: only such a Task can be given up (end it with CancelTask, and see ExplainTask)", state = .1.as_str())]
    NotStuck(String, StateKind),
    #[error("the log of {0} was deleted, as was asked for")]
    LogDeleted(String),
    #[error("the session is over: open a new one")]
    SessionOver,
    #[error("the token is not that of this attempt")]
    ForeignToken,
    #[error("the caller's certificate is made out to executors of other names than {0:?}")]
    ForeignName(String),
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let text = error.to_string();
        match error {
            ApiError::Invalid(invalid) => details::invalid(&invalid),
            ApiError::Store(error) => from_store(error, text),
            ApiError::Logs(error) => unavailable(&error),
            ApiError::EtagMismatch(_) => details::error(Code::Aborted, "ETAG_MISMATCH", text),
            ApiError::ImagesNotRun(_) => details::error(Code::FailedPrecondition, "IMAGES_NOT_RUN", text),
            ApiError::TooManyRequests(_, delay) => {
                details::retry_later(Code::ResourceExhausted, "RATE_LIMITED", text, delay)
            }
            ApiError::TooManyUploads => {
                details::retry_later(Code::ResourceExhausted, "TOO_MANY_UPLOADS", text, Duration::from_secs(5))
            }
            ApiError::Unbindable(Unbindable::NameTaken { .. }) => {
                details::error(Code::AlreadyExists, "BINDING_NAME_TAKEN", text)
            }
            ApiError::Unbindable(Unbindable::BoundAlready { .. }) => {
                details::error(Code::AlreadyExists, "BOUND_ALREADY", text)
            }
            ApiError::Unbindable(Unbindable::TooMany(_) | Unbindable::TooLarge(_)) => {
                details::error(Code::FailedPrecondition, "TOO_MANY_BINDINGS", text)
            }
            ApiError::SecretsNotRead(..) => details::error(Code::FailedPrecondition, "SECRETS_NOT_READ", text),
            ApiError::JobDeleting(_) => details::error(Code::FailedPrecondition, "JOB_DELETING", text),
            ApiError::TaskLive(_) => details::error(Code::FailedPrecondition, "TASK_LIVE", text),
            ApiError::TooManySchedules(..) => details::error(Code::FailedPrecondition, "TOO_MANY_SCHEDULES", text),
            ApiError::TooManyBindings(..) => details::error(Code::FailedPrecondition, "TOO_MANY_BINDINGS", text),
            ApiError::NotStuck(..) => details::error(Code::FailedPrecondition, "NOT_STUCK", text),
            ApiError::LogDeleted(_) => details::error(Code::FailedPrecondition, "LOG_DELETED", text),
            ApiError::ForeignToken => details::error(Code::PermissionDenied, "FOREIGN_TOKEN", text),
            ApiError::ForeignName(_) => details::error(Code::PermissionDenied, "FOREIGN_NAME", text),
            ApiError::SessionOver => details::error(Code::FailedPrecondition, "SESSION_OVER", text),
        }
    }
}

fn from_store(error: StoreError, text: String) -> Status {
    match error {
        StoreError::NotFound(_) => details::error(Code::NotFound, "NOT_FOUND", text),
        StoreError::AlreadyExists(_) => details::error(Code::AlreadyExists, "ALREADY_EXISTS", text),
        StoreError::Conflict(_) => details::retry_later(Code::Aborted, "CONFLICT", text, Duration::from_millis(50)),
        StoreError::AppDeleting(_) => details::error(Code::FailedPrecondition, "APP_DELETING", text),
        StoreError::SpaceDeleting(_) => details::error(Code::FailedPrecondition, "SPACE_DELETING", text),
        StoreError::Trimmed => details::error(Code::OutOfRange, "RESUME_TOKEN_TOO_OLD", text),
        StoreError::InUse { .. } => details::error(Code::FailedPrecondition, "IN_USE", text),
        StoreError::LiveQuota { .. } => {
            let text = format!("{text}: wait until some are over, or raise its quota.live_tasks");
            details::retry_later(Code::ResourceExhausted, "LIVE_TASKS_QUOTA", text, Duration::from_secs(5))
        }
        StoreError::KeyReused => details::error(Code::FailedPrecondition, "REQUEST_ID_REUSED", text),
        StoreError::Fenced => details::error(Code::FailedPrecondition, "SESSION_OVER", text),
        StoreError::Unavailable(_) | StoreError::Unreachable { .. } | StoreError::Unusable(_) => unavailable(&error),
        StoreError::Invalid(invalid) => details::invalid(&invalid),
        StoreError::KeyMissing(_) => {
            tracing::error!(%error, "a secret cannot be opened");
            details::error(Code::FailedPrecondition, "SECRET_KEY_MISSING", text)
        }
        StoreError::Corrupt(_) => {
            tracing::error!(%error, "a stored row is inconsistent");
            details::error(
                Code::DataLoss,
                "STORED_ROW_INCONSISTENT",
                "what is stored is inconsistent: the operator's log says where",
            )
        }
    }
}

fn unavailable(error: &dyn std::error::Error) -> Status {
    tracing::warn!(error = chain(error), "storage unavailable");
    details::retry_later(
        Code::Unavailable,
        "STORAGE_UNAVAILABLE",
        "storage is unavailable at the moment: try again",
        Duration::from_secs(1),
    )
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
