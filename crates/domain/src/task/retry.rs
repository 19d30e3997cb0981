//! When a failed attempt is followed by another.

use std::time::Duration;

use crate::invalid::{Check, Invalid};
use crate::task::Class;

pub const ATTEMPTS_MAX: u32 = 10;
pub const BACKOFF_DEFAULT: Duration = Duration::from_secs(10);
pub const BACKOFF_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    pub max_attempts: u32,
    /// Before the second attempt; doubles from there.
    pub backoff: Duration,
    /// Which ends are tried again. Never holds [`Class::Unknown`].
    pub retry_on: Vec<Class>,
    pub retry_unknown: bool,
}

impl Default for RetryPolicy {
    /// One attempt.
    fn default() -> Self {
        Self { max_attempts: 1, backoff: BACKOFF_DEFAULT, retry_on: Vec::new(), retry_unknown: false }
    }
}

impl RetryPolicy {
    pub fn parse(
        max_attempts: i64,
        backoff: Option<Duration>,
        mut retry_on: Vec<Class>,
        retry_unknown: bool,
    ) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let attempts = match u32::try_from(max_attempts) {
            Ok(attempts) if (1..=ATTEMPTS_MAX).contains(&attempts) => attempts,
            _ => {
                check.refuse("retry_policy.max_attempts", format!("must be between 1 and {ATTEMPTS_MAX}"));
                1
            }
        };
        let backoff = backoff.unwrap_or(BACKOFF_DEFAULT);
        if backoff > BACKOFF_MAX {
            check.refuse("retry_policy.backoff", "must be at most 1h");
        }
        if retry_on.contains(&Class::Unknown) {
            check.refuse(
                "retry_policy.retry_on",
                "must not name UNKNOWN: set retry_unknown if the command may run twice",
            );
        }
        if attempts > 1 && retry_on.is_empty() && !retry_unknown {
            check.refuse(
                "retry_policy.retry_on",
                "must say which ends are tried again: USER, INFRASTRUCTURE, CONFIGURATION",
            );
        }
        retry_on.sort_unstable();
        retry_on.dedup();
        check.finish_with(Some(Self { max_attempts: attempts, backoff, retry_on, retry_unknown }))
    }

    /// How long to wait before the next attempt, if there is to be one after `attempt` ended in such a way. Somebody's wish is
    /// not asked here.
    pub fn again(&self, class: Class, attempt: u32) -> Option<Duration> {
        let wanted = match class {
            Class::Unknown => self.retry_unknown,
            class => self.retry_on.contains(&class),
        };
        let doublings = attempt.saturating_sub(1).min(16);
        (wanted && attempt < self.max_attempts).then(|| self.backoff.saturating_mul(1 << doublings).min(BACKOFF_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_ends_are_never_retried_unless_asked_for_by_name() {
        let policy =
            RetryPolicy::parse(3, None, vec![Class::User, Class::Infrastructure, Class::Configuration], false).unwrap();
        assert_eq!(policy.again(Class::Unknown, 1), None);
        assert!(RetryPolicy { retry_unknown: true, ..policy }.again(Class::Unknown, 1).is_some());
    }

    #[test]
    fn the_wait_doubles_and_is_bounded() {
        let policy = RetryPolicy::parse(10, Some(Duration::from_secs(600)), vec![Class::User], false).unwrap();
        let waits: Vec<_> =
            (1..=10).map(|attempt| policy.again(Class::User, attempt).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits[..4], [Some(600), Some(1200), Some(2400), Some(3600)]);
        assert_eq!(waits[9], None);
    }

    #[test]
    fn a_policy_must_say_what_it_retries() {
        assert!(RetryPolicy::parse(2, None, vec![], false).is_err());
        assert!(RetryPolicy::parse(2, None, vec![Class::Unknown], false).is_err());
        assert!(RetryPolicy::parse(0, None, vec![Class::User], false).is_err());
        assert!(RetryPolicy::parse(11, None, vec![Class::User], false).is_err());
        assert!(RetryPolicy::parse(2, Some(Duration::from_secs(3601)), vec![Class::User], false).is_err());
    }
}
