//! Ends that are asked for, and those that do not come.

use std::time::Duration;

use taskplane_domain::invalid::Invalid;
use taskplane_domain::task::{CancelTask, Stuck, StuckReason};

use crate::convert::time::{duration_from_pb, timestamp_to_pb};
use crate::v1 as pb;

const GRACE_MAX: Duration = Duration::from_secs(3600);

impl From<Stuck> for pb::Stuck {
    fn from(stuck: Stuck) -> Self {
        let Stuck { since, reason } = stuck;
        let number = match reason {
            StuckReason::NotStarted => pb::StuckReason::NotStarted,
            StuckReason::OverTime => pb::StuckReason::OverTime,
            StuckReason::NotEnding => pb::StuckReason::NotEnding,
        };
        Self { since: Some(timestamp_to_pb(since)), reason: number as i32, message: reason.message().to_owned() }
    }
}

/// What is asked for of a Task's end.
pub fn cancel_task_from_pb(grace: Option<prost_types::Duration>, delete_logs: bool) -> Result<CancelTask, Invalid> {
    Ok(CancelTask { grace: grace_from_pb("grace", grace)?, delete_log: delete_logs })
}

/// The time between a gentle end and a forced one.
pub fn grace_from_pb(field: &str, grace: Option<prost_types::Duration>) -> Result<Option<Duration>, Invalid> {
    let refused = || Invalid::one(field, "must be between 0 and 1h");
    let grace = grace.map(|grace| duration_from_pb(&grace).ok_or_else(refused)).transpose()?;
    if grace.is_some_and(|grace| grace > GRACE_MAX) { Err(refused()) } else { Ok(grace) }
}
