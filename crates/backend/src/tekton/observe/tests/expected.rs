//! What each recording must end as.

use taskplane_domain::task::{Class, Outcome, Reason, StateKind, TaskState, WaitReason};

use super::replay::Replay;

pub(super) struct Expected {
    pub name: &'static str,
    /// The order to cancel in the recording is ours, and so is the deletion of an inert run.
    pub ours: bool,
    pub state: StateKind,
    pub failure: Option<(Reason, Class)>,
    pub exit_code: Option<i32>,
    /// What it waits for on the way, each once.
    pub waits: &'static [WaitReason],
    /// Its pod is made again.
    pub restarted: bool,
    /// Gaps can hide how it ended: what was deleted cannot be asked any more. Then nobody knows.
    pub may_be_lost: bool,
}

use Class::{Configuration, Infrastructure, Unknown, User};
use StateKind::{Cancelled, Failed, Pending, Starting, Succeeded};
use WaitReason::{Pulling, QuotaExceeded, Scheduling, StartTicket, Submitted, Unschedulable};

const RUNS: &[WaitReason] = &[Submitted, Scheduling, Pulling];

const ASKS: &[WaitReason] = &[Submitted, Scheduling, Pulling, StartTicket];

const fn ends(name: &'static str, state: StateKind, exit_code: Option<i32>) -> Expected {
    let failure = None;
    Expected { name, ours: false, state, failure, exit_code, waits: RUNS, restarted: false, may_be_lost: false }
}

const fn fails(name: &'static str, reason: Reason, class: Class) -> Expected {
    Expected { failure: Some((reason, class)), ..ends(name, Failed, None) }
}

const fn ours(name: &'static str) -> Expected {
    Expected { ours: true, ..ends(name, Cancelled, None) }
}

pub(super) static EXPECTED: &[Expected] = &[
    Expected { waits: &[Submitted], ..ours("cancel-pending") },
    ours("cancel-running"),
    ours("cancel-running-stubborn"),
    Expected { waits: &[Submitted, Scheduling, Unschedulable], ..ours("cancel-unschedulable") },
    // Created again: nobody asked for its end.
    Expected { waits: &[], may_be_lost: true, ..ends("delete-pending", Pending, None) },
    fails("delete-running", Reason::Lost, Unknown),
    ends("exit-0", Succeeded, Some(0)),
    Expected { exit_code: Some(1), ..fails("exit-127", Reason::ExitCode, User) },
    Expected { exit_code: Some(3), ..fails("exit-3", Reason::ExitCode, User) },
    Expected { waits: ASKS, ..ours("guard-cancelling") },
    Expected { waits: ASKS, ..ends("guard-granted", Succeeded, Some(0)) },
    Expected { waits: ASKS, restarted: true, ..fails("guard-other-pod", Reason::Lost, Unknown) },
    Expected { waits: ASKS, ..fails("guard-unanswered", Reason::StartDeadline, Infrastructure) },
    fails("image-name-invalid", Reason::ImagePull, Configuration),
    fails("image-pull", Reason::ImagePull, Infrastructure),
    fails("killed-by-itself", Reason::SignalledOr255, User),
    fails("missing-secret-env", Reason::ConfigMissing, Configuration),
    Expected { waits: &[Submitted], ..fails("missing-serviceaccount", Reason::PodRejected, Configuration) },
    Expected { may_be_lost: true, ..fails("namespace-deleted", Reason::PodKilled, Infrastructure) },
    fails("oom", Reason::OutOfMemory, User),
    ends("pending-released", Succeeded, Some(0)),
    fails("pipelinerun-timeout", Reason::TimedOut, User),
    Expected { restarted: true, ..ends("pod-deleted-forced", Succeeded, Some(0)) },
    fails("pod-deleted-graceful", Reason::PodKilled, Infrastructure),
    fails("pod-evicted-by-disk", Reason::DiskQuotaExceeded, User),
    Expected { waits: &[Submitted, QuotaExceeded], ..ends("quota-pods-0", Starting, None) },
    ends("readonly-nonroot", Succeeded, Some(0)),
    fails("runasnonroot-refused", Reason::PodRejected, Configuration),
    fails("step-timeout", Reason::TimedOut, User),
    fails("taskrun-timeout", Reason::TimedOut, User),
    Expected {
        waits: &[Submitted, Scheduling, Unschedulable],
        ..fails("unschedulable", Reason::StartDeadline, Infrastructure)
    },
];

impl Expected {
    pub fn of(name: &str) -> &'static Self {
        EXPECTED.iter().find(|expected| expected.name == name).unwrap()
    }

    pub fn holds(&self, replay: &Replay<'_>, how: &str) {
        let task = replay.task();
        let place = format!("{}, {how}: {:?}", self.name, task.state);
        assert_eq!(task.state.kind(), self.state, "{place}");
        let TaskState::Finished { outcome, .. } = &task.state else { return };
        assert_eq!(outcome.exit().code, self.exit_code, "{place}");
        let failure = match outcome {
            Outcome::Failed(failure) => Some((failure.reason, failure.class)),
            Outcome::Succeeded | Outcome::Cancelled { .. } => None,
        };
        assert_eq!(failure, self.failure, "{place}");
    }

    pub fn holds_with_gaps(&self, replay: &Replay<'_>, how: &str) {
        let lost = matches!(&replay.task().state, TaskState::Finished { outcome, .. } if outcome.reason() == Some(Reason::Lost));
        if !(lost && self.may_be_lost) {
            self.holds(replay, how);
        }
    }
}
