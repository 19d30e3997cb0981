//! What the objects of a run prove.

use jiff::Timestamp;
use serde::Deserialize;

use super::sighted::{SeenPod, Sighted};
use crate::tekton::names::{CONTAINER, GUARD_CONTAINER, GUARD_STEP, STEP};
use crate::tekton::types::{
    Condition, ContainerState, ContainerStatus, Pod, StepState, TaskRun, Terminated, condition, said,
};

/// Tekton lets the steps of a pod begin by writing this.
const READY_ANNOTATION: &str = "tekton.dev/ready";
/// Ends that Tekton writes down for steps of pods that it deleted: their exit codes and times are made up.
const MADE_UP: [&str; 4] = ["TaskRunCancelled", "TaskRunTimeout", "TaskRunImagePullFailed", "TaskRunStopSidecarFailed"];
/// What the kubelet writes for a container that it cannot find: it never was, or is gone without a trace.
const NO_CONTAINER: &str = "ContainerStatusUnknown";

pub(super) struct Evidence<'a> {
    seen: &'a Sighted,
    task_run: Option<&'a TaskRun>,
    /// The one that Tekton's word is about.
    pod: Option<&'a SeenPod>,
}

/// How the command's step ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StepEnd {
    pub code: i32,
    /// The kubelet's, or Tekton's where that is more telling: `Error`, `OOMKilled`, `TimeoutExceeded`, …
    pub reasons: [Option<String>; 2],
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

impl StepEnd {
    pub fn says(&self, reason: &str) -> bool {
        self.reasons.iter().flatten().any(|said| said == reason)
    }
}

impl<'a> Evidence<'a> {
    pub fn of(seen: &'a Sighted) -> Self {
        let task_run = seen.task_run();
        Self { seen, task_run, pod: seen.pods().last().copied() }
    }

