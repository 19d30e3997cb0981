//! All that was ever seen of one attempt's objects: their last states, and which of them are there no more.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::INERT;
use crate::tekton::types::{ContainerState, PipelineRun, Pod, TaskRun};

/// One attempt. What is forgotten by the cluster is not forgotten here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sighted {
    run: Option<PipelineRun>,
    run_gone: Option<Gone>,
    task_run: Option<TaskRun>,
    task_run_gone: Option<Timestamp>,
    /// By uid: the cluster may make a second pod of the same name.
    pods: BTreeMap<String, SeenPod>,
    /// When its command was first seen to run: by the pod's container, or by Tekton's word.
    ran: Option<Timestamp>,
    /// When anything of it was seen first.
    since: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
struct Gone {
    since: Timestamp,
    /// Its very last state is known: the cluster told of the deletion itself.
    last_seen: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SeenPod {
    pub pod: Pod,
    /// When it was heard of last.
    heard: Timestamp,
    /// Since when there is no such object any more.
    pub gone_since: Option<Timestamp>,
}

/// Versions of one object are numbers that grow; a state that comes late is not a newer one.
fn is_older(new: Option<&str>, old: Option<&str>) -> bool {
    let number = |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
    matches!((number(new), number(old)), (Some(new), Some(old)) if new < old)
}

impl Sighted {
    pub fn run(&self) -> Option<&PipelineRun> {
        self.run.as_ref()
    }

    pub fn task_run(&self) -> Option<&TaskRun> {
        self.task_run.as_ref()
    }

    pub fn task_run_is_there(&self) -> bool {
        self.task_run.is_some() && self.task_run_gone.is_none()
    }

    pub fn task_run_is_gone(&self) -> bool {
        self.task_run_gone.is_some()
    }

    pub fn pods(&self) -> Vec<&SeenPod> {
        let mut pods: Vec<_> = self.pods.values().collect();
        pods.sort_by_key(|seen| seen.pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
        pods
    }

    pub fn run_gone_since(&self) -> Option<Timestamp> {
        self.run_gone.as_ref().map(|gone| gone.since)
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    pub(super) fn ran(&self) -> Option<Timestamp> {
        self.ran
    }

    /// Its run was deleted, and was inert to the last.
    pub(super) fn never_released(&self) -> bool {
        let inert = self.run.as_ref().is_some_and(|run| run.spec.status.as_deref() == Some(INERT));
        let known = self.run_gone.as_ref().is_some_and(|gone| gone.last_seen);
        inert && known && self.task_run.is_none() && self.pods.is_empty() && self.ran.is_none()
    }

    /// False: that is older than what is known.
    pub fn see_run(&mut self, run: PipelineRun, now: Timestamp) -> bool {
        if let Some(known) = &self.run {
            let same = known.metadata.uid == run.metadata.uid;
            if same && is_older(run.metadata.resource_version.as_deref(), known.metadata.resource_version.as_deref()) {
                return false;
            }
            // Another run of the same name: the one before never ran, or it would not be made again.
            if !same {
                *self = Self::default();
            }
        }
        self.since.get_or_insert(now);
        self.run_gone = None;
        self.run = Some(run);
        true
    }

    /// The cluster told that it was deleted, with its last state.
    pub fn run_deleted(&mut self, run: PipelineRun, now: Timestamp) {
        if self.run.as_ref().is_some_and(|known| known.metadata.uid != run.metadata.uid) {
            return;
        }
        self.see_run(run, now);
        self.run_gone = Some(Gone { since: now, last_seen: true });
    }

    /// It is not there; nobody told what it was at last.
    pub fn run_missing(&mut self, now: Timestamp) {
        if self.run.is_some() && self.run_gone.is_none() {
            self.run_gone = Some(Gone { since: now, last_seen: false });
        }
    }

    pub fn see_task_run(&mut self, task_run: TaskRun, now: Timestamp) {
        if let Some(known) = &self.task_run {
            let (new, old) = (&task_run.metadata, &known.metadata);
            if new.uid == old.uid && is_older(new.resource_version.as_deref(), old.resource_version.as_deref()) {
                return;
            }
        }
        self.since.get_or_insert(now);
        for step in task_run.status.steps.iter().filter(|step| step.name == crate::tekton::names::STEP) {
            if let Some(running) = &step.state.running {
                self.notice_running(running.started_at, now);
            }
        }
        self.task_run_gone = None;
        self.task_run = Some(task_run);
    }

    pub fn task_run_deleted(&mut self, task_run: TaskRun, now: Timestamp) {
        self.see_task_run(task_run, now);
        self.task_run_gone = Some(now);
    }

    pub fn task_run_missing(&mut self, now: Timestamp) {
        self.task_run_gone.get_or_insert(now);
    }

    pub fn see_pod(&mut self, pod: Pod, now: Timestamp) {
        self.keep_pod(pod, None, now);
    }

    pub fn pod_deleted(&mut self, pod: Pod, now: Timestamp) {
        self.keep_pod(pod, Some(now), now);
    }

    /// Those were all there were when somebody began to ask. Whether that is news.
    pub fn pods_are(&mut self, uids: &[String], asked: Timestamp, now: Timestamp) -> bool {
        let mut news = false;
        for (_, seen) in self.pods.iter_mut().filter(|(uid, seen)| seen.heard < asked && !uids.contains(uid)) {
            news |= seen.gone_since.is_none();
            seen.gone_since.get_or_insert(now);
        }
        news
    }

    /// Something of it was known before then.
    pub fn was_known(&self, before: Timestamp) -> bool {
        self.since.is_some_and(|since| since < before)
    }

    /// Nothing of it has been there since then.
    pub fn is_history(&self, since: Timestamp) -> bool {
        let gone = |at: Option<Timestamp>| at.is_some_and(|at| at < since);
        let run_gone = gone(self.run_gone_since()) || (self.run().is_none() && gone(self.since));
        run_gone && self.pods.values().all(|seen| gone(seen.gone_since))
    }

    fn keep_pod(&mut self, pod: Pod, gone: Option<Timestamp>, now: Timestamp) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        self.since.get_or_insert(now);
        let guarded = pod.status.container_statuses.iter().any(|one| one.name == crate::tekton::names::GUARD_CONTAINER);
        // All containers of a guarded pod run from its beginning, and its command waits for the guard.
        if !guarded {
            let ready = super::evidence::is_ready(&pod);
            for one in pod.status.container_statuses.iter().filter(|one| one.name == crate::tekton::names::CONTAINER) {
                let ContainerState { running: Some(running), .. } = &one.state else { continue };
                if ready {
                    self.notice_running(running.started_at, now);
                }
            }
        }
        match self.pods.get_mut(&uid) {
            Some(known) => {
                let old = known.pod.metadata.resource_version.as_deref();
                if !is_older(pod.metadata.resource_version.as_deref(), old) {
                    known.pod = pod;
                }
                known.heard = known.heard.max(now);
                // An object that is gone does not come back; a late word of its life changes nothing.
                known.gone_since = known.gone_since.or(gone);
            }
            None => {
                self.pods.insert(uid, SeenPod { pod, heard: now, gone_since: gone });
            }
        }
    }

    fn notice_running(&mut self, started_at: Option<Timestamp>, now: Timestamp) {
        self.ran.get_or_insert(started_at.unwrap_or(now));
    }
}
