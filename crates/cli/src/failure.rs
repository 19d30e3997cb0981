//! How things go wrong, and the one line that says so.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{FieldViolation, StatusExt as _};

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something on this side was not right.
    #[error("{what}")]
    Wrong { what: String, fix: Option<String> },
    /// The command was typed in a way that cannot work.
    #[error("{0}")]
    Usage(String),
    #[error("cannot reach the api at {url}: {cause}")]
    Unreachable { url: String, cause: String },
    /// The api said no.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
    #[error("no answer within {}s", .0.as_secs_f32())]
    TooSlow(Duration),
    /// Reading or writing a local stream failed.
    #[error("{0}")]
    Output(#[source] io::Error),
    /// All is said; only the exit code is left.
    #[error("exit code {0}")]
    Exit(u8),
}

impl Failure {
    pub fn wrong(what: String) -> Self {
        Self::Wrong { what, fix: None }
    }

    pub fn wrong_with(what: String, fix: String) -> Self {
        Self::Wrong { what, fix: Some(fix) }
    }

    /// Tells an answer of the api from the lack of one, which has a cause on this side.
    pub fn refused(status: Status, url: &str) -> Self {
        match cause(&status) {
            Some(cause) if is_passing(&status) => Self::Unreachable { url: url.to_owned(), cause },
            _ => Self::Refused(Box::new(status)),
        }
    }

    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(status) => Some(status.code()),
            Self::Unreachable { .. } => Some(Code::Unavailable),
            Self::Wrong { .. } | Self::Usage(_) | Self::TooSlow(_) | Self::Output(_) | Self::Exit(_) => None,
        }
    }

    /// The reader of stdout has gone away, which is no error of ours.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exit(code) => *code,
            Self::Usage(_) => 2,
            // What a program ended by SIGPIPE would have given.
            Self::Output(_) if self.is_broken_pipe() => 128 + 13,
            Self::Wrong { .. } | Self::Unreachable { .. } | Self::Refused(_) | Self::TooSlow(_) | Self::Output(_) => 1,
        }
    }

    /// What was wrong and, where it is known, what to do about it; without control characters.
    pub fn line(&self) -> String {
        let (what, fix) = match self {
            Self::Wrong { what, fix } => (what.clone(), fix.clone()),
            Self::Unreachable { .. } => {
                (self.to_string(), Some("is it running? set --api or TASKPLANE_API".to_owned()))
            }
            Self::TooSlow(_) => (self.to_string(), Some("set --request-timeout to wait longer".to_owned())),
            Self::Refused(status) => explain(status),
            Self::Usage(_) | Self::Output(_) | Self::Exit(_) => (self.to_string(), None),
        };
        let line = match fix {
            Some(fix) => format!("{what}; {fix}"),
            None => what,
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        crate::escape::line(&words.join(" ")).into_owned()
    }
}

/// Whether trying again may help: the connection broke or could not be made, or the api says it will be back.
pub fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // A lost race that the api offers to run again; a changed etag comes without the offer.
        Code::Aborted => status.get_details_retry_info().is_some(),
        // Broken off by the transport: these come with a source, the api's own answers do not.
        Code::Unknown | Code::Internal | Code::Cancelled => status.source().is_some(),
        _ => false,
    }
}

