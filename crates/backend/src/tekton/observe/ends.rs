//! A run that is over: how it ended, and whose doing that was.

use jiff::Timestamp;
use taskplane_domain::run::{EndCause, Fate, RunEnd};
use taskplane_domain::task::{Class, Exit, Reason, Refusal, one_line};

use super::evidence::{Evidence, StepEnd};
use crate::tekton::types::{PipelineRun, condition};

const MESSAGE_MAX: usize = 1024;
/// What a process that was killed leaves, and what Tekton makes of any signal.
const KILLED: [i32; 3] = [255, 137, 143];
/// What the guard ends with, see `taskplane-guard`.
const GUARD_OTHER_POD: i32 = 71;
const GUARD_CANCELLING: i32 = 72;
const GUARD_OVER: i32 = 73;
const GUARD_UNANSWERED: i32 = 74;
const GUARD_DENIED: i32 = 75;
const GUARD_MISCONFIGURED: i32 = 78;

/// Why, with its own words.
struct Why {
    cause: EndCause,
    message: String,
}

impl Why {
    fn new(cause: EndCause, message: impl AsRef<str>) -> Self {
        Self { cause, message: one_line(message.as_ref(), MESSAGE_MAX) }
    }

    fn platform(reason: Reason, message: impl AsRef<str>) -> Self {
        Self::new(EndCause::Platform { reason, class: reason.class() }, message)
    }

    fn of_class(self, class: Class) -> Self {
        let cause = match self.cause {
            EndCause::Platform { reason, class: _ } => EndCause::Platform { reason, class },
            cause => cause,
        };
        Self { cause, ..self }
    }
}

/// Of a run whose PipelineRun has ended.
pub(super) fn fate(run: &PipelineRun, evidence: &Evidence<'_>, was_cancelled: bool, now: Timestamp) -> Fate {
    // Also after our order: the row knows what it was refused for.
    if let Some(fate) = refused(run, evidence, now) {
        return fate;
    }
    if was_cancelled {
        return cancelled(run, evidence, now);
    }
    let Some(over) = condition(&run.status.conditions, "Succeeded") else { return cancelled(run, evidence, now) };
    let reason = over.reason.as_deref().unwrap_or_default();
    let said = over.message.as_deref().unwrap_or_default();
    if over.status == "True" {
        let exit = Exit { code: Some(0), signal: None };
        return ended(run, evidence, Why::new(EndCause::Natural, ""), exit, now);
    }
    let why = match reason {
        "Failed" => why_failed(evidence),
        "PipelineRunTimeout" => timed_out(evidence, said),
        "Cancelled" | "PipelineRunCancelled" | "CancelledRunningFinally" | "StoppedRunningFinally" => elsewhere(),
        reason if INVALID.contains(&reason) => Why::platform(Reason::InvalidSpec, said),
        reason => unknown(evidence, reason, said),
    };
    let exit = own_exit(&why, evidence);
    ended(run, evidence, why, exit, now)
}

/// Of a run that was ended by our order, or is gone after it.
pub(super) fn cancelled(run: &PipelineRun, evidence: &Evidence<'_>, now: Timestamp) -> Fate {
    if !evidence.may_have_run() {
        return Fate::NeverStarted;
    }
    ended(run, evidence, Why::new(EndCause::Cancel, ""), Exit::default(), now)
}

fn ended(run: &PipelineRun, evidence: &Evidence<'_>, why: Why, exit: Exit, now: Timestamp) -> Fate {
    let step = evidence.step_end();
    let finished_at = step.as_ref().and_then(|step| step.finished_at).or(run.status.completion_time).unwrap_or(now);
    let started_at = step.and_then(|step| step.started_at).or(evidence.ran_since());
    let Why { cause, message } = why;
    Fate::Ended(RunEnd { cause, exit, started_at, finished_at, message })
}

/// The command's own code, and nothing that was made of it on the way.
fn own_exit(why: &Why, evidence: &Evidence<'_>) -> Exit {
    let code = evidence.step_end().map(|step| step.code);
    match why.cause {
        EndCause::Natural => Exit { code, signal: None },
        // Whether something in it or it itself was killed for memory is told by the code.
        EndCause::OutOfMemory => Exit { code: code.filter(|code| !KILLED.contains(code)), signal: None },
        EndCause::Cancel
        | EndCause::Timeout
        | EndCause::DiskQuota
        | EndCause::Refused(_)
        | EndCause::Unanswered
        | EndCause::Platform { .. } => Exit::default(),
    }
}

