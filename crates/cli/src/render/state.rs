//! The words for where a Task stands.

use taskplane_proto::v1::{Reason, Task, TaskState};

/// Whether a Task has come to its end.
pub fn is_over(state: TaskState) -> bool {
    match state {
        TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled => true,
        TaskState::Unspecified
        | TaskState::Pending
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Cancelling => false,
    }
}

/// kf's condition: what is not over is neither true nor false.
pub fn succeeded(state: TaskState) -> &'static str {
    match state {
        TaskState::Succeeded => "True",
        TaskState::Failed | TaskState::Cancelled => "False",
        TaskState::Unspecified
        | TaskState::Pending
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Cancelling => "Unknown",
    }
}

/// Why a Task ended or, before that, where it stands.
pub fn reason(task: &Task) -> String {
    let named = if is_over(task.state()) { reason_name(task.reason()) } else { None };
    named.unwrap_or_else(|| state_name(task.state()))
}

pub fn reason_name(reason: Reason) -> Option<String> {
    (reason != Reason::Unspecified).then(|| camel(reason.as_str_name(), "REASON_"))
}

pub fn state_name(state: TaskState) -> String {
    match state {
        TaskState::Unspecified => "Unknown".to_owned(),
        known => camel(known.as_str_name(), "TASK_STATE_"),
    }
}

/// `REASON_OUT_OF_MEMORY` as `OutOfMemory`.
fn camel(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .split('_')
        .map(|word| word[..1].to_owned() + &word[1..].to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_camel_case() {
        assert_eq!(camel("REASON_OUT_OF_MEMORY", "REASON_"), "OutOfMemory");
        assert_eq!(state_name(TaskState::Cancelling), "Cancelling");
    }
}
