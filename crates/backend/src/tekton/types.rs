//! Tekton's and Kubernetes' objects, as much of them as is looked at. What is not named here is dropped while reading: a
//! replica holds thousands of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

macro_rules! slim {
    ($($(#[$doc:meta])* $kind:ident($spec:ident, $status:ident) = $group:literal, $version:literal, $plural:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $kind {
            pub metadata: ObjectMeta,
            pub spec: $spec,
            pub status: $status,
        }

        impl Resource for $kind {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                stringify!($kind).into()
            }

            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    )*};
}

slim! {
    PipelineRun(PipelineRunSpec, PipelineRunStatus) = "tekton.dev", "v1", "pipelineruns";
    TaskRun(TaskRunSpec, TaskRunStatus) = "tekton.dev", "v1", "taskruns";
    Pod(PodSpec, PodStatus) = "", "v1", "pods";
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PipelineRunSpec {
    /// What is asked of it: `PipelineRunPending`, `Cancelled`, …
    pub status: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PipelineRunStatus {
    pub conditions: Vec<Condition>,
    pub start_time: Option<Timestamp>,
    pub completion_time: Option<Timestamp>,
    pub child_references: Vec<ChildReference>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ChildReference {
    pub kind: String,
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TaskRunSpec {
    pub status: Option<String>,
    pub status_message: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TaskRunStatus {
    pub conditions: Vec<Condition>,
    pub pod_name: Option<String>,
    pub start_time: Option<Timestamp>,
    pub completion_time: Option<Timestamp>,
    pub steps: Vec<StepState>,
}

/// One step, as Tekton tells of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StepState {
    pub name: String,
    pub container: String,
    pub termination_reason: Option<String>,
    #[serde(flatten)]
    pub state: ContainerState,
}

/// At most one of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerState {
    pub waiting: Option<Waiting>,
    pub running: Option<Running>,
    pub terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Waiting {
    pub reason: Option<String>,
    pub message: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Running {
    pub started_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Terminated {
    pub exit_code: i32,
    pub signal: Option<i32>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub last_transition_time: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Unset: never bound to a node, so nothing of it ever ran.
    pub node_name: Option<String>,
    pub termination_grace_period_seconds: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    pub phase: Option<String>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub conditions: Vec<Condition>,
    pub start_time: Option<Timestamp>,
    pub init_container_statuses: Vec<ContainerStatus>,
    pub container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerStatus {
    pub name: String,
    pub state: ContainerState,
    pub last_state: ContainerState,
    pub restart_count: i32,
}

/// The condition of that type.
pub fn condition<'c>(conditions: &'c [Condition], kind: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// What a label, or an annotation, says.
pub fn said<'m>(map: Option<&'m BTreeMap<String, String>>, key: &str) -> Option<&'m str> {
    map.and_then(|map| map.get(key)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_and_what_is_not_looked_at_do_no_harm() {
        let run: PipelineRun = serde_json::from_str(
            r#"{"apiVersion":"tekton.dev/v1","kind":"PipelineRun","metadata":{"name":"a","managedFields":[]},
                "spec":{"pipelineSpec":{"tasks":[]},"timeouts":{"pipeline":"0s"}},"status":null}"#,
        )
        .unwrap_or_default();
        assert_eq!(run.status, PipelineRunStatus::default());
        let step: StepState = serde_json::from_str(
            r#"{"container":"step-run","imageID":"x","name":"run","terminated":{"exitCode":3,"reason":"Error",
                "startedAt":"2026-01-01T00:00:00Z","finishedAt":"2026-01-01T00:00:01Z"},"terminationReason":"Error"}"#,
        )
        .unwrap();
        assert_eq!(step.state.terminated.unwrap().exit_code, 3);
    }
}