/// The guard did not let the command start.
fn refused(run: &PipelineRun, evidence: &Evidence<'_>, now: Timestamp) -> Option<Fate> {
    let cause = match evidence.guard_code()? {
        GUARD_OTHER_POD => EndCause::Refused(Refusal::OtherPod),
        GUARD_CANCELLING => EndCause::Refused(Refusal::Cancelling),
        GUARD_OVER => EndCause::Refused(Refusal::Over),
        GUARD_UNANSWERED => EndCause::Unanswered,
        _ => return None,
    };
    Some(ended(run, evidence, Why::new(cause, ""), Exit::default(), now))
}

/// The guard came to no answer at all. Whether another pod of the attempt got one, its row knows.
fn guard_failed(code: i32) -> Why {
    let message = match code {
        GUARD_DENIED => "its guard's question whether the command may start was refused".to_owned(),
        GUARD_MISCONFIGURED => "its guard was set up so that it could not ask whether the command may start".to_owned(),
        code => format!("its guard could not ask whether the command may start: it ended with exit code {code}"),
    };
    Why::platform(Reason::StartFailed, message).of_class(Class::Unknown)
}

fn why_failed(evidence: &Evidence<'_>) -> Why {
    let (reason, said) = (evidence.task_run_reason(), evidence.task_run_message());
    match reason {
        "TaskRunImagePullFailed" => image_pull(evidence, said),
        "CreateContainerConfigError" => {
            let (_, detail) = evidence.hindrance().unwrap_or(("", said));
            let rejected = detail.contains("runAsNonRoot") || detail.contains("non-root");
            Why::platform(if rejected { Reason::PodRejected } else { Reason::ConfigMissing }, detail)
        }
        "PodCreationFailed" | "CreateContainerError" => Why::platform(Reason::PodRejected, said),
        "PodAdmissionFailed" => Why::platform(Reason::PodSecurity, said),
        "TaskRunTimeout" => timed_out(evidence, said),
        "TaskRunCancelled" if said.contains("timed out") => timed_out(evidence, said),
        "TaskRunCancelled" => elsewhere(),
        "InitContainerOOM" | "InitContainerFailed" | "SidecarOOM" | "SidecarFailed" | "TaskRunStopSidecarFailed" => {
            Why::platform(Reason::PlatformContainer, said)
        }
        reason if INVALID.contains(&reason) => Why::platform(Reason::InvalidSpec, said),
        reason => by_pod(evidence).unwrap_or_else(|| unknown(evidence, reason, said)),
    }
}

/// By what the pod and its container say of themselves.
fn by_pod(evidence: &Evidence<'_>) -> Option<Why> {
    let status = evidence.pod().map(|pod| &pod.status);
    let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or_default();
    let said = status.and_then(|status| status.message.as_deref()).unwrap_or(evidence.task_run_message());
    let known = |reason| {
        let why = Why::platform(reason, said);
        if evidence.may_have_run() && !evidence.end_was_seen() { why.of_class(Class::Unknown) } else { why }
    };
    if reason == "Evicted" || evidence.task_run_reason() == "PodEvicted" {
        let disk = ["ephemeral local storage", "ephemeral-storage", "EmptyDir"].iter().any(|word| said.contains(word));
        let own = disk && !said.contains("node was low");
        return Some(if own { Why::new(EndCause::DiskQuota, said) } else { known(Reason::NodePressure) });
    }
    match reason {
        "NodeLost" => return Some(known(Reason::NodeLost)),
        "NodeShutdown" | "Terminated" | "Preempting" | "UnexpectedAdmissionError" | "NodeAffinity" | "Shutdown" => {
            return Some(known(Reason::NodeFailure));
        }
        reason if reason.starts_with("OutOf") => return Some(known(Reason::NodeFailure)),
        _ => {}
    }
    if let Some(code) = evidence.guard_code().filter(|code| *code != 0) {
        return Some(guard_failed(code));
    }
    match evidence.step_end() {
        Some(step) => Some(by_step(&step, evidence)),
        None if reason == "DeadlineExceeded" => Some(timed_out(evidence, said)),
        None if evidence.pod_was_deleted() && evidence.may_have_run() => {
            let message = "its pod was deleted, and nobody saw its command end";
            Some(Why::platform(Reason::PodKilled, message).of_class(Class::Unknown))
        }
        None => None,
    }
}

