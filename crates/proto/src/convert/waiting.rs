//! What a Task waits for before it starts: on the wire, between services, and in rows.

use taskplane_domain::task::{Wait, WaitReason, Waiting};

use crate::convert::spec::BadSpec;
use crate::convert::time::timestamp_to_pb;
use crate::internal::v1 as pb;
use crate::v1;

impl From<WaitReason> for v1::WaitReason {
    fn from(reason: WaitReason) -> Self {
        match reason {
            WaitReason::Submitted => Self::Submitted,
            WaitReason::Scheduling => Self::Scheduling,
            WaitReason::Pulling => Self::Pulling,
            WaitReason::QuotaExceeded => Self::QuotaExceeded,
            WaitReason::Unschedulable => Self::Unschedulable,
            WaitReason::StartTicket => Self::StartTicket,
        }
    }
}

impl From<&Waiting> for v1::Waiting {
    fn from(waiting: &Waiting) -> Self {
        let Waiting { wait: Wait { reason, message }, since } = waiting;
        Self {
            reason: v1::WaitReason::from(*reason) as i32,
            message: message.clone(),
            since: Some(timestamp_to_pb(*since)),
        }
    }
}

/// The number of a reason between services is that of the public enum.
pub(super) fn wait_reason_number(reason: WaitReason) -> u32 {
    (v1::WaitReason::from(reason) as i32).cast_unsigned()
}

pub(super) fn wait_reason_from_number(number: u32) -> Option<WaitReason> {
    WaitReason::ALL.into_iter().find(|reason| wait_reason_number(*reason) == number)
}

impl From<&Waiting> for pb::TaskWaiting {
    fn from(waiting: &Waiting) -> Self {
        let Waiting { wait: Wait { reason, message }, since } = waiting;
        Self { reason: wait_reason_number(*reason), message: message.clone(), since_micros: since.as_microsecond() }
    }
}

impl TryFrom<pb::TaskWaiting> for Waiting {
    type Error = BadSpec;

    fn try_from(waiting: pb::TaskWaiting) -> Result<Self, BadSpec> {
        let pb::TaskWaiting { reason, message, since_micros } = waiting;
        let reason = wait_reason_from_number(reason).ok_or(BadSpec("waiting"))?;
        let since = jiff::Timestamp::from_microsecond(since_micros).map_err(|_| BadSpec("waiting"))?;
        Ok(Self { wait: Wait { reason, message }, since })
    }
}
