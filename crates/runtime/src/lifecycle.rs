//! How a process ends: first it is asked (soft), then it is told (hard), and nothing it started is forgotten.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::metrics::Metrics;
use crate::vitals::Vitals;

/// Shared by everything that runs in a process.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
    vitals: Vitals,
    metrics: Metrics,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Take on nothing new, finish what is at hand.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Let go of everything.
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// How the parts of the process are.
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// What the process counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Runs `work` beside the caller; the process waits for it before it ends.
    pub fn spawn<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(work.instrument(tracing::info_span!("worker", worker = name)));
    }

    /// Like [`Lifecycle::spawn`], and if the work fails, or ends before it was asked to, the whole process ends.
    pub fn spawn_vital<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let soft = self.soft.clone();
        self.spawn(name, async move {
            if let Err(error) = work.await {
                tracing::error!(error = format!("{error:#}"), "a vital part failed, the process ends");
            }
            soft.cancel();
        });
    }

    /// A part of this one: it can be stopped alone, and is stopped with the whole.
    pub fn child(&self) -> Self {
        Self { soft: self.soft.child_token(), hard: self.hard.child_token(), ..self.apart() }
    }

    /// A part of the same process that ends on its own: whoever made it sees to that.
    pub fn apart(&self) -> Self {
        Self { vitals: self.vitals.clone(), metrics: self.metrics.clone(), ..Self::default() }
    }

    /// Returns once everything that was spawned has ended.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
