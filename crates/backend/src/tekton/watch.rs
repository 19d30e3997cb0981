//! The cluster's side of every run, kept up to date by watches.
//!
//! What the rest of the backend asks of it (a `Board`, shared):
//!
//! - `Board::start(&Arc<Cluster>) -> Arc<Board>` begins to watch; `ready().await` returns after the first complete lists;
//!   `stop()` ends it.
//! - `observe(&self, &Cluster, &RunKey) -> Result<Observation, BackendError>`: the truth now, read again where it decides.
//! - `changes(&self) -> BoxStream<'static, RunKey>`: whom to look at next.
//! - `find(&self, &RunKey) -> Option<PipelineRun>`: as it was seen last. Who orders something reads it again first.
//! - `cancelling(&self, &RunKey)`: from now on its end is one that was asked for.

/// Where a run is, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub namespace: String,
    /// Of the PipelineRun.
    pub uid: String,
}
