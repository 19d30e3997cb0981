//! When a schedule fires, and how late a tick may still start.

use std::time::Duration;

use jiff::Timestamp;

use crate::invalid::{Check, Invalid};
use crate::schedule::{Cron, GapRule, OverlapRule, Recurrence, Zone};

const DEADLINE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub recurrence: Recurrence,
    /// A tick that is later than this is missed. None: the latest tick starts however late.
    pub deadline: Option<Duration>,
}

/// What a tick that fell due is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starting {
    InTime,
    TooLate { by: Duration },
}

impl Plan {
    /// Checks each part; `prefix` is the path of the schedule in the request, with its dot.
    pub fn parse(
        prefix: &str,
        cron: &str,
        time_zone: &str,
        (gap, overlap): (GapRule, OverlapRule),
        deadline: Option<Duration>,
    ) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let cron = check.field(&format!("{prefix}cron"), Cron::parse(cron));
        let zone = if time_zone.is_empty() { Ok(Zone::utc()) } else { Zone::parse(time_zone) };
        let zone = check.field(&format!("{prefix}time_zone"), zone);
        if deadline.is_some_and(|deadline| deadline.is_zero() || deadline > DEADLINE_MAX) {
            check.refuse(format!("{prefix}starting_deadline"), "must be more than 0 and at most 366 days");
        }
        let plan =
            cron.zip(zone).map(|(cron, zone)| Self { recurrence: Recurrence { cron, zone, gap, overlap }, deadline });
        check.finish_with(plan)
    }

    pub fn starting(&self, tick: Timestamp, now: Timestamp) -> Starting {
        let late = Duration::try_from(now.duration_since(tick)).unwrap_or_default();
        match self.deadline {
            Some(deadline) if late > deadline => Starting::TooLate { by: late },
            Some(_) | None => Starting::InTime,
        }
    }

    /// Strictly behind `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.recurrence.next(after)
    }
}

/// Cut to whole seconds late.
pub(super) fn seconds(late: Duration) -> u64 {
    late.as_secs()
}
