//! Messages of the api as proto3 JSON, by their descriptors.

use std::cell::OnceCell;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use taskplane_proto::event::v1::Event;
use taskplane_proto::v1::{
    App, ExplainTaskResponse, Job, JobRun, ListRemovableResponse, LogLine, PreviewScheduleResponse, Schedule,
    SecurityGroup, ServiceInstance, Space, Task,
};

use crate::failure::Failure;

/// A message that can be printed.
pub trait Resource: Message {
    /// Its full name in the proto files.
    const TYPE: &'static str;

    /// What `-o name` prints.
    fn resource_name(&self) -> &str;
}

macro_rules! resource {
    ($($message:ty, $type:literal, $name:ident;)*) => {
        $(impl Resource for $message {
            const TYPE: &'static str = $type;

            fn resource_name(&self) -> &str {
                &self.$name
            }
        })*
    };
}

resource! {
    Space, "taskplane.v1.Space", name;
    App, "taskplane.v1.App", name;
    Task, "taskplane.v1.Task", name;
    SecurityGroup, "taskplane.v1.SecurityGroup", name;
    ServiceInstance, "taskplane.v1.ServiceInstance", name;
    Job, "taskplane.v1.Job", name;
    Schedule, "taskplane.v1.Schedule", name;
    ExplainTaskResponse, "taskplane.v1.ExplainTaskResponse", name;
    JobRun, "taskplane.v1.JobRun", name;
    PreviewScheduleResponse, "taskplane.v1.PreviewScheduleResponse", description;
    LogLine, "taskplane.v1.LogLine", task;
    Event, "taskplane.event.v1.Event", subject;
}

impl Resource for ListRemovableResponse {
    const TYPE: &'static str = "taskplane.v1.ListRemovableResponse";

    fn resource_name(&self) -> &str {
        self.retention.as_ref().map(|retention| retention.app.as_str()).unwrap_or_default()
    }
}

/// Holds the descriptors, which are decoded with the first message.
#[derive(Debug, Default)]
pub struct Encoder {
    pool: OnceCell<DescriptorPool>,
}

impl Encoder {
    pub fn value<M: Resource>(&self, message: &M) -> Result<Value, Failure> {
        let pool = match self.pool.get() {
            Some(pool) => pool,
            None => {
                let pool = DescriptorPool::decode(taskplane_proto::DESCRIPTORS).map_err(cannot)?;
                self.pool.get_or_init(|| pool)
            }
        };
        let descriptor = pool.get_message_by_name(M::TYPE).ok_or_else(|| cannot("its type is not described"))?;
        let mut dynamic = DynamicMessage::new(descriptor);
        dynamic.transcode_from(message).map_err(cannot)?;
        serde_json::to_value(&dynamic).map_err(cannot)
    }
}

fn cannot(error: impl std::fmt::Display) -> Failure {
    Failure::wrong(format!("cannot print the answer: {error}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;
    use taskplane_proto::v1::TaskState;

    use super::*;

    #[test]
    fn a_task_is_printed_as_proto3_json() {
        let task = Task {
            name: "spaces/s/apps/a/tasks/3".to_owned(),
            id: 3,
            state: TaskState::Succeeded.into(),
            exit_code: Some(0),
            timeout: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
            create_time: Some(prost_types::Timestamp { seconds: 0, nanos: 1000 }),
            ..Task::default()
        };
        assert_eq!(
            Encoder::default().value(&task).unwrap(),
            json!({
                "name": "spaces/s/apps/a/tasks/3",
                "id": "3",
                "state": "TASK_STATE_SUCCEEDED",
                "exitCode": 0,
                "timeout": "90s",
                "createTime": "1970-01-01T00:00:00.000001Z",
            })
        );
    }

    #[test]
    fn bytes_that_are_not_text_survive_as_base64() {
        let line = LogLine { content: Bytes::from_static(b"\xff\x00"), ..LogLine::default() };
        assert_eq!(Encoder::default().value(&line).unwrap(), json!({ "content": "/wA=" }));
    }

    #[test]
    fn every_printable_message_is_described() {
        let encoder = Encoder::default();
        encoder.value(&Space::default()).unwrap();
        encoder.value(&App::default()).unwrap();
        encoder.value(&Event::default()).unwrap();
        encoder.value(&SecurityGroup::default()).unwrap();
        encoder.value(&ServiceInstance::default()).unwrap();
        encoder.value(&Job::default()).unwrap();
        encoder.value(&Schedule::default()).unwrap();
        encoder.value(&JobRun::default()).unwrap();
        encoder.value(&PreviewScheduleResponse::default()).unwrap();
    }
}
