//! What is said of a Task: on the wire, between services, and in rows.

use taskplane_domain::task::{Condition, ConditionStatus};

use crate::convert::spec::BadSpec;
use crate::internal::v1 as pb;
use crate::v1;

impl From<ConditionStatus> for v1::ConditionStatus {
    fn from(status: ConditionStatus) -> Self {
        match status {
            ConditionStatus::True => Self::True,
            ConditionStatus::False => Self::False,
            ConditionStatus::Unknown => Self::Unknown,
        }
    }
}

impl From<&Condition> for v1::Condition {
    fn from(condition: &Condition) -> Self {
        let Condition { kind, status, reason, message } = condition;
        Self {
            r#type: kind.clone(),
            status: v1::ConditionStatus::from(*status) as i32,
            reason: reason.clone(),
            message: message.clone(),
        }
    }
}

/// The number of a status between services is that of the public enum.
fn status_to_pb(status: ConditionStatus) -> u32 {
    (v1::ConditionStatus::from(status) as i32).cast_unsigned()
}

impl From<&Condition> for pb::TaskCondition {
    fn from(condition: &Condition) -> Self {
        let Condition { kind, status, reason, message } = condition;
        Self { r#type: kind.clone(), status: status_to_pb(*status), reason: reason.clone(), message: message.clone() }
    }
}

impl TryFrom<pb::TaskCondition> for Condition {
    type Error = BadSpec;

    fn try_from(condition: pb::TaskCondition) -> Result<Self, BadSpec> {
        let pb::TaskCondition { r#type, status, reason, message } = condition;
        let status = ConditionStatus::ALL.into_iter().find(|known| status_to_pb(*known) == status);
        Ok(Self { kind: r#type, status: status.ok_or(BadSpec("status"))?, reason, message })
    }
}

impl From<&[Condition]> for pb::TaskConditions {
    fn from(conditions: &[Condition]) -> Self {
        Self { conditions: conditions.iter().map(Into::into).collect() }
    }
}

impl TryFrom<pb::TaskConditions> for Vec<Condition> {
    type Error = BadSpec;

    fn try_from(conditions: pb::TaskConditions) -> Result<Self, BadSpec> {
        let pb::TaskConditions { conditions } = conditions;
        conditions.into_iter().map(TryInto::try_into).collect()
    }
}
