//! Runs as processes of this machine: each under a shim of its own, in its own working copy of the App's source.
//!
//! What is true of a run stands in its directory before anybody is told of it, so that a backend that is killed at any point
//! can say after its restart whether a command never started, how it ended, or that nobody saw its end. A killed backend's
//! shims end their commands at once.
//!
//! Where this process may make cgroups each run has one of its own, which limits its memory and gives it its share of the
//! CPU; elsewhere its Task says that this is not so. The size of its working copy is measured.

mod bindings;
mod cgroup;
mod disk;
mod env;
mod house;
mod make;
mod output;
mod recover;
mod run;
mod supervise;
mod sweep;
mod turns;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use taskplane_domain::app::SourceArchive;
use taskplane_domain::log::LogRecord;
use taskplane_domain::run::{RunKey, RunSpec};
use tokio_stream::wrappers::BroadcastStream;

use crate::{Backend, BackendError, Made, Observation, Recovered, Traits};
use house::House;
use run::{Phase, Run};

/// Where the archives come from: a file to read from its beginning.
pub type FetchSource = Arc<dyn Fn(SourceArchive) -> BoxFuture<'static, io::Result<File>> + Send + Sync>;

/// How long after the grace a shim may take to have ended everything.
const DISOBEDIENCE: Duration = Duration::from_secs(15);
/// A process that stops has less time than a Task may have to end.
const STOP_GRACE_MAX: Duration = Duration::from_secs(12);
/// How much longer than the grace the end may take before it is forced.
const STOP_SLACK: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct LocalConfig {
    /// A directory of this backend alone.
    pub root: PathBuf,
    /// The `taskplane-shim` executable.
    pub shim: PathBuf,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// What runs inherit of the server's environment, beside nothing else.
    pub path: Option<OsString>,
    pub lang: Option<OsString>,
    pub tmpdir: Option<OsString>,
    pub fetch: FetchSource,
}

pub struct LocalBackend {
    house: Arc<House>,
    /// Held as long as this is there.
    lock: File,
}

impl LocalBackend {
    /// Takes the directory over, which is made when it is not there. Blocks for the disk.
    pub fn open(config: LocalConfig) -> Result<Self, BackendError> {
        let opened = House::open(config);
        let (house, lock) =
            opened.map_err(|source| BackendError::Unavailable { doing: "open the runs' directory", source })?;
        Ok(Self { house: Arc::new(house), lock })
    }

    fn find(&self, key: &RunKey) -> Result<Arc<Run>, BackendError> {
        self.house.find(*key).ok_or(BackendError::Absent)
    }

    /// On a task of its own, so that a caller who stops waiting leaves nothing half done.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, BackendError>> + Send + 'static,
    ) -> Result<T, BackendError> {
        let done = self.house.tracker.spawn(work).await;
        done.unwrap_or_else(|error| {
            Err(BackendError::Unavailable { doing: "carry the order out", source: io::Error::other(error) })
        })
    }
}