fn by_step(step: &StepEnd, evidence: &Evidence<'_>) -> Why {
    let said = evidence.task_run_message();
    if step.says("OOMKilled") || evidence.task_run_reason() == "StepOOM" {
        return Why::new(EndCause::OutOfMemory, "");
    }
    if step.says("TimeoutExceeded") {
        return Why::new(EndCause::Timeout, "");
    }
    if step.says("Cancelled") {
        return elsewhere();
    }
    match step.code {
        0 => unknown(evidence, evidence.task_run_reason(), said),
        code if KILLED.contains(&code) && evidence.pod_was_deleted() => {
            Why::platform(Reason::PodKilled, "its pod was deleted in the cluster, which ended the command")
        }
        255 => Why::platform(
            Reason::SignalledOr255,
            "the command ended with exit code 255 or was ended by a signal: the cluster does not tell which",
        ),
        _ => Why::new(EndCause::Natural, ""),
    }
}

/// Its time was up: the command's, or the one in which it had to start.
fn timed_out(evidence: &Evidence<'_>, said: &str) -> Why {
    if evidence.may_have_run() {
        Why::new(EndCause::Timeout, "")
    } else {
        Why::platform(Reason::StartDeadline, format!("its time was up before its command started: {said}"))
    }
}

fn image_pull(evidence: &Evidence<'_>, said: &str) -> Why {
    let (reason, detail) = evidence.hindrance().filter(|(_, message)| !message.is_empty()).unwrap_or(("", said));
    let text = format!("{detail} {said}").to_ascii_lowercase();
    // Asking again would be answered the same.
    let settled = reason == "InvalidImageName" || SETTLED.iter().any(|word| text.contains(word));
    let why = Why::platform(Reason::ImagePull, detail);
    if settled { why.of_class(Class::Configuration) } else { why }
}

fn elsewhere() -> Why {
    Why::new(EndCause::Cancel, "by somebody in the cluster, not by Taskplane")
}

/// Something new. It would go the same way again, or so it must be assumed; and when the command may have run, nothing is
/// assumed at all.
fn unknown(evidence: &Evidence<'_>, reason: &str, said: &str) -> Why {
    let why = Why::platform(Reason::PlatformUnknown, format!("the cluster says {reason}: {said}"));
    if evidence.may_have_run() && !evidence.end_was_seen() { why.of_class(Class::Unknown) } else { why }
}

const SETTLED: [&str; 10] = [
    ": not found",
    "manifest unknown",
    "name unknown",
    "no such image",
    "pull access denied",
    "unauthorized",
    "authorization failed",
    "403 forbidden",
    "invalid reference",
    "couldn't parse image",
];

/// Tekton will not run such a thing, now or later.
const INVALID: [&str; 26] = [
    "CreateRunFailed",
    "CouldntGetPipeline",
    "CouldntGetTask",
    "PipelineValidationFailed",
    "PipelineInvalidGraph",
    "ParameterMissing",
    "ParameterTypeMismatch",
    "ParamArrayIndexingInvalid",
    "ObjectParameterMissKeys",
    "InvalidWorkspaceBindings",
    "InvalidServiceAccountMappings",
    "InvalidTaskRunSpecs",
    "InvalidTaskRunSpec",
    "InvalidTaskResultReference",
    "InvalidPipelineResultReference",
    "CouldntGetPipelineResult",
    "RequiredWorkspaceMarkedOptional",
    "CELEvaluationFailed",
    "ResourceVerificationFailed",
    "TaskRunValidationFailed",
    "TaskValidationFailed",
    "TaskRunResolutionFailed",
    "InvalidParamValue",
    "TaskRunResultLargerThanAllowedLimit",
    "InvalidMatrixParameterTypes",
    "InvalidPipelineResourceBindings",
];
