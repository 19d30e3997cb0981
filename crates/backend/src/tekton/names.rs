//! What things are called in the cluster. A name is a pure function of what it names: whoever makes it, however often, makes
//! the same one.

use taskplane_domain::run::RunKey;
use taskplane_domain::uid::{AppUid, SpaceUid, TaskUid};
pub use taskplane_manifest::{MANAGED, SPACE, SPACE_NAME, space_id};

pub const TASK: &str = "taskplane.dev/task-id";
pub const ATTEMPT: &str = "taskplane.dev/attempt";
pub const APP: &str = "taskplane.dev/app-id";
pub const JOB: &str = "taskplane.dev/job-id";
/// A hash of the Space: watches can be split by it later without touching old runs.
pub const SHARD: &str = "taskplane.dev/shard";
/// Which NetworkPolicies apply to a pod.
pub const NETPOL: &str = "taskplane.dev/netpol";
/// Names for people and for log shippers.
pub const APP_NAME: &str = "taskplane.dev/app";
pub const JOB_NAME: &str = "taskplane.dev/job";
/// The per-App number.
pub const NUMBER: &str = "taskplane.dev/task";
/// What a run was made from: two of the same name and another hash are a collision.
pub const SPEC_HASH: &str = "taskplane.dev/spec-hash";
/// The Secrets that a run's pod reads.
pub const SECRETS: &str = "taskplane.dev/secrets";
/// Its end is told and its log archived; only where finished runs go before their Tasks do.
pub const ARCHIVED: &str = "taskplane.dev/archived";
/// On a run whose command starts only with a ticket.
pub const GUARDED: &str = "taskplane.dev/guarded";
/// Tekton continues this trace.
pub const SPAN_CONTEXT: &str = "tekton.dev/pipelinerunSpanContext";

/// The user's step, and its container.
pub const STEP: &str = "run";
pub const CONTAINER: &str = "step-run";
/// The step that asks for the start ticket.
pub const GUARD_STEP: &str = "guard";
pub const GUARD_CONTAINER: &str = "step-guard";

/// `spec.status` of a run that was made and not released.
pub const INERT: &str = "PipelineRunPending";

const SHARDS: u128 = 64;

/// The label's form: a label's value may be no longer than 63, and hyphens would only make it longer.
pub fn task_id(task: TaskUid) -> String {
    task.0.simple().to_string()
}

pub fn app_id(app: AppUid) -> String {
    app.0.simple().to_string()
}

pub fn shard(space: SpaceUid) -> String {
    (space.0.as_u128() % SHARDS).to_string()
}

/// Everything of one attempt.
pub fn attempt_selector(key: &RunKey) -> String {
    format!("{TASK}={},{ATTEMPT}={}", task_id(key.task), key.attempt)
}

/// The attempt that labels speak of.
pub fn key_of(labels: Option<&std::collections::BTreeMap<String, String>>) -> Option<RunKey> {
    let labels = labels?;
    let task = TaskUid(labels.get(TASK)?.parse().ok()?);
    let attempt = labels.get(ATTEMPT)?.parse().ok().filter(|attempt| *attempt > 0)?;
    Some(RunKey { task, attempt })
}

/// What only this run's pod reads; it goes with the run.
pub fn own_secret(run: &str) -> String {
    format!("{run}-env")
}

/// What its guard is told; it goes with the run too.
pub fn guard_secret(run: &str) -> String {
    format!("{run}-guard")
}

pub fn pod(key: &RunKey) -> String {
    format!("{key}-task-pod")
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn names_are_short_enough_for_tekton_to_keep_them_whole() {
        let key = RunKey { task: TaskUid(Uuid::from_u128(u128::MAX)), attempt: u32::MAX };
        assert!(key.to_string().len() <= 54, "{key}");
        assert!(pod(&key).len() <= 63);
    }

    #[test]
    fn labels_say_which_attempt_it_is_or_nothing() {
        let key = RunKey { task: TaskUid(Uuid::from_u128(7)), attempt: 2 };
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let id = task_id(key.task);
        assert_eq!(key_of(Some(&labels(&[(TASK, &id), (ATTEMPT, "2")]))), Some(key));
        for wrong in [vec![(TASK, "x"), (ATTEMPT, "2")], vec![(TASK, &*id), (ATTEMPT, "0")], vec![(TASK, &*id)]] {
            assert_eq!(key_of(Some(&labels(&wrong))), None);
        }
    }
}
