//! Why a Task is not running, or not gone yet.

use taskplane_domain::task::{Cause, Explanation};

use crate::convert::time::timestamp_to_pb;
use crate::v1 as pb;

impl From<Cause> for pb::Cause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::NotBefore => Self::NotBefore,
            Cause::NoExecutor => Self::NoExecutor,
            Cause::ImagesNotRun => Self::ImagesNotRun,
            Cause::OlderTasks => Self::OlderTasks,
            Cause::Turn => Self::Turn,
            Cause::Held => Self::Held,
            Cause::Starting => Self::Starting,
            Cause::Running => Self::Running,
            Cause::Ending => Self::Ending,
            Cause::ExecutorSilent => Self::ExecutorSilent,
            Cause::Stuck => Self::Stuck,
            Cause::EventsUnpublished => Self::EventsUnpublished,
            Cause::Removing => Self::Removing,
            Cause::Kept => Self::Kept,
            Cause::HeldByRunningQuota => Self::HeldByRunningQuota,
        }
    }
}

impl From<Explanation> for pb::Explanation {
    fn from(explanation: Explanation) -> Self {
        let Explanation { cause, message, since, until, remedy, waits_for } = explanation;
        Self {
            cause: pb::Cause::from(cause) as i32,
            message,
            since: since.map(timestamp_to_pb),
            until: until.map(timestamp_to_pb),
            remedy: remedy.to_owned(),
            waits_for: waits_for.map(|task| task.to_string()).unwrap_or_default(),
        }
    }
}
