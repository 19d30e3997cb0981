//! A run that has its go, and whose command has not started: what it waits for.

use std::time::Duration;

use jiff::Timestamp;
use taskplane_domain::task::{Wait, WaitReason};

use super::Verdict;
use super::evidence::{Evidence, is_ready};
use super::nodes::later;
use super::sighted::Sighted;
use crate::tekton::names::CONTAINER;
use crate::tekton::types::{PipelineRun, Pod, condition};

/// Tekton takes a run up within a second or two, unless it has too much to do or is not there.
const TAKEN_UP: Duration = Duration::from_secs(30);
const NOT_TAKEN_UP: &str = "Tekton has not taken it up for more than 30 s: its controller is down, or has more runs than it can \
                            manage (its -kube-api-qps)";

pub(super) fn wait(run: &PipelineRun, seen: &Sighted, now: Timestamp) -> Verdict {
    let evidence = Evidence::of(seen);
    let reason = evidence.task_run_reason();
    let said = evidence.task_run_message();
    let waits = |reason, message: &str| Verdict::Waiting(Wait::new(reason, message));
    if reason == "ExceededResourceQuota" || (reason == "Pending" && said.contains("exceeded quota")) {
        return waits(WaitReason::QuotaExceeded, said);
    }
    let Some(pod) = evidence.pod() else {
        let message = if is_late(run, now) && seen.task_run().is_none() { NOT_TAKEN_UP } else { "" };
        return waits(WaitReason::Submitted, message);
    };
    if pod.spec.node_name.is_none() {
        return match condition(&pod.status.conditions, "PodScheduled") {
            Some(scheduled) if scheduled.reason.as_deref() == Some("Unschedulable") => {
                waits(WaitReason::Unschedulable, scheduled.message.as_deref().unwrap_or(said))
            }
            _ if reason == "ExceededNodeResources" => waits(WaitReason::Unschedulable, said),
            _ => waits(WaitReason::Scheduling, ""),
        };
    }
    if evidence.guarded() && is_ready(pod) {
        return waits(WaitReason::StartTicket, "");
    }
    waits(WaitReason::Pulling, hindered(pod).unwrap_or_default())
}

/// Why a container of it is not made, when that is more than a matter of moments.
fn hindered(pod: &Pod) -> Option<&str> {
    let status = &pod.status;
    let all = status.container_statuses.iter().filter(|one| one.name == CONTAINER).chain(
        status.init_container_statuses.iter().chain(&status.container_statuses).filter(|one| one.name != CONTAINER),
    );
    all.filter_map(|one| one.state.waiting.as_ref())
        .find(|waiting| !matches!(waiting.reason.as_deref(), None | Some("PodInitializing" | "ContainerCreating")))
        .and_then(|waiting| waiting.message.as_deref().or(waiting.reason.as_deref()))
}

fn is_late(run: &PipelineRun, now: Timestamp) -> bool {
    let taken_up = !run.status.conditions.is_empty();
    let made = run.metadata.creation_timestamp.as_ref().map(|time| time.0);
    !taken_up && made.is_some_and(|made| now >= later(made, TAKEN_UP))
}
