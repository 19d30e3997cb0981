//! What feeds tell, written up by run.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use taskplane_domain::run::RunKey;

use super::feed::Told;
use super::{Board, Entry, now};
use crate::tekton::names::{self, MANAGED};
use crate::tekton::observe::Nodes;
use crate::tekton::types::{PipelineRun, Pod, TaskRun};

/// A run of which nothing is left is remembered for so long.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);
/// Between two looks for such.
const CLEARING: SignedDuration = SignedDuration::from_mins(1);

impl Board {
    pub(super) fn tells_run(&self, told: Told<PipelineRun>) {
        let now = now();
        match told {
            Told::All { items, asked } => {
                let there: HashSet<_> =
                    items.iter().filter_map(|run| names::key_of(run.metadata.labels.as_ref())).collect();
                items.into_iter().for_each(|run| self.tells_run(Told::Is(run)));
                self.forget_history(now);
                let written = self.lock();
                for (key, entry) in &written.runs {
                    if !there.contains(key) && entry.seen.was_known(asked) && entry.seen.run_gone_since().is_none() {
                        // It ends when everything does.
                        let _ = self.missing.send(*key);
                    }
                }
            }
            Told::Is(run) => self.write(run.metadata.labels.clone().as_ref(), |entry| {
                entry.seen.see_run(run, now);
                entry.read.get_or_insert(now);
            }),
            Told::Gone(run) => {
                self.write(run.metadata.labels.clone().as_ref(), |entry| entry.seen.run_deleted(run, now));
                self.forget_history(now);
            }
        }
    }

    /// Now and then: what is gone for long, also what another replica saw to the end.
    fn forget_history(&self, now: Timestamp) {
        let mut written = self.lock();
        if written.cleared.is_some_and(|at| now < at + CLEARING) {
            return;
        }
        written.cleared = Some(now);
        let gone: Vec<RunKey> = written
            .runs
            .iter()
            .filter(|(_, entry)| entry.seen.is_history(now - REMEMBERED))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            written.runs.remove(&key);
            self.tails.forget(&key);
        }
    }

    pub(super) fn tells_task_run(&self, told: Told<TaskRun>) {
        let now = now();
        match told {
            Told::All { items, asked } => {
                let there: HashSet<_> =
                    items.iter().filter_map(|run| names::key_of(run.metadata.labels.as_ref())).collect();
                items.into_iter().for_each(|run| self.tells_task_run(Told::Is(run)));
                let mut written = self.lock();
                for (_, entry) in written.runs.iter_mut().filter(|(key, _)| !there.contains(key)) {
                    if entry.seen.was_known(asked) {
                        entry.seen.task_run_missing(now);
                    }
                }
            }
            Told::Is(run) => {
                self.write(run.metadata.labels.clone().as_ref(), |entry| entry.seen.see_task_run(run, now))
            }
            Told::Gone(run) => {
                self.write(run.metadata.labels.clone().as_ref(), |entry| entry.seen.task_run_deleted(run, now));
            }
        }
    }

    pub(super) fn tells_pod(&self, told: Told<Pod>) {
        let now = now();
        match told {
            Told::All { items, asked } => {
                let there: Vec<_> = items.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
                items.into_iter().for_each(|pod| self.tells_pod(Told::Is(pod)));
                let mut changed = Vec::new();
                for (key, entry) in &mut self.lock().runs {
                    if entry.seen.pods_are(&there, asked, now) {
                        changed.push(*key);
                    }
                }
                changed.into_iter().for_each(|key| self.hint(key));
            }
            Told::Is(pod) => self.write(pod.metadata.labels.clone().as_ref(), |entry| entry.seen.see_pod(pod, now)),
            Told::Gone(pod) => {
                self.write(pod.metadata.labels.clone().as_ref(), |entry| entry.seen.pod_deleted(pod, now))
            }
        }
    }

    pub(super) fn tells_node(&self, told: Told<Node>) {
        let mut written = self.lock();
        let nodes = &mut written.nodes;
        match told {
            Told::All { items, asked: _ } => {
                *nodes = Nodes::default();
                items.iter().for_each(|node| nodes.see(node));
            }
            Told::Is(node) => nodes.see(&node),
            Told::Gone(node) => nodes.remove(node.metadata.name.as_deref().unwrap_or_default()),
        }
    }

    fn write(&self, labels: Option<&BTreeMap<String, String>>, change: impl FnOnce(&mut Entry)) {
        // What only looks like ours belongs to nobody.
        let managed = labels.and_then(|labels| labels.get(MANAGED)).is_some_and(|managed| managed == "true");
        let Some(key) = names::key_of(labels).filter(|_| managed) else { return };
        change(self.lock().runs.entry(key).or_default());
        self.hint(key);
    }
}
