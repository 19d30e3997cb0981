//! What stays and what goes.

use taskplane_domain::name::AppName;
use taskplane_domain::retention::{Cause, Retention};
use taskplane_domain::task::Task;

use crate::convert::time::{duration_to_pb, timestamp_to_pb};
use crate::v1 as pb;

impl From<Cause> for pb::RemovalCause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Count => Self::Count,
            Cause::Age => Self::Age,
            Cause::FailedCount => Self::FailedCount,
            Cause::Deleted => Self::Deleted,
        }
    }
}

pub fn removable_to_pb(task: &Task, cause: Cause) -> pb::RemovableTask {
    pb::RemovableTask {
        name: task.name.to_string(),
        display_name: task.display_name.clone(),
        state: pb::TaskState::from(task.state.kind()) as i32,
        end_time: task.state.finished_at().map(timestamp_to_pb),
        cause: pb::RemovalCause::from(cause) as i32,
        delete_time: task.remove_since.map(timestamp_to_pb),
    }
}

/// `tasks`: how many live, and how many are over.
pub fn retention_to_pb(app: &AppName, rule: Retention, own: bool, tasks: (u64, u64)) -> pb::AppRetention {
    let Retention { count, minimum_finished, age, failed } = rule;
    pb::AppRetention {
        app: app.to_string(),
        task_retention_count: count.cast_signed(),
        own_count: own,
        minimum_finished_tasks: minimum_finished.cast_signed(),
        task_retention_age: age.map(duration_to_pb),
        failed_task_retention_count: failed.map(u32::cast_signed),
        live_tasks: tasks.0.cast_signed(),
        finished_tasks: tasks.1.cast_signed(),
    }
}
