//! The cluster's side of every run, kept up to date by watches.
//!
//! Four feeds (PipelineRuns, TaskRuns, pods, nodes) are written up in one place. What is not decisive is read from there; an
//! end, and what nobody has heard of, is read again from the cluster before it is told, since feeds run apart and lag. A list
//! says nothing of what it does not hold: so after each one every run that should be in it and is not is asked for by name.

mod feed;
mod told;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use taskplane_domain::run::RunKey;
use taskplane_domain::task::Condition;
use taskplane_domain::uid::RunUid;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use feed::Pace;

use super::client::{At, Cluster, Read};
use super::logs::Tails;
use super::names;
use super::observe::{self, Case, Nodes, Sighted, Verdict};
use super::types::{PipelineRun, Pod, TaskRun};
use crate::{BackendError, Observation};
use feed::{Feed, Told};

/// Hints that may wait for whoever is told; who is slower looks by itself.
const HINTS: usize = 4096;
/// Runs that are asked for by name at the same time.
const ASKS: usize = 8;
/// What was not read again for so long is not taken from memory.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
const SELECTOR: &str = "taskplane.dev/managed=true";

/// Where a run is, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub namespace: String,
    /// Of the PipelineRun.
    pub uid: String,
}

#[derive(Default)]
struct Entry {
    seen: Sighted,
    cancelled: bool,
    /// When it was last read from the cluster itself.
    read: Option<Timestamp>,
}

#[derive(Default)]
struct Written {
    runs: HashMap<RunKey, Entry>,
    nodes: Nodes,
    /// When what is history was last forgotten.
    cleared: Option<Timestamp>,
}

pub struct Board {
    written: Mutex<Written>,
    hints: broadcast::Sender<RunKey>,
    /// The feeds that have listed everything once.
    listed: watch::Sender<HashSet<&'static str>>,
    missing: mpsc::UnboundedSender<RunKey>,
    asks: Semaphore,
    tails: Tails,
    tracker: TaskTracker,
    stop: CancellationToken,
}

const FEEDS: usize = 4;

#[expect(clippy::disallowed_methods, reason = "what the cluster does is judged by the clock of who watches it")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

impl Board {
    /// Begins to watch.
    pub fn start(cluster: &Arc<Cluster>) -> Arc<Self> {
        Self::start_at(cluster, Pace::default())
    }

