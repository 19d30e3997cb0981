//! Ending a run: asked for once, seen to until nothing is left that one could end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use taskplane_domain::run::RunKey;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{INERT, Lifecycle, Order, is_over, place_of};
use crate::BackendError;
use crate::tekton::client::{At, CallError, Manner, Meant};
use crate::tekton::names;
use crate::tekton::observe::all_ended;
use crate::tekton::types::{PipelineRun, Pod, TaskRun, said};
use crate::tekton::watch::Place;

const CANCELLED: &str = "Cancelled";
const TASK_RUN_CANCELLED: &str = "TaskRunCancelled";
/// What Kubernetes gives a pod.
const GRACE: Duration = Duration::from_secs(30);
/// How long a pod that is asked to end may take beyond its grace before it is asked again.
const BEYOND: Duration = Duration::from_secs(15);
/// Tekton sees what it started this long after it ended the run; what it does not see by then it never will.
const OVERSEEN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(1);
/// Of a run that takes its time.
const LOOK_SLOW: Duration = Duration::from_secs(5);
const LOOK_MAX: Duration = Duration::from_secs(10);

/// How far the ending has come.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is left to be ended.
    Done,
    Again,
}

impl Lifecycle {
    /// Returns once the order is noted; it is carried out beside everything else.
    pub async fn cancel(&self, key: &RunKey, grace: Option<Duration>) -> Result<(), BackendError> {
        let order = {
            let mut ending = self.ending();
            if let Some(order) = ending.get(key) {
                shorten(order, grace);
                return Ok(());
            }
            let order = Order {
                since: Instant::now(),
                grace: Mutex::new(grace),
                over: Mutex::default(),
                changed: Notify::new(),
            };
            let order = Arc::new(order);
            ending.insert(*key, Arc::clone(&order));
            order
        };
        // The first step belongs to the order: an inert run never starts after this.
        match self.step(key, &order).await {
            Ok(Step::Done) => {
                self.ending().remove(key);
                Ok(())
            }
            Ok(Step::Again) => {
                let (this, key) = (self.clone(), *key);
                self.0.tasks.spawn(async move { this.see_to(key, &order).await });
                Ok(())
            }
            Err(error) => {
                self.ending().remove(key);
                Err(error.during("cancelling a run"))
            }
        }
    }

