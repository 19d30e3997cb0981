//! What a Space says of the Tasks of its Apps: how many are kept, how many may be live, what each may use.

use std::time::Duration;

use crate::env::Env;
use crate::invalid::{Check, Invalid};
use crate::placement::{self, Placement};
use crate::space::ResourceRules;
use crate::task::RunTask;

const LOG_CAP_MIN: u64 = 4 * 1024;
const QUOTA_MAX: u32 = 1_000_000;
const AGE_MIN: Duration = Duration::from_secs(1);
const AGE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpaceSettings {
    pub env: Env,
    pub retention: Retention,
    /// Most bytes kept of one attempt's log; none: all of them.
    pub log_cap: Option<u64>,
    /// Whether the log of a terminated Task goes with it, as Kf has it.
    pub delete_terminated_logs: bool,
    pub quota: Quota,
    pub resources: ResourceRules,
    /// For Tasks that bring none; none: they may run as long as they like.
    pub default_timeout: Option<Duration>,
    pub cluster: ClusterSettings,
    pub start_ticket: StartTicket,
}

/// What a Space says to clusters alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterSettings {
    /// Where its Tasks live; none: the executor names it after the Space.
    pub namespace: Option<String>,
    pub placement: Placement,
}

impl ClusterSettings {
    /// An empty namespace: none is said.
    pub fn parse(namespace: String, placement: Placement) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let placement = check.all(placement.check("space.cluster.placement"));
        if !namespace.is_empty() && !placement::is_label(&namespace) {
            check.refuse("space.cluster.namespace", "must be a namespace: a-z, 0-9 and -, at most 63 characters");
        } else if ["default", "kube-system", "kube-public", "kube-node-lease"].contains(&namespace.as_str()) {
            check.refuse("space.cluster.namespace", "must be a namespace of its own, not one that every cluster has");
        }
        let namespace = Some(namespace).filter(|name| !name.is_empty());
        check.finish_with(placement.map(|placement| Self { namespace, placement }))
    }
}

/// Whether the command of a Task starts only with a start ticket, where its cluster gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartTicket {
    #[default]
    Required,
    /// A pod that is started again may run it again.
    Waived,
}

/// Which finished Tasks each App keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// All Tasks of an App count against it, and live ones are never removed.
    pub count: u32,
    /// So many finished ones stay, however many are live.
    pub minimum_finished: u32,
    /// None: as long as the counts allow.
    pub age: Option<Duration>,
    /// Of those that failed; none: they count as all others.
    pub failed: Option<u32>,
}

impl Retention {
    pub const COUNT_DEFAULT: u32 = 500;
    pub const MINIMUM_DEFAULT: u32 = 50;
    pub const COUNT_MAX: u32 = 100_000;

    /// Zero as `count` means the default, as a request that leaves the field out says it; for the others that is unset.
    pub fn parse(
        count: i64,
        minimum: Option<i64>,
        age: Option<Duration>,
        failed: Option<i64>,
    ) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let retention = Self {
            count: Self::parse_count(&mut check, count),
            minimum_finished: counted(&mut check, "space.minimum_finished_tasks", minimum)
                .unwrap_or(Self::MINIMUM_DEFAULT),
            age: age.filter(|age| !age.is_zero()),
            failed: counted(&mut check, "space.failed_task_retention_count", failed),
        };
        if retention.age.is_some_and(|age| !(AGE_MIN..=AGE_MAX).contains(&age)) {
            check.refuse("space.task_retention_age", "must be between 1s and 10 years, or unset for no limit");
        }
        check.finish_with(Some(retention))
    }

    fn parse_count(check: &mut Check, count: i64) -> u32 {
        match u32::try_from(count) {
            Ok(0) => Self::COUNT_DEFAULT,
            Ok(count) if count <= Self::COUNT_MAX => count,
            _ => {
                let (max, default) = (Self::COUNT_MAX, Self::COUNT_DEFAULT);
                check.refuse("space.task_retention_count", format!("must be between 1 and {max}, or 0 for {default}"));
                default
            }
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { count: Self::COUNT_DEFAULT, minimum_finished: Self::MINIMUM_DEFAULT, age: None, failed: None }
    }
}

fn counted(check: &mut Check, field: &str, count: Option<i64>) -> Option<u32> {
    let count = count?;
    let fine = u32::try_from(count).ok().filter(|count| *count <= Retention::COUNT_MAX);
    if fine.is_none() {
        check.refuse(field, format!("must be between 0 and {}", Retention::COUNT_MAX));
    }
    fine
}

