//! What the api counts of its work.

use std::time::Duration;

use jiff::Timestamp;
use taskplane_domain::task::Task;
use taskplane_runtime::metrics::{Counter, Histogram, Metrics, TAKEOVERS, TAKEOVERS_HELP};
use taskplane_store::{Accepted, StoreError};
use tokio::time::Instant;

use crate::error::ApiError;

#[derive(Clone)]
pub(crate) struct Meters {
    accept: Histogram,
    dispatch: Histogram,
    made: Histogram,
    takeovers: Counter,
}

impl Meters {
    pub fn new(metrics: &Metrics) -> Self {
        let histogram = |name, help, labels| metrics.histogram(name, help, labels);
        Self {
            accept: histogram("taskplane_accept_seconds", "How long RunTask took, by its outcome.", &["outcome"]),
            dispatch: histogram("taskplane_dispatch_seconds", "From a Task's acceptance until it is handed out.", &[]),
            made: histogram("taskplane_made_seconds", "From a Task's acceptance until its run is made.", &[]),
            takeovers: metrics.counter(TAKEOVERS, TAKEOVERS_HELP, &["how"]),
        }
    }

    /// Whatever becomes of it; a caller that goes away is not counted.
    pub async fn accept(&self, accepting: impl Future<Output = Result<Accepted, ApiError>>) -> Result<Task, ApiError> {
        let begun = Instant::now();
        let accepted = accepting.await;
        let outcome = match &accepted {
            Ok(Accepted { repeated: false, .. }) => "accepted",
            Ok(Accepted { repeated: true, .. }) => "repeated",
            Err(ApiError::Store(error)) if unavailable(error) => "unavailable",
            Err(_) => "refused",
        };
        self.accept.took(&[outcome], begun.elapsed());
        Ok(accepted?.task)
    }

    /// A Task is handed out. Later attempts wait for their time, and say nothing of ours.
    pub fn handed_out(&self, task: &Task, now: Timestamp) {
        if task.attempt == 1 {
            self.dispatch.took(&[], since(task, now));
        }
    }

    /// Its run is made.
    pub fn made(&self, task: &Task, now: Timestamp) {
        if task.attempt == 1 {
            self.made.took(&[], since(task, now));
        }
    }

    /// Of an executor's earlier incarnations.
    pub fn taken_over(&self, tasks: u64) {
        self.takeovers.add(&["successor"], tasks);
    }

    /// Of another executor that is gone.
    pub fn adopted(&self, tasks: u64) {
        self.takeovers.add(&["adopted"], tasks);
    }
}

fn since(task: &Task, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(task.created_at)).unwrap_or_default()
}

fn unavailable(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Unreachable { .. } | StoreError::Unusable(_))
}