    async fn see_to(&self, key: RunKey, order: &Order) {
        let mut pause = LOOK;
        loop {
            tokio::select! {
                () = order.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            match self.step(&key, order).await {
                Ok(Step::Done) => break,
                Ok(Step::Again) => pause = (pause * 2).min(LOOK_SLOW),
                Err(error) => {
                    tracing::warn!(run = %key, %error, "a run could not be cancelled, trying again");
                    pause = (pause * 2).min(LOOK_MAX);
                }
            }
        }
        self.ending().remove(&key);
    }

    /// Looks at the run and does the next thing that brings its end nearer.
    async fn step(&self, key: &RunKey, order: &Order) -> Result<Step, CallError> {
        let Some(run) = self.find(key).await? else {
            let going = self.children(key, None).await?;
            let step = self.pods(key, order).await?;
            return Ok(if going { Step::Again } else { step });
        };
        let Some(Place { namespace, uid }) = place_of(&run) else { return Ok(Step::Again) };
        let Some(run) = self.discard(key, run).await? else { return Ok(Step::Done) };
        if is_over(&run.status.conditions) {
            let over = *order.over.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
            let going = over.elapsed() < OVERSEEN || self.children(key, Some(&namespace)).await?;
            let step = self.pods(key, order).await?;
            return Ok(if going { Step::Again } else { step });
        }
        if run.spec.status.as_deref() == Some(CANCELLED) || run.metadata.deletion_timestamp.is_some() {
            self.ends(*key);
            return self.pods(key, order).await.map(|_| Step::Again);
        }
        // The first grace that a pod is given counts: a node takes no shorter one afterwards. So it is asked before Tekton does;
        // but where nothing keeps a command from starting twice, not before Tekton knows better than to make the pod again.
        let guarded = said(run.metadata.annotations.as_ref(), names::GUARDED).is_some();
        if order.hurried() && guarded {
            self.pods(key, order).await?;
        }
        let change = json!({"metadata": {"uid": uid}, "spec": {"status": CANCELLED}});
        match self.0.cluster.merge::<PipelineRun>(At::new(&namespace, &key.to_string()), &change).await {
            Ok(run) => {
                self.ends(*key);
                self.saw(*key, &run);
                if order.hurried() {
                    self.pods(key, order).await?;
                }
            }
            // It came to its own end meanwhile, which counts.
            Err(CallError::Refused { code: 400 | 404 | 409 | 422, .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Step::Again)
    }

    /// Deletes a run as long as it is inert, and gives back one that is not. Its version is part of the order: released
    /// meanwhile, it is another. Tekton writes to inert ones too, so it is tried until it is done or of no use.
    async fn discard(&self, key: &RunKey, mut run: PipelineRun) -> Result<Option<PipelineRun>, CallError> {
        let name = key.to_string();
        while run.spec.status.as_deref() == Some(INERT) && run.status.child_references.is_empty() {
            let Some(Place { namespace, uid }) = place_of(&run) else { return Ok(Some(run)) };
            let meant = Meant { uid, resource_version: run.metadata.resource_version.clone() };
            match self.0.cluster.delete::<PipelineRun>(At::new(&namespace, &name), &meant, Manner::default()).await {
                Err(CallError::Refused { code: 409, .. }) => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    self.ends(*key);
                    return Ok(None);
                }
            }
            match self.find(key).await? {
                Some(now) => run = now,
                None => return Ok(None),
            }
        }
        Ok(Some(run))
    }

    /// Ends TaskRuns that Tekton has lost sight of. Whether one goes on yet.
    async fn children(&self, key: &RunKey, namespace: Option<&str>) -> Result<bool, CallError> {
        let mut going = false;
        let selector = names::attempt_selector(key);
        for TaskRun { metadata, spec, status } in self.0.cluster.list::<TaskRun>(namespace, &selector).await? {
            let (Some(namespace), Some(name), Some(uid)) = (&metadata.namespace, &metadata.name, &metadata.uid) else {
                continue;
            };
            if is_over(&status.conditions) {
                continue;
            }
            going = true;
            if spec.status.as_deref() == Some(TASK_RUN_CANCELLED) {
                continue;
            }
            tracing::warn!(run = %key, task_run = name, "a TaskRun outlives its run, it is cancelled");
            let patch = json!([
                {"op": "test", "path": "/metadata/uid", "value": uid},
                {"op": "add", "path": "/spec/status", "value": TASK_RUN_CANCELLED},
            ]);
            match self.0.cluster.patch::<TaskRun>(At::new(namespace, name), &patch).await {
                Ok(_) | Err(CallError::Refused { code: 400 | 404 | 422, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(going)
    }

    /// Pods are asked to end where their time is up, or where less time was given than they would have. Never without any grace:
    /// what is forced away may run on, and Tekton would start it again.
    async fn pods(&self, key: &RunKey, order: &Order) -> Result<Step, CallError> {
        let cluster = &self.0.cluster;
        let known = self.namespace(key);
        let selector = names::attempt_selector(key);
        let pods = cluster.list::<Pod>(known.as_deref(), &selector).await?;
        let live: Vec<&Pod> = pods.iter().filter(|pod| !all_ended(pod)).collect();
        if live.is_empty() {
            return Ok(Step::Done);
        }
        let given = order.given();
        let grace = given.unwrap_or(GRACE).min(GRACE);
        let overdue = order.since.elapsed() > grace + BEYOND;
        for Pod { metadata, .. } in live {
            let (Some(namespace), Some(name), Some(uid)) = (&metadata.namespace, &metadata.name, &metadata.uid) else {
                continue;
            };
            let seconds = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX).max(1);
            let asked = metadata.deletion_timestamp.is_some()
                && metadata.deletion_grace_period_seconds.is_some_and(|given| given <= i64::from(seconds));
            if (order.hurried() || overdue) && !asked {
                let meant = Meant { uid: uid.clone(), resource_version: None };
                let manner = Manner { grace_seconds: Some(seconds) };
                match cluster.delete::<Pod>(At::new(namespace, name), &meant, manner).await {
                    Ok(_) | Err(CallError::Refused { code: 409, .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Step::Again)
    }
}

impl Order {
    fn given(&self) -> Option<Duration> {
        *self.grace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hurried(&self) -> bool {
        self.given().is_some_and(|given| given < GRACE)
    }
}

/// The shortest counts.
fn shorten(order: &Order, grace: Option<Duration>) {
    let mut now = order.grace.lock().unwrap_or_else(PoisonError::into_inner);
    *now = match (*now, grace) {
        (Some(now), Some(new)) => Some(now.min(new)),
        (now, new) => now.or(new),
    };
    order.changed.notify_one();
}
