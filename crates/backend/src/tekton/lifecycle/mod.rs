//! Orders, carried out: each can be given again, by another replica, or after the run is long gone.

mod cancel;
mod make;
mod remove;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use taskplane_domain::run::RunKey;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::client::{At, CallError, Cluster};
use super::config::TektonConfig;
use super::names;
use super::spaces::Spaces;
use super::types::{self, PipelineRun};
use super::watch::Place;
use crate::BackendError;
use names::INERT;

/// What orders find out by the way, ahead of every watch.
#[derive(Debug, Clone)]
pub enum News {
    /// A run as a call just answered it.
    Seen(RunKey, Box<PipelineRun>),
    /// The cluster has taken the order to end it.
    Cancelling(RunKey),
    /// Nothing is left of it.
    Gone(RunKey),
}

type Listener = Box<dyn Fn(News) + Send + Sync>;

#[derive(Clone)]
pub struct Lifecycle(Arc<Shared>);

struct Shared {
    cluster: Arc<Cluster>,
    spaces: Spaces,
    config: Arc<TektonConfig>,
    /// Runs that were seen here, so that they need not be looked for in the whole cluster.
    places: Mutex<HashMap<RunKey, Place>>,
    tell: Listener,
    /// Runs that are being ended, and the grace that each was last told to give.
    ending: Mutex<HashMap<RunKey, Arc<Order>>>,
    tasks: TaskTracker,
}

/// To end a run.
struct Order {
    since: Instant,
    grace: Mutex<Option<Duration>>,
    /// When its own end was seen first.
    over: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Lifecycle {
    /// `tell` hears what orders find out.
    pub fn new(
        cluster: &Arc<Cluster>,
        config: &Arc<TektonConfig>,
        tell: impl Fn(News) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            cluster: Arc::clone(cluster),
            spaces: Spaces::new(cluster, config),
            config: Arc::clone(config),
            places: Mutex::default(),
            tell: Box::new(tell),
            ending: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Lets the command start: all of the patch, or nothing of it.
    pub async fn release(&self, key: &RunKey) -> Result<(), BackendError> {
        let failed = |error: CallError| error.during("releasing a run");
        let Some(run) = self.find(key).await.map_err(failed)? else { return Err(BackendError::Absent) };
        let Place { namespace, uid } = place_of(&run).ok_or(BackendError::Absent)?;
        if run.spec.status.as_deref() != Some(INERT) {
            return Ok(());
        }
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/spec/status", "value": INERT},
            {"op": "remove", "path": "/spec/status"},
        ]);
        let name = key.to_string();
        match self.0.cluster.patch::<PipelineRun>(At::new(&namespace, &name), &patch).await {
            Ok(run) => {
                self.saw(*key, &run);
                Ok(())
            }
            Err(CallError::Refused { code: 404, .. }) => Err(BackendError::Absent),
            // A test failed: it was released before, or is to end. Or another has its name, which is none of ours.
            Err(refused @ CallError::Refused { .. }) => match self.find(key).await.map_err(failed)? {
                Some(now) if now.metadata.uid.as_deref() != Some(&uid) => Err(BackendError::Absent),
                Some(now) if now.spec.status.as_deref() != Some(INERT) => Ok(()),
                Some(_) => Err(failed(refused)),
                None => Err(BackendError::Absent),
            },
            Err(error) => Err(failed(error)),
        }
    }

    /// The run as the cluster has it now, also when nobody here has heard of it.
    async fn find(&self, key: &RunKey) -> Result<Option<PipelineRun>, CallError> {
        let cluster = &self.0.cluster;
        let name = key.to_string();
        if let Some(namespace) = self.namespace(key) {
            return cluster.get(At::new(&namespace, &name)).await;
        }
        let all = cluster.list::<PipelineRun>(None, &names::attempt_selector(key)).await?;
        let found = all.into_iter().find(|run| run.metadata.name.as_deref() == Some(&name));
        if let Some(run) = &found {
            self.saw(*key, run);
        }
        Ok(found)
    }

    fn saw(&self, key: RunKey, run: &PipelineRun) {
        if let Some(place) = place_of(run) {
            self.places().insert(key, place);
        }
        (self.0.tell)(News::Seen(key, Box::new(run.clone())));
    }

    fn ends(&self, key: RunKey) {
        (self.0.tell)(News::Cancelling(key));
    }

    fn gone(&self, key: RunKey) {
        self.places().remove(&key);
        (self.0.tell)(News::Gone(key));
    }

    /// Where it was seen.
    fn namespace(&self, key: &RunKey) -> Option<String> {
        self.places().get(key).map(|place| place.namespace.clone())
    }

    fn places(&self) -> MutexGuard<'_, HashMap<RunKey, Place>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> MutexGuard<'_, HashMap<RunKey, Arc<Order>>> {
        self.0.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_of(run: &PipelineRun) -> Option<Place> {
    let metadata = &run.metadata;
    Some(Place { namespace: metadata.namespace.clone()?, uid: metadata.uid.clone()? })
}

/// Its own end is told.
fn is_over(conditions: &[types::Condition]) -> bool {
    types::condition(conditions, "Succeeded").is_some_and(|condition| condition.status != "Unknown")
}
