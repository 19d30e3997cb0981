//! Runs as PipelineRuns of a Kubernetes cluster that has Tekton.
//!
//! ```text
//!            ┌─ spaces ── namespaces and what is in them for a Space
//!  orders ───┼─ render ── RunSpec ▶ PipelineRun, Secrets, NetworkPolicy (pure)
//!            └─ lifecycle ── ensure, release, cancel, remove ──▶ client ──▶ apiserver
//!
//!  facts  ◀── observe (pure) ◀── watch ◀─────────────────────────────────── apiserver
//!  output ◀── logs ◀─────────────────────────────────────────────────────── kubelet
//! ```
//!
//! Nothing is kept here that the cluster does not know: a replica that starts reads it all again. Every order can be given
//! twice, by two replicas at once, and to a replica that has never heard of the run.

pub mod client;
mod config;
pub mod lifecycle;
pub mod logs;
pub mod names;
mod observe;
mod render;
mod spaces;
mod stream;
pub mod types;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use taskplane_domain::log::{Landmark, LogRecord};
use taskplane_domain::run::{RunKey, RunSpec};
use taskplane_domain::task::Condition;

use crate::{Backend, BackendError, Made, Observation, Recovered, Traits};
use client::{AccessError, Cluster};
pub use config::{Account, Guard, Pins, PodSecurity, TektonConfig};
use lifecycle::{Lifecycle, News};
use logs::Wanted;
pub use taskplane_manifest::PodFacing;
use watch::Board;

#[derive(Clone)]
pub struct TektonBackend(Arc<Inner>);

struct Inner {
    cluster: Arc<Cluster>,
    board: Arc<Board>,
    lifecycle: Lifecycle,
}

impl TektonBackend {
    /// Reaches the cluster, and begins to watch it.
    pub async fn start(config: TektonConfig) -> Result<Self, AccessError> {
        let config = Arc::new(config);
        let cluster = Arc::new(Cluster::connect(&config.access).await?);
        let board = Board::start(&cluster);
        let told = Arc::clone(&board);
        let lifecycle = Lifecycle::new(&cluster, &config, move |news| match news {
            News::Seen(key, run) => told.made(key, *run),
            News::Cancelling(key) => told.cancelling(&key),
            News::Gone(key) => told.forget(&key),
        });
        if let Some(age) = config.finished {
            lifecycle.clear_up(age);
        }
        Ok(Self(Arc::new(Inner { cluster, board, lifecycle })))
    }
}

#[async_trait]
impl Backend for TektonBackend {
    fn traits(&self) -> Traits {
        Traits { adoptable: true, runs_images: true, keeps: true }
    }

    /// Runs outlive this process: nothing of them is over because it ended.
    async fn recover(&self) -> Result<Vec<Recovered>, BackendError> {
        self.0.board.ready().await;
        Ok(Vec::new())
    }

    async fn ensure(&self, spec: &RunSpec) -> Result<Made, BackendError> {
        self.0.lifecycle.ensure(spec).await
    }

    async fn release(&self, run: &RunKey) -> Result<(), BackendError> {
        self.0.lifecycle.release(run).await
    }

    async fn observe(&self, run: &RunKey) -> Result<Observation, BackendError> {
        self.0.board.observe(&self.0.cluster, run).await
    }

    async fn remarks(&self, run: &RunKey) -> Vec<Condition> {
        self.0.board.remarks(run)
    }

    async fn cancel(&self, run: &RunKey, grace: Option<Duration>) -> Result<(), BackendError> {
        self.0.lifecycle.cancel(run, grace).await
    }

    async fn archived(&self, run: &RunKey, terminated: bool) -> Result<(), BackendError> {
        self.0.lifecycle.archived(run, terminated).await
    }

    async fn remove(&self, run: &RunKey) -> Result<(), BackendError> {
        self.0.lifecycle.remove(run).await
    }

    fn changes(&self) -> BoxStream<'static, RunKey> {
        self.0.board.changes()
    }

    fn output(&self, run: &RunKey, offset: u64, follow: bool) -> BoxStream<'static, Result<LogRecord, BackendError>> {
        self.output_after(run, offset, None, follow)
    }

    fn output_after(
        &self,
        run: &RunKey,
        from: u64,
        landmark: Option<Landmark>,
        follow: bool,
    ) -> BoxStream<'static, Result<LogRecord, BackendError>> {
        logs::output(&self.0.cluster, &self.0.board, *run, Wanted { from, landmark, follow })
    }

    /// Runs go on; another replica follows them.
    async fn shutdown(&self) {
        self.0.board.stop().await;
    }
}
