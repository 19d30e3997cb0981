//! What a run's objects say of it. Pure: objects, nodes and the time go in, a verdict comes out.
//!
//! ```text
//!   watches, GETs ──▶ Sighted ──▶ judge ──▶ Verdict
//!                        │          ├── waits   not started: what it waits for
//!                        │          ├── ends    over: how, and whose fault
//!                        └──────────┴── gone    over, and nothing of it is left
//! ```
//!
//! Objects are told late, twice or never, and not in the order in which they changed. So nothing is taken from an event but
//! the object's last state, what was once seen to run stays so, and only the PipelineRun's own end is an end. Reasons are
//! judged by what containers and pods say first, by Tekton's strings second: these change between releases.

mod ends;
mod evidence;
mod gone;
mod nodes;
mod sighted;
mod waits;

use jiff::Timestamp;
use taskplane_domain::run::Fate;
use taskplane_domain::task::{Condition, Wait};

pub(in crate::tekton) use evidence::all_ended;
pub use nodes::Nodes;
pub use sighted::{SeenPod, Sighted};

use super::names::{CONTAINER, GUARD_CONTAINER, INERT};
use super::types::{self, ContainerState};
use evidence::Evidence;

/// `spec.status` of a run that somebody ordered to end.
const CANCELLED: [&str; 3] = ["Cancelled", "CancelledRunFinally", "StoppedRunFinally"];
/// Whether the command was kept from running twice is another matter: this one is about pods.
const STARTED_ONCE: &str = "StartedOnce";

/// All that a verdict rests on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub seen: &'a Sighted,
    pub nodes: &'a Nodes,
    /// The cluster has taken our order to cancel it: whatever it ends as is our doing.
    pub cancelled: bool,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing of it was ever seen.
    Absent,
    Inert,
    Waiting(Wait),
    Running {
        started_at: Timestamp,
    },
    /// It is over, and something of it may still be running.
    Ending {
        started_at: Option<Timestamp>,
        /// One sentence: what is left.
        left: String,
    },
    Over(Fate),
}

/// What is so of a run.
pub fn judge(case: Case<'_>) -> Verdict {
    let Case { seen, cancelled, now, .. } = case;
    let Some(run) = seen.run() else { return Verdict::Absent };
    let evidence = Evidence::of(seen);
    // Who takes a run over knows of the order by the run itself.
    let cancelled = cancelled || run.spec.status.as_deref().is_some_and(|asked| CANCELLED.contains(&asked));
    let case = Case { cancelled, ..case };
    let over = types::condition(&run.status.conditions, "Succeeded").filter(|condition| condition.status != "Unknown");
    match (over, seen.run_gone_since()) {
        (None, None) if run.spec.status.as_deref() == Some(INERT) && !evidence.released() => Verdict::Inert,
        (None, None) => match evidence.ran_since() {
            // What ran goes on or ends; it does not wait again, whatever becomes of its pod.
            Some(started_at) => Verdict::Running { started_at },
            None => waits::wait(run, seen, now),
        },
        // How it ended stands in its TaskRun.
        (Some(over), _) if !cancelled && over.reason.as_deref() == Some("Failed") && !evidence.task_run_is_over() => {
            let lost = Fate::Lost { message: "it failed, and its TaskRun, which knew how, was deleted".into() };
            match seen.task_run_is_gone() {
                true => settled(case, &evidence, lost),
                false => Verdict::Ending { started_at: evidence.ran_since(), left: "its TaskRun is not over".into() },
            }
        }
        (Some(_), _) => settled(case, &evidence, ends::fate(run, &evidence, cancelled, now)),
        // It was deleted before it could begin: nothing of it ever was.
        (None, Some(_)) if seen.never_released() => Verdict::Over(Fate::NeverStarted),
        (None, Some(_)) if cancelled => settled(case, &evidence, ends::cancelled(run, &evidence, now)),
        (None, Some(since)) => {
            let lost = Fate::Lost { message: "its PipelineRun was deleted in the cluster before it was over".into() };
            // Better told when nothing of it is left; but it is told, also when that cannot be known.
            if now >= gone::patience(since) { Verdict::Over(lost) } else { settled(case, &evidence, lost) }
        }
    }
}

/// No end but that of what nobody knows is told before everything is gone.
fn settled(case: Case<'_>, evidence: &Evidence<'_>, fate: Fate) -> Verdict {
    let left = match gone::left(case, evidence) {
        None => return Verdict::Over(fate),
        Some(left) => left,
    };
    if !case.cancelled && gone::is_hopeless(case, evidence) {
        return Verdict::Over(Fate::Lost { message: left });
    }
    Verdict::Ending { started_at: evidence.ran_since(), left }
}

/// What is to be said of a run beside where it stands.
pub fn remarks(seen: &Sighted) -> Vec<Condition> {
    let Some(more) = seen.pods().len().checked_sub(1).filter(|more| *more > 0) else { return Vec::new() };
    let times = if more == 1 { "once more".to_owned() } else { format!("{more} more times") };
    let what = if Evidence::of(seen).guarded() {
        "its start ticket let the command start in one of them only"
    } else {
        "its command may have run in each of them"
    };
    let message = format!("the cluster made its pod {times} after it was deleted or lost: {what}");
    vec![Condition::unmet(STARTED_ONCE, "PodReplaced", message)]
}

/// The pod whose log is the command's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Its command has begun, so there is something to read.
    pub begun: bool,
    /// Nothing more will be written.
    pub ended: bool,
    /// And nothing of it can be read any more.
    pub gone: bool,
}

pub fn pod_view(seen: &Sighted) -> Option<PodView> {
    let pods = seen.pods();
    let SeenPod { pod, gone_since, .. } = pods.last()?;
    let state_of = |name: &str| pod.status.container_statuses.iter().find(|one| one.name == name).map(|one| &one.state);
    let state = state_of(CONTAINER);
    // Its container runs from the pod's beginning; before the guard has ended well, what it writes is Tekton's word.
    let let_through = |guard: &ContainerState| guard.terminated.as_ref().is_some_and(|end| end.exit_code == 0);
    let may_begin = state_of(GUARD_CONTAINER).is_none_or(let_through);
    let terminated = state.is_some_and(|state| state.terminated.is_some());
    Some(PodView {
        namespace: pod.metadata.namespace.clone()?,
        name: pod.metadata.name.clone()?,
        uid: pod.metadata.uid.clone()?,
        begun: may_begin && (terminated || state.is_some_and(|state| state.running.is_some())),
        ended: terminated || gone_since.is_some(),
        gone: gone_since.is_some(),
    })
}

#[cfg(test)]
mod tests;