    pub fn pod(&self) -> Option<&'a Pod> {
        self.pod.map(|seen| &seen.pod)
    }

    pub fn task_run_condition(&self) -> Option<&'a Condition> {
        condition(&self.task_run?.status.conditions, "Succeeded")
    }

    pub fn task_run_reason(&self) -> &'a str {
        self.task_run_condition().and_then(|condition| condition.reason.as_deref()).unwrap_or_default()
    }

    pub fn task_run_message(&self) -> &'a str {
        self.task_run_condition().and_then(|condition| condition.message.as_deref()).unwrap_or_default()
    }

    /// Whether there is a TaskRun that may still do something.
    pub fn task_run_goes_on(&self) -> bool {
        self.seen.task_run_is_there() && self.task_run_condition().is_none_or(|condition| condition.status == "Unknown")
    }

    pub fn task_run_is_over(&self) -> bool {
        self.task_run_condition().is_some_and(|condition| condition.status != "Unknown")
    }

    fn step(&self, name: &str) -> Option<&'a StepState> {
        self.task_run?.status.steps.iter().find(|step| step.name == name)
    }

    fn container(&self, name: &str) -> Option<&'a ContainerStatus> {
        self.pod()?.status.container_statuses.iter().find(|one| one.name == name)
    }

    /// Its command has to ask before it starts.
    pub fn guarded(&self) -> bool {
        self.step(GUARD_STEP).is_some()
            || self
                .seen
                .pods()
                .iter()
                .any(|seen| seen.pod.status.container_statuses.iter().any(|one| one.name == GUARD_CONTAINER))
    }

    /// The guard's own end: 0 lets the command start.
    pub fn guard_code(&self) -> Option<i32> {
        let told = self.step(GUARD_STEP).and_then(|step| real_end(step, self.task_run_reason()));
        let kept =
            self.container(GUARD_CONTAINER).and_then(|one| one.state.terminated.as_ref()).filter(|end| is_real(end));
        told.or(kept).map(|end| end.exit_code)
    }

    /// How the command ended, from whoever saw it: Tekton copies it from the pod, unless it deleted the pod.
    pub fn step_end(&self) -> Option<StepEnd> {
        if self.guarded() && self.guard_code().is_some_and(|code| code != 0) {
            return None;
        }
        let kept = self.container(CONTAINER).and_then(|one| one.state.terminated.as_ref()).filter(|end| is_real(end));
        let told = self.step(STEP).and_then(|step| Some((step, real_end(step, self.task_run_reason())?)));
        let told_reason = told.and_then(|(step, _)| step.termination_reason.clone());
        let end = kept.or(told.map(|(_, end)| end))?;
        let precise = kept.and_then(|end| true_start(end.message.as_deref()));
        Some(StepEnd {
            code: end.exit_code,
            reasons: [end.reason.clone(), told_reason],
            started_at: precise.or(told.and_then(|(_, end)| end.started_at)).or(end.started_at),
            finished_at: end.finished_at,
        })
    }

    /// The container's end was seen in the pod itself, by us or by Tekton.
    pub fn end_was_seen(&self) -> bool {
        self.step_end().is_some()
    }

    /// Tekton made an end up, since it deleted the pod.
    pub fn end_was_made_up(&self) -> bool {
        self.step(STEP)
            .is_some_and(|step| step.state.terminated.is_some() && real_end(step, self.task_run_reason()).is_none())
    }

    /// Since when the command runs, or when it ran. With a guard only once that has let it.
    pub fn ran_since(&self) -> Option<Timestamp> {
        if self.guarded() && self.guard_code() != Some(0) {
            return None;
        }
        let guard_done = self.container(GUARD_CONTAINER).and_then(|one| one.state.terminated.as_ref()?.finished_at);
        let ended = self.step_end().and_then(|end| end.started_at);
        guard_done.or(self.seen.ran()).or(ended)
    }

    /// Whether the command may have run, also when nobody saw it: an end that Tekton made up for a pod whose own nobody knows.
    pub fn may_have_run(&self) -> bool {
        self.ran_since().is_some() || (self.end_was_made_up() && !self.pod().is_some_and(all_ended))
    }

    /// Something came of it, whatever its `spec.status` is said to be.
    pub fn released(&self) -> bool {
        self.task_run.is_some() || self.pod.is_some()
    }

    /// There was a pod by Tekton's word, and nobody here has seen it.
    pub fn unseen_pod(&self) -> bool {
        let named = self.task_run.and_then(|run| run.status.pod_name.as_deref()).is_some_and(|name| !name.is_empty());
        named && self.pod.is_none()
    }

    /// Somebody, or something, had its pod deleted.
    pub fn pod_was_deleted(&self) -> bool {
        let Some(SeenPod { pod, gone_since, .. }) = self.pod else { return self.unseen_pod() };
        let disrupted = condition(&pod.status.conditions, "DisruptionTarget").is_some_and(|it| it.status == "True");
        gone_since.is_some() || pod.metadata.deletion_timestamp.is_some() || disrupted
    }

    /// What the kubelet or Tekton say of a container that cannot be made.
    pub fn hindrance(&self) -> Option<(&'a str, &'a str)> {
        let waiting = self.container(CONTAINER).and_then(|one| one.state.waiting.as_ref());
        let waiting = waiting.filter(|waiting| waiting.message.is_some());
        let waiting = waiting.or_else(|| self.step(STEP).and_then(|step| step.state.waiting.as_ref()))?;
        Some((waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref().unwrap_or_default()))
    }
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    said(pod.metadata.annotations.as_ref(), READY_ANNOTATION) == Some("READY")
}

/// A container that ended, and was there to end.
fn is_real(end: &Terminated) -> bool {
    end.reason.as_deref() != Some(NO_CONTAINER)
}

fn real_end<'a>(step: &'a StepState, task_run_reason: &str) -> Option<&'a Terminated> {
    let end = step.state.terminated.as_ref()?;
    let reasons = [end.reason.as_deref(), step.termination_reason.as_deref(), Some(task_run_reason)];
    let made_up = reasons.iter().flatten().any(|reason| MADE_UP.contains(reason));
    let skipped = step.termination_reason.as_deref() == Some("Skipped");
    (!made_up && !skipped && is_real(end)).then_some(end)
}

/// Every container of the pod was seen to have ended.
pub(in crate::tekton) fn all_ended(pod: &Pod) -> bool {
    let ended = |one: &ContainerStatus| matches!(&one.state, ContainerState { terminated: Some(_), .. });
    let status = &pod.status;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).peekable();
    if all.peek().is_none() {
        // The kubelet would not have it.
        return matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    }
    // A pod whose containers are not told of yet has only some in its list.
    !status.container_statuses.is_empty() && all.all(ended)
}

#[derive(Deserialize)]
struct Told {
    key: String,
    value: String,
}

/// When the process itself began: its first process is Tekton's, which leaves word of it.
fn true_start(message: Option<&str>) -> Option<Timestamp> {
    let told: Vec<Told> = serde_json::from_str(message?).ok()?;
    told.into_iter().find(|told| told.key == "StartedAt").and_then(|told| told.value.parse().ok())
}
