//! Whether anything of an attempt is left. It is gone when each of its pods was last seen with every container ended, or was
//! never bound to a node. A pod that vanished otherwise, by force, counts as gone only when its node has stayed up for long
//! enough to have ended it.

use std::time::Duration;

use jiff::Timestamp;

use super::Case;
use super::evidence::{Evidence, all_ended};
use super::nodes::{NODE_LAG, later};
use super::sighted::SeenPod;

/// Between a pod's gentle and its forced end, when it says nothing else.
const GRACE: Duration = Duration::from_secs(30);
/// What a kubelet may take beyond the grace.
const SLACK: Duration = Duration::from_secs(15);
/// A node that is not heard of for so long is lost, and with it the word of how its runs ended.
const LOST_NODE: Duration = Duration::from_secs(300);

/// One sentence of what is left; none: it is gone.
pub(super) fn left(case: Case<'_>, evidence: &Evidence<'_>) -> Option<String> {
    if evidence.task_run_goes_on() {
        return Some("its TaskRun is not over".to_owned());
    }
    let pods = case.seen.pods();
    let last = pods.len().saturating_sub(1);
    for (index, seen) in pods.iter().enumerate() {
        // Tekton's word of how a container ended is as good as ours, and it is about the last pod.
        let told = index == last && evidence.end_was_seen() && seen.gone_since.is_some();
        if !told && let Some(left) = left_of(seen, case) {
            return Some(left);
        }
    }
    if evidence.unseen_pod() && !evidence.end_was_seen() {
        let since = case.seen.since().unwrap_or(case.now);
        let settled = case.nodes.stayed_ready(None, since, GRACE + SLACK, case.now);
        return (!settled).then(|| "its pod is not there, and nobody saw its end".to_owned());
    }
    None
}

fn left_of(SeenPod { pod, gone_since, .. }: &SeenPod, case: Case<'_>) -> Option<String> {
    if all_ended(pod) {
        return None;
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Some(since) = gone_since else { return Some(format!("its pod {name} has not ended")) };
    let node = pod.spec.node_name.as_deref()?;
    let settled =
        case.nodes.stayed_ready(Some(node), *since, grace(pod.spec.termination_grace_period_seconds) + SLACK, case.now);
    let up = if case.nodes.is_ready(node) { "has to stay up a while to have ended it" } else { "is not ready" };
    (!settled).then(|| format!("its pod {name} was deleted by force, and node {node} {up}"))
}

fn grace(seconds: Option<i64>) -> Duration {
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE, Duration::from_secs).max(GRACE)
}

/// Until when what was deleted behind our back may take to be gone before it is called lost anyway.
pub(super) fn patience(since: Timestamp) -> Timestamp {
    later(since, GRACE + SLACK + NODE_LAG)
}

/// A node of it is not heard of, for long: nobody will tell how it ended. Or nobody knows which node that was, and one of them
/// is not.
pub(super) fn is_hopeless(case: Case<'_>, evidence: &Evidence<'_>) -> bool {
    let unseen = evidence.unseen_pod() && !evidence.end_was_seen();
    if unseen && case.seen.since().is_some_and(|since| case.now >= later(since, LOST_NODE)) {
        return true;
    }
    case.seen.pods().iter().any(|seen| {
        let deleted = seen.gone_since.or(seen.pod.metadata.deletion_timestamp.as_ref().map(|time| time.0));
        let node = seen.pod.spec.node_name.as_deref();
        let long = deleted.is_some_and(|deleted| case.now >= later(deleted, LOST_NODE));
        long && !all_ended(&seen.pod) && node.is_some_and(|node| !case.nodes.is_ready(node))
    })
}