    pub fn start_at(cluster: &Arc<Cluster>, pace: Pace) -> Arc<Self> {
        let (missing, ask) = mpsc::unbounded_channel();
        let board = Arc::new(Self {
            written: Mutex::default(),
            hints: broadcast::Sender::new(HINTS),
            listed: watch::Sender::default(),
            missing,
            asks: Semaphore::new(ASKS),
            tails: Tails::default(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        board.feed::<PipelineRun>(cluster, Some(SELECTOR), pace, Self::tells_run);
        board.feed::<TaskRun>(cluster, Some(SELECTOR), pace, Self::tells_task_run);
        board.feed::<Pod>(cluster, Some(SELECTOR), pace, Self::tells_pod);
        board.feed::<Node>(cluster, None, pace, Self::tells_node);
        board.spawn(board.clone().ask_for_missing(cluster.clone(), ask));
        board
    }

    /// Returns after the first complete lists.
    pub async fn ready(&self) {
        let _ = self.listed.subscribe().wait_for(|listed| listed.len() == FEEDS).await;
    }

    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    fn feed<K: Read + Send + 'static>(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        selector: Option<&'static str>,
        pace: Pace,
        take: fn(&Self, Told<K>),
    ) {
        let (board, feed) = (self.clone(), Feed { client: cluster.streams(), selector, pace });
        self.spawn(async move {
            let kind = std::any::type_name::<K>();
            feed.tell::<K>(|told| {
                let complete = matches!(told, Told::All { .. });
                take(&board, told);
                if complete {
                    board.listed.send_if_modified(|listed| listed.insert(kind));
                }
            })
            .await;
        });
    }

    /// No code runs while the lock is held that could leave things half-written.
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hint(&self, key: RunKey) {
        // Nobody listens: then nobody need be told.
        let _ = self.hints.send(key);
    }

    /// Whom to look at next.
    pub fn changes(&self) -> BoxStream<'static, RunKey> {
        // Those who were too slow for some hints look by themselves.
        BroadcastStream::new(self.hints.subscribe()).filter_map(|hint| async { hint.ok() }).boxed()
    }

    /// As it was seen last. Who orders something reads it again first.
    pub fn find(&self, key: &RunKey) -> Option<PipelineRun> {
        self.lock().runs.get(key).and_then(|entry| entry.seen.run().cloned())
    }

    pub fn place(&self, key: &RunKey) -> Option<Place> {
        let run = self.find(key)?;
        Some(Place { namespace: run.metadata.namespace?, uid: run.metadata.uid? })
    }

    /// From now on its end is one that was asked for: the cluster has taken the order.
    pub fn cancelling(&self, key: &RunKey) {
        self.lock().runs.entry(*key).or_default().cancelled = true;
    }

    /// A run as a call just answered it, ahead of the watch.
    pub fn made(&self, key: RunKey, run: PipelineRun) {
        let now = now();
        let mut written = self.lock();
        let entry = written.runs.entry(key).or_default();
        entry.seen.see_run(run, now);
        entry.read = Some(now);
    }

    /// Nothing is left of it, or nobody wants to know any more.
    pub fn forget(&self, key: &RunKey) {
        self.lock().runs.remove(key);
        self.tails.forget(key);
    }

    /// What is to be said of it beside where it stands.
    pub fn remarks(&self, key: &RunKey) -> Vec<Condition> {
        self.lock().runs.get(key).map(|entry| observe::remarks(&entry.seen)).unwrap_or_default()
    }

    /// The pod whose log is the command's: its name, and whether its container has begun, and ended.
    pub(super) fn pod(&self, key: &RunKey) -> Option<observe::PodView> {
        self.lock().runs.get(key).and_then(|entry| observe::pod_view(&entry.seen))
    }

    pub(super) fn tails(&self) -> &Tails {
        &self.tails
    }

    /// Nothing of it is running, or it was never heard of: nothing will be written that is not there.
    pub(super) async fn is_over(&self, cluster: &Cluster, key: &RunKey) -> Result<bool, BackendError> {
        match self.observe(cluster, key).await? {
            Observation::Absent => Err(BackendError::Absent),
            Observation::Over { .. } => Ok(true),
            Observation::Inert { .. } | Observation::Waiting { .. } | Observation::Running { .. } => Ok(false),
        }
    }

    /// The truth now. What decides is read again from the cluster.
    pub async fn observe(&self, cluster: &Cluster, key: &RunKey) -> Result<Observation, BackendError> {
        if let Some((run, verdict, true)) = self.judged(key)
            && let Some(seen) = undecided(run, verdict)
        {
            return Ok(seen);
        }
        self.read(cluster, key).await?;
        let Some((run, verdict, _)) = self.judged(key) else { return Ok(Observation::Absent) };
        Ok(match verdict {
            Verdict::Over(fate) => Observation::Over { run, fate },
            Verdict::Ending { started_at: Some(started_at), .. } => Observation::Running { run, started_at },
            Verdict::Ending { started_at: None, left } => {
                let wait = taskplane_domain::task::Wait::new(taskplane_domain::task::WaitReason::Submitted, &left);
                Observation::Waiting { run, wait }
            }
            verdict => undecided(run, verdict).unwrap_or(Observation::Absent),
        })
    }

    /// What is written of it; false: not fresh enough to be told from memory.
    fn judged(&self, key: &RunKey) -> Option<(RunUid, Verdict, bool)> {
        let (now, written) = (now(), self.lock());
        let Entry { seen, cancelled, read } = written.runs.get(key)?;
        let run = RunUid(seen.run()?.metadata.uid.clone()?);
        let fresh = read.is_some_and(|read| now < read + FRESH);
        let case = Case { seen, nodes: &written.nodes, cancelled: *cancelled, now };
        Some((run, observe::judge(case), fresh))
    }

    /// Reads a run with all that belongs to it, and writes down what is there and what is not.
    pub async fn read(&self, cluster: &Cluster, key: &RunKey) -> Result<(), BackendError> {
        let failed = |error: super::client::CallError| error.during("look at a run");
        let _permit = self.asks.acquire().await;
        let asked = now();
        let selector = names::attempt_selector(key);
        let run = match self.place(key) {
            Some(Place { namespace, .. }) => {
                let name = key.to_string();
                cluster.get::<PipelineRun>(At::new(&namespace, &name)).await.map_err(failed)?
            }
            // Nobody here has heard of it.
            None => cluster.list::<PipelineRun>(None, &selector).await.map_err(failed)?.into_iter().next(),
        };
        let namespace = run.as_ref().and_then(|run| run.metadata.namespace.clone());
        let namespace = namespace.or_else(|| self.place(key).map(|place| place.namespace));
        let namespace = namespace.as_deref();
        let task_run = cluster.list::<TaskRun>(namespace, &selector).await.map_err(failed)?.into_iter().next();
        let pods = cluster.list::<Pod>(namespace, &selector).await.map_err(failed)?;
        let now = now();
        let mut written = self.lock();
        if run.is_none() && task_run.is_none() && pods.is_empty() && !written.runs.contains_key(key) {
            return Ok(());
        }
        let Entry { seen, read, .. } = written.runs.entry(*key).or_default();
        match run {
            Some(run) => drop(seen.see_run(run, now)),
            None => seen.run_missing(now),
        }
        match task_run {
            Some(task_run) => seen.see_task_run(task_run, now),
            None => seen.task_run_missing(now),
        }
        let there: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        for pod in pods {
            seen.see_pod(pod, now);
        }
        seen.pods_are(&there, asked, now);
        *read = Some(now);
        Ok(())
    }

    /// Asks for those that a list did not hold, one by one, until there is an answer.
    async fn ask_for_missing(self: Arc<Self>, cluster: Arc<Cluster>, ask: mpsc::UnboundedReceiver<RunKey>) {
        let asked = stream::unfold(ask, |mut ask| async { ask.recv().await.map(|key| (key, ask)) });
        asked
            .for_each_concurrent(ASKS, |key| {
                let (board, cluster) = (&self, &cluster);
                async move {
                    while let Err(error) = board.read(cluster, &key).await {
                        tracing::warn!(run = %key, %error, "a run that is missing could not be asked for, trying again");
                        tokio::time::sleep(Duration::from_secs(5)).await;
                    }
                    board.hint(key);
                }
            })
            .await;
    }
}

/// What may be told from memory. None: it decides something.
fn undecided(run: RunUid, verdict: Verdict) -> Option<Observation> {
    match verdict {
        Verdict::Inert => Some(Observation::Inert { run }),
        Verdict::Waiting(wait) => Some(Observation::Waiting { run, wait }),
        Verdict::Running { started_at } => Some(Observation::Running { run, started_at }),
        Verdict::Absent | Verdict::Ending { .. } | Verdict::Over(_) => None,
    }
}

#[cfg(test)]
mod tests;
