//! Errors as clients get them: a gRPC code, one sentence, and details a program can act on (`google.rpc`).

use std::collections::HashMap;
use std::time::Duration;

use taskplane_domain::invalid::Invalid;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo` of ours.
pub const DOMAIN: &str = "taskplane.dev";

/// INVALID_ARGUMENT with every violated field at once.
pub fn invalid(invalid: &Invalid) -> Status {
    let mut details = ErrorDetails::new();
    for violation in &invalid.violations {
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    details.set_error_info("INVALID_ARGUMENT", DOMAIN, HashMap::new());
    Status::with_error_details(Code::InvalidArgument, invalid.to_string(), details)
}

/// An error whose `reason` never changes its spelling.
pub fn error(code: Code, reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new()))
}

/// An error that goes away: try again after `delay`.
pub fn retry_later(code: Code, reason: &str, message: impl Into<String>, delay: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    details.set_retry_info(Some(delay));
    Status::with_error_details(code, message, details)
}
