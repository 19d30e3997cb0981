//! Errors as clients get them: a gRPC code, one sentence, and details a program can act on (`google.rpc`).

use std::collections::HashMap;
use std::time::Duration;

use taskplane_domain::invalid::{Invalid, Violation};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo` of ours.
pub const DOMAIN: &str = "taskplane.dev";

/// Details travel in a header, whose size clients bound: more than this says nothing that the first ones do not.
const VIOLATIONS_MAX: usize = 25;
const TEXT_MAX: usize = 160;
const MESSAGE_MAX: usize = 2000;

/// INVALID_ARGUMENT with every violated field at once, as far as an answer can hold them.
pub fn invalid(invalid: &Invalid) -> Status {
    let mut details = ErrorDetails::new();
    let mut told = Vec::new();
    for Violation { field, description } in invalid.violations.iter().take(VIOLATIONS_MAX) {
        let (field, description) = (cut(field, TEXT_MAX), cut(description, TEXT_MAX));
        told.push(format!("{field}: {description}"));
        details.add_bad_request_violation(field, description);
    }
    let more = invalid.violations.len() - told.len();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    details.set_error_info("INVALID_ARGUMENT", DOMAIN, HashMap::new());
    Status::with_error_details(Code::InvalidArgument, cut(&told.join("; "), MESSAGE_MAX), details)
}

fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max { text.to_owned() } else { text.chars().take(max).chain(['…']).collect() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_ten_thousand_wrong_fields_fits_into_a_header() {
        let violations =
            (0..10_000).map(|number| Violation::new(format!("field{number}"), "x".repeat(10_000))).collect();
        let status = invalid(&Invalid { violations });
        assert!(status.message().len() + status.details().len() < 12 * 1024);
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations.len(), VIOLATIONS_MAX);
    }
}