/// A backend that is gone holds no runs.
impl Drop for LocalBackend {
    fn drop(&mut self) {
        self.house.stop();
        self.house.all().iter().for_each(|run| run.abandon());
        // Not left to the closing: a process that is just being started holds a copy of the file for a moment.
        let _ = self.lock.unlock();
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn traits(&self) -> Traits {
        Traits { adoptable: false, runs_images: false, keeps: false }
    }

    async fn recover(&self) -> Result<Vec<Recovered>, BackendError> {
        recover::recover(&self.house).await
    }

    async fn ensure(&self, spec: &RunSpec) -> Result<Made, BackendError> {
        let (house, spec) = (self.house.clone(), spec.clone());
        self.to_the_end(async move { ensure(house, spec).await }).await
    }

    async fn release(&self, run: &RunKey) -> Result<(), BackendError> {
        let (house, run) = (self.house.clone(), self.find(run)?);
        blocking("let the run go", move || {
            if house.is_stopping() { Err(io::Error::from(io::ErrorKind::Interrupted)) } else { run.release() }
        })
        .await
    }

    async fn observe(&self, run: &RunKey) -> Result<Observation, BackendError> {
        Ok(self.house.find(*run).map_or(Observation::Absent, |run| run.observation()))
    }

    async fn cancel(&self, run: &RunKey, grace: Option<Duration>) -> Result<(), BackendError> {
        let run = self.find(run)?;
        let asked = run.clone();
        // Behind a release that is under way.
        blocking("cancel the run", move || {
            asked.cancel();
            Ok(())
        })
        .await?;
        // The shim counts the backend's own grace; a shorter one is counted here. And one that does not do as it is told,
        // because it was stopped itself, is ended.
        let own = self.house.config.grace;
        let grace = grace.unwrap_or(own).min(own);
        self.house.tracker.spawn(async move {
            tokio::time::sleep(grace).await;
            if grace < own {
                run.kill();
            }
            tokio::time::sleep(DISOBEDIENCE).await;
            if !run.is_over() {
                run.force.notify_one();
            }
        });
        Ok(())
    }

    async fn remove(&self, run: &RunKey) -> Result<(), BackendError> {
        let (house, key) = (self.house.clone(), *run);
        self.to_the_end(async move {
            let _turn = house.turns.take(key).await;
            let Some(run) = house.find(key) else { return Ok(()) };
            if !run.is_over() {
                let source = io::Error::new(io::ErrorKind::ResourceBusy, "it is not over");
                return Err(BackendError::Unavailable { doing: "remove the run", source });
            }
            blocking("remove the run", move || house.forget(&run)).await
        })
        .await
    }

    fn changes(&self) -> BoxStream<'static, RunKey> {
        BroadcastStream::new(self.house.listen()).filter_map(|change| async move { change.ok() }).boxed()
    }

    fn output(&self, run: &RunKey, offset: u64, follow: bool) -> BoxStream<'static, Result<LogRecord, BackendError>> {
        match self.find(run) {
            Ok(run) => output::read(run, offset, follow),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn shutdown(&self) {
        self.house.stop();
        let runs = self.house.all();
        for run in &runs {
            let run = run.clone();
            // It cannot fail, and its end is awaited below.
            let _ = blocking("stop the run", move || {
                run.stop();
                Ok(())
            })
            .await;
        }
        let grace = self.house.config.grace.min(STOP_GRACE_MAX);
        if tokio::time::timeout(grace + STOP_SLACK, all_over(&runs)).await.is_err() {
            runs.iter().for_each(|run| run.abandon());
            if tokio::time::timeout(STOP_SLACK, all_over(&runs)).await.is_err() {
                tracing::warn!("some runs are still ending");
            }
        }
    }
}

async fn ensure(house: Arc<House>, spec: RunSpec) -> Result<Made, BackendError> {
    let _turn = house.turns.take(spec.key).await;
    if let Some(run) = house.find(spec.key) {
        if !run.may_be_made_again() {
            return Ok(run.made());
        }
        let house = house.clone();
        blocking("remove the run that never started", move || house.forget(&run)).await?;
    }
    if house.is_stopping() {
        let source = io::Error::new(io::ErrorKind::Interrupted, "the executor stops");
        return Err(BackendError::Unavailable { doing: "make the run", source });
    }
    let (run, shim) = make::make(&house, &spec).await?;
    let made = run.made();
    house.insert(run.clone());
    if house.is_stopping() {
        // The one who stops may not have seen it.
        run.stop();
    }
    house.tracker.spawn(supervise::supervise(house.clone(), run, shim));
    Ok(made)
}

async fn all_over(runs: &[Arc<Run>]) {
    for run in runs {
        // The sender is the run's own and outlives this wait.
        let _ = run.phase.subscribe().wait_for(|phase| matches!(phase, Phase::Over(_))).await;
    }
}

/// On a thread that may wait for the disk, to its end even when nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BackendError> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| BackendError::Unavailable { doing, source })
}
