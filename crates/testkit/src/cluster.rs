//! A cluster without machines: its runs do what a test says and nothing else, outlive executors, and are seen by all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use taskplane_backend::{Backend, BackendError, Made, Observation, Recovered, Traits};
use taskplane_domain::log::{LogRecord, LogStream};
use taskplane_domain::run::{EndCause, Fate, RunEnd, RunKey, RunSpec, StartToken};
use taskplane_domain::task::{Exit, Refusal};
use taskplane_domain::uid::RunUid;
use tokio::sync::watch;

/// When everything here happens: what it says of times is not what it is for.
const THEN: Timestamp = Timestamp::UNIX_EPOCH;

/// All executors of it share its runs.
#[derive(Clone)]
pub struct ScriptedCluster {
    runs: Arc<Mutex<HashMap<RunKey, ScriptedRun>>>,
    /// Counts changes, so that whoever waits for one can.
    changed: Arc<watch::Sender<u64>>,
    releases_held: Arc<watch::Sender<bool>>,
    guards: bool,
}

/// A run, and all that was ever asked of it.
#[derive(Debug, Clone)]
pub struct ScriptedRun {
    pub uid: RunUid,
    pub phase: Phase,
    pub start_token: Option<StartToken>,
    pub made: u32,
    pub released: u32,
    pub cancelled: u32,
    pub removed: bool,
    output: Vec<LogRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Inert,
    Running,
    Over(Fate),
}

/// One executor's way to the cluster.
struct ScriptedBackend(ScriptedCluster);