/// How much of everything one Space may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Tasks that are not over; more are not accepted. A schedule's tick is never refused for it.
    pub live: u32,
    /// Tasks handed to executors at one time; none: as many as these take.
    pub running: Option<u32>,
    /// Tasks that wait. Above this a tick stays due until there is room.
    pub waiting: u32,
}

impl Quota {
    pub const LIVE_DEFAULT: u32 = 1_000;
    pub const WAITING_DEFAULT: u32 = 10_000;

    /// Zero means the default.
    pub fn parse(live: i64, running: i64, waiting: i64) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let mut number = |field: &str, asked: i64, zero: &str| {
            let fine = u32::try_from(asked).ok().filter(|asked| *asked <= QUOTA_MAX);
            if fine.is_none() {
                check.refuse(field, format!("must be between 1 and {QUOTA_MAX}, or 0 for {zero}"));
            }
            fine.filter(|asked| *asked > 0)
        };
        let live = number("space.quota.live_tasks", live, "1000").unwrap_or(Self::LIVE_DEFAULT);
        let running = number("space.quota.running_tasks", running, "no limit");
        let waiting = number("space.quota.waiting_tasks", waiting, "10000").unwrap_or(Self::WAITING_DEFAULT);
        check.finish_with(Some(Self { live, running, waiting }))
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self { live: Self::LIVE_DEFAULT, running: None, waiting: Self::WAITING_DEFAULT }
    }
}

/// Zero means no cap.
pub fn log_cap(bytes: i64) -> Result<Option<u64>, Invalid> {
    match u64::try_from(bytes) {
        Ok(0) => Ok(None),
        Ok(bytes) if bytes >= LOG_CAP_MIN => Ok(Some(bytes)),
        _ => Err(Invalid::one("space.log_cap_bytes", format!("must be at least {LOG_CAP_MIN}, or 0 for no cap"))),
    }
}

impl SpaceSettings {
    /// Zero means none.
    pub fn parse_default_timeout(timeout: Option<Duration>) -> Result<Option<Duration>, Invalid> {
        let timeout = timeout.filter(|timeout| !timeout.is_zero());
        if timeout.is_some_and(|timeout| RunTask::check_timeout(timeout).is_err()) {
            return Err(Invalid::one(
                "space.default_task_timeout",
                "must be at most 365 days, or unset for no timeout",
            ));
        }
        Ok(timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Resources;

    fn fields(invalid: Invalid) -> Vec<String> {
        invalid.violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        assert_eq!(Retention::parse(0, None, None, None).unwrap(), Retention::default());
        assert_eq!(Quota::parse(0, 0, 0).unwrap(), Quota::default());
        assert_eq!(Retention::parse(7, Some(0), None, Some(0)).unwrap().minimum_finished, 0);
    }

    #[test]
    fn every_number_out_of_bounds_is_named() {
        let refused = Retention::parse(-1, Some(-1), Some(Duration::from_millis(1)), Some(100_001)).unwrap_err();
        assert_eq!(
            fields(refused),
            [
                "space.task_retention_count",
                "space.minimum_finished_tasks",
                "space.failed_task_retention_count",
                "space.task_retention_age"
            ]
        );
        let refused = Quota::parse(-1, 1_000_001, i64::MAX).unwrap_err();
        assert_eq!(
            fields(refused),
            ["space.quota.live_tasks", "space.quota.running_tasks", "space.quota.waiting_tasks"]
        );
    }

    #[test]
    fn a_default_lies_between_minimum_and_maximum() {
        let memory = |text: &str| Resources { memory: text.parse().ok(), ..Resources::default() };
        let rules = |min: &str, default: &str, max: &str| ResourceRules {
            default: memory(default),
            min: memory(min),
            max: memory(max),
        };
        assert!(rules("64M", "64M", "1G").check().is_ok());
        assert!(rules("", "64M", "").check().is_ok());
        assert_eq!(fields(rules("2G", "", "1G").check().unwrap_err()), ["space.min_resources.memory"]);
        for (min, default, max) in [("2G", "1G", ""), ("", "2G", "1G")] {
            let refused = rules(min, default, max).check().unwrap_err();
            assert_eq!(fields(refused), ["space.default_resources.memory"]);
        }
    }
}