/// The innermost error below a status that this side made up.
fn cause(status: &Status) -> Option<String> {
    let mut innermost = status.source()?;
    while let Some(next) = innermost.source() {
        innermost = next;
    }
    Some(lower_first(&innermost.to_string()))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

fn explain(status: &Status) -> (String, Option<String>) {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let what = if violations.is_empty() {
        match status.message().trim() {
            "" => status.code().description().to_lowercase(),
            message => message.to_owned(),
        }
    } else {
        violations.iter().map(violation).collect::<Vec<_>>().join(", ")
    };
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    let fix = match (status.code(), delay) {
        (Code::Unimplemented, _) => Some("is the api older than this program?".to_owned()),
        (Code::Unavailable | Code::ResourceExhausted, Some(delay)) => {
            Some(format!("try again in {}s", delay.as_secs().max(1)))
        }
        _ => None,
    };
    (what, fix)
}

fn violation(violation: &FieldViolation) -> String {
    let FieldViolation { field, description, .. } = violation;
    match (flag(field), field.as_str()) {
        (Some(flag), _) => format!("{flag}: {description}"),
        (None, "") => description.clone(),
        (None, field) => format!("{field}: {description}"),
    }
}

/// What a field may stand in.
const MESSAGES: [&str; 8] = ["service.", "app.", "space.", "task.", "spec.", "job.template.", "job.", "schedule."];

/// The flag or argument that sets a field of a request.
fn flag(field: &str) -> Option<String> {
    // Rules stand in a file, which knows no message around them.
    if let Some(rules) = field.strip_prefix("security_group.rules") {
        return Some(format!("rules{rules}"));
    }
    // A Job's command is an argument, everybody else's a flag.
    if field == "job.template.command" {
        return Some("COMMAND".to_owned());
    }
    let field = MESSAGES.iter().find_map(|p| field.strip_prefix(p)).unwrap_or(field);
    let flag = match field.strip_prefix("resources.").unwrap_or(field) {
        "memory" => "-m/--memory-limit",
        "disk" => "-k/--disk-quota",
        "cpu" => "--cpu-cores",
        "command" => "-c/--command",
        "display_name" => "--name",
        "timeout" => "--timeout",
        "request_id" => "--request-id",
        "task_retention_count" => "--task-retention-count",
        "log_cap_bytes" => "--log-cap",
        "minimum_finished_tasks" => "--minimum-finished-tasks",
        "task_retention_age" => "--task-retention-age",
        "failed_task_retention_count" => "--failed-task-retention-count",
        "quota.live_tasks" => "--live-tasks",
        "quota.running_tasks" => "--running-tasks",
        "quota.waiting_tasks" => "--waiting-tasks",
        "default_task_timeout" => "--default-timeout",
        "start_ticket" => "--start-ticket",
        "default_resources.memory" => "--default-memory",
        "default_resources.disk" => "--default-disk",
        "default_resources.cpu" => "--default-cpu",
        "min_resources.memory" => "--min-memory",
        "min_resources.disk" => "--min-disk",
        "min_resources.cpu" => "--min-cpu",
        "max_resources.memory" => "--max-memory",
        "max_resources.disk" => "--max-disk",
        "max_resources.cpu" => "--max-cpu",
        "source.image" | "source.kind.image" | "image" => "--docker-image",
        "source" | "source.archive" | "chunk" => "-p/--path",
        "app_id" | "app" => "APP",
        "target" => "APP",
        "service_id" => "SERVICE",
        "credentials" => "-p/--credentials",
        "secret_name" => "--secret",
        "label" => "--label",
        "plan" => "--plan",
        "binding_name" => "-b/--binding-name",
        "job_id" => "JOB",
        "cron" => "CRON",
        "concurrency_policy" => "-c/--concurrency-policy",
        "time_zone" => "--time-zone",
        "gap" => "--gap",
        "overlap" => "--overlap",
        "starting_deadline" => "--deadline",
        "schedule_id" => "--schedule",
        "note" => "--note",
        "grace" => "--grace",
        "count" => "-n/--count",
        "start_time" => "--from",
        "end_time" => "--to",
        "space_id" => "NAME",
        "security_group_id" | "security_group.name" => "GROUP",
        "retry_policy" | "retry_policy.max_attempts" => "--max-attempts",
        "retry_policy.retry_on" => "--retry-on",
        "retry_policy.backoff" => "--backoff",
        "retry_policy.retry_unknown" => "--retry-unknown",
        "attempt" => "--attempt",
        "tail" => "-n/--number",
        "since" => "--since",
        other => {
            let keyed = |map, flag| keyed(other, map, flag);
            return keyed("env", "-e/--env")
                .or_else(|| keyed("labels", "--label"))
                .or_else(|| keyed("tags", "-t/--tags"));
        }
    };
    Some(flag.to_owned())
}

/// `env`, `env.KEY`, `env[KEY]`, `env["KEY"]`.
fn keyed(field: &str, map: &str, flag: &str) -> Option<String> {
    let rest = field.strip_prefix(map)?;
    let key = rest.trim_matches(|c| matches!(c, '.' | '[' | ']' | '"' | '\''));
    match (rest.chars().next(), key) {
        (None, _) | (Some('.' | '['), "") => Some(flag.to_owned()),
        (Some('.' | '['), key) => Some(format!("{flag} {key}")),
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn refused(code: Code, message: &str, details: ErrorDetails) -> String {
        Failure::refused(Status::with_error_details(code, message, details), "http://localhost:1").line()
    }

    #[test]
    fn every_violated_field_is_named_by_its_flag() {
        let mut details = ErrorDetails::new();
        details
            .add_bad_request_violation("resources.memory", "must be more than 0")
            .add_bad_request_violation("env[\"A B\"]", "is not a name")
            .add_bad_request_violation("parent", "is not a resource name");
        assert_eq!(
            refused(Code::InvalidArgument, "invalid request", details),
            "-m/--memory-limit: must be more than 0, -e/--env A B: is not a name, parent: is not a resource name"
        );
    }

    #[test]
    fn a_message_without_details_stands_alone() {
        assert_eq!(refused(Code::NotFound, "spaces/x not found", ErrorDetails::new()), "spaces/x not found");
    }

    #[test]
    fn an_empty_message_falls_back_to_the_code() {
        assert_eq!(
            refused(Code::PermissionDenied, "", ErrorDetails::new()),
            Code::PermissionDenied.description().to_lowercase()
        );
    }

    #[test]
    fn what_a_server_says_stays_one_harmless_line() {
        assert_eq!(refused(Code::Internal, "a\n\tb\x1b[2J", ErrorDetails::new()), "a b\\x1b[2J");
    }

    #[test]
    fn a_server_that_asks_for_patience_is_quoted() {
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(3)));
        assert_eq!(refused(Code::ResourceExhausted, "too many tasks", details), "too many tasks; try again in 3s");
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let mut offer = ErrorDetails::new();
        offer.set_retry_info(Some(Duration::from_millis(50)));
        assert!(is_passing(&Status::unavailable("")));
        assert!(is_passing(&Status::with_error_details(Code::Aborted, "lost race", offer)));
        for status in [Status::aborted("etag"), Status::internal("bug"), Status::resource_exhausted("rate")] {
            assert!(!is_passing(&status), "{status}");
        }
    }

    #[test]
    fn fields_are_found_below_their_message() {
        assert_eq!(flag("app.resources.cpu").as_deref(), Some("--cpu-cores"));
        assert_eq!(flag("labels.tier").as_deref(), Some("--label tier"));
        assert_eq!(flag("env").as_deref(), Some("-e/--env"));
        assert_eq!(flag("job.template.resources.disk").as_deref(), Some("-k/--disk-quota"));
        assert_eq!(flag("job.template.env.A B").as_deref(), Some("-e/--env A B"));
        assert_eq!(flag("security_group.rules[3].ports").as_deref(), Some("rules[3].ports"));
        assert_eq!(flag("security_group_id").as_deref(), Some("GROUP"));
        assert_eq!(flag("environment"), None);
        assert_eq!(flag("page_token"), None);
    }

    #[test]
    fn fields_of_jobs_and_schedules_have_their_flags() {
        for (field, expected) in [
            ("schedule.cron", "CRON"),
            ("schedule.time_zone", "--time-zone"),
            ("schedule.starting_deadline", "--deadline"),
            ("schedule_id", "--schedule"),
            ("job_id", "JOB"),
            ("job.app", "APP"),
            ("job.template.command", "COMMAND"),
            ("job.template.timeout", "--timeout"),
            ("command", "-c/--command"),
            ("count", "-n/--count"),
            ("end_time", "--to"),
        ] {
            assert_eq!(flag(field).as_deref(), Some(expected), "{field}");
        }
    }

    #[test]
    fn exit_codes_tell_usage_from_failure() {
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(Failure::wrong(String::new()).exit_code(), 1);
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).exit_code(), 141);
        assert_eq!(Failure::Exit(3).exit_code(), 3);
    }
}