impl ScriptedCluster {
    /// `guards`: its runs ask for a start ticket, which is for the test to do.
    pub fn new(guards: bool) -> Self {
        Self {
            runs: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
            releases_held: Arc::new(watch::Sender::new(false)),
            guards,
        }
    }

    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(ScriptedBackend(self.clone()))
    }

    /// The run of this attempt, once it is as `wanted`.
    pub async fn run_when(&self, key: RunKey, wanted: impl Fn(&ScriptedRun) -> bool) -> ScriptedRun {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(run) = self.runs().get(&key).filter(|run| wanted(run)).cloned() {
                return run;
            }
            // The sender is part of this very cluster.
            let _ = changed.changed().await;
        }
    }

    pub fn run(&self, key: RunKey) -> Option<ScriptedRun> {
        self.runs().get(&key).cloned()
    }

    /// Executors that let a run go wait until they are no longer held.
    pub fn hold_releases(&self, held: bool) {
        self.releases_held.send_replace(held);
    }

    /// The command writes something.
    pub fn write(&self, key: RunKey, text: &str) {
        self.change(key, |run| {
            let offset = run.output.last().map_or(0, LogRecord::end);
            let content = Bytes::copy_from_slice(text.as_bytes());
            run.output.push(LogRecord { offset, time: THEN, stream: LogStream::Stdout, content });
        });
    }

    /// The command ends by itself.
    pub fn ends(&self, key: RunKey, code: i32) {
        self.over(key, EndCause::Natural, Exit { code: Some(code), signal: None });
    }

    /// The guard was told no, and the command never came to run.
    pub fn guard_ends(&self, key: RunKey, refusal: Option<Refusal>) {
        self.over(key, refusal.map_or(EndCause::Unanswered, EndCause::Refused), Exit::default());
    }

    fn over(&self, key: RunKey, cause: EndCause, exit: Exit) {
        let end = RunEnd { cause, exit, started_at: None, finished_at: THEN, message: String::new() };
        self.change(key, |run| run.phase = Phase::Over(Fate::Ended(end)));
    }

    fn change(&self, key: RunKey, change: impl FnOnce(&mut ScriptedRun)) {
        if let Some(run) = self.runs().get_mut(&key) {
            change(run);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<RunKey, ScriptedRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn there(&self, key: &RunKey) -> Result<ScriptedRun, BackendError> {
        self.runs().get(key).filter(|run| !run.removed).cloned().ok_or(BackendError::Absent)
    }
}

#[async_trait]
impl Backend for ScriptedBackend {
    fn traits(&self) -> Traits {
        Traits { adoptable: true, runs_images: true, keeps: false }
    }

    async fn recover(&self) -> Result<Vec<Recovered>, BackendError> {
        Ok(Vec::new())
    }

    async fn ensure(&self, spec: &RunSpec) -> Result<Made, BackendError> {
        let uid = RunUid(format!("uid-of-{}", spec.key));
        let new = || ScriptedRun {
            uid: uid.clone(),
            phase: Phase::Inert,
            start_token: spec.start_token.clone(),
            made: 1,
            released: 0,
            cancelled: 0,
            removed: false,
            output: Vec::new(),
        };
        self.0.runs().entry(spec.key).or_insert_with(new);
        self.0.change(spec.key, |_| {});
        let guarded = self.0.guards && spec.start_token.is_some();
        Ok(Made { run: uid, conditions: Vec::new(), guarded })
    }

    async fn release(&self, run: &RunKey) -> Result<(), BackendError> {
        // The sender is part of the cluster.
        let _ = self.0.releases_held.subscribe().wait_for(|held| !held).await;
        self.0.there(run)?;
        self.0.change(*run, |run| {
            run.released += 1;
            if run.phase == Phase::Inert {
                run.phase = Phase::Running;
            }
        });
        Ok(())
    }

    async fn observe(&self, run: &RunKey) -> Result<Observation, BackendError> {
        let ScriptedRun { uid, phase, .. } = self.0.there(run)?;
        Ok(match phase {
            Phase::Inert => Observation::Inert { run: uid },
            Phase::Running => Observation::Running { run: uid, started_at: THEN },
            Phase::Over(fate) => Observation::Over { run: uid, fate },
        })
    }

    async fn cancel(&self, run: &RunKey, _: Option<Duration>) -> Result<(), BackendError> {
        self.0.there(run)?;
        self.0.change(*run, |run| {
            run.cancelled += 1;
            let end = RunEnd {
                cause: EndCause::Cancel,
                exit: Exit::default(),
                started_at: None,
                finished_at: THEN,
                message: String::new(),
            };
            match run.phase {
                Phase::Inert => run.phase = Phase::Over(Fate::NeverStarted),
                Phase::Running => run.phase = Phase::Over(Fate::Ended(end)),
                Phase::Over(_) => {}
            }
        });
        Ok(())
    }

    async fn remove(&self, run: &RunKey) -> Result<(), BackendError> {
        self.0.change(*run, |run| run.removed = true);
        Ok(())
    }

    fn changes(&self) -> BoxStream<'static, RunKey> {
        let cluster = self.0.clone();
        let changed = cluster.changed.subscribe();
        let all = stream::unfold((cluster, changed), |(cluster, mut changed)| async move {
            changed.changed().await.ok()?;
            let keys: Vec<_> = cluster.runs().keys().copied().collect();
            Some((stream::iter(keys), (cluster, changed)))
        });
        all.flatten().boxed()
    }

    fn output(&self, run: &RunKey, offset: u64, follow: bool) -> BoxStream<'static, Result<LogRecord, BackendError>> {
        let (cluster, key) = (self.0.clone(), *run);
        let changed = cluster.changed.subscribe();
        let batches = stream::unfold(Some((cluster, changed, offset)), move |state| async move {
            let (cluster, mut changed, offset) = state?;
            loop {
                changed.mark_unchanged();
                let run = match cluster.there(&key) {
                    Ok(run) => run,
                    Err(error) => return Some((vec![Err(error)], None)),
                };
                let over = matches!(run.phase, Phase::Over(_));
                let new: Vec<_> = run.output.into_iter().filter(|record| record.offset >= offset).collect();
                let end = new.last().map_or(offset, LogRecord::end);
                if over || !follow {
                    return Some((new.into_iter().map(Ok).collect(), None));
                }
                if !new.is_empty() {
                    return Some((new.into_iter().map(Ok).collect(), Some((cluster, changed, end))));
                }
                changed.changed().await.ok()?;
            }
        });
        batches.flat_map(stream::iter).boxed()
    }

    async fn shutdown(&self) {}
}
