//! Runs that outlive their executor: taken over from one that is gone, and let go when this one goes.

use std::sync::Arc;

use taskplane_backend::Observation;
use taskplane_domain::uid::{RunUid, SpaceUid};
use taskplane_proto::internal::v1 as pb;
use taskplane_runtime::{telemetry, worker::jittered};
use tracing::Instrument as _;

use crate::Executor;
use crate::registry::Run;
use crate::run::RETRY;

impl Executor {
    /// Follows a run from where another executor left it.
    pub(crate) async fn take_over(self, run: Arc<Run>, adopt: pb::AdoptRun) {
        let span = tracing::info_span!("task.attempt", task.uid = %run.key.task, task.attempt = run.key.attempt);
        let pb::AdoptRun { run_uid, space_uid, log_cap_bytes, traceparent, started, cancel } = adopt;
        if !traceparent.is_empty() {
            telemetry::continue_from(&span, &traceparent);
        }
        async {
            let Ok(space) = space_uid.parse().map(SpaceUid) else {
                tracing::error!("the api handed over a run of no space");
                return;
            };
            tracing::info!(run = run_uid, "taken over");
            match cancel {
                Some(pb::CancelRun { run_uid: _, grace }) => run.cancel(grace.and_then(|grace| grace.try_into().ok())),
                None if !started => self.let_start(&run).await,
                None => {}
            }
            let cap = Some(log_cap_bytes).filter(|bytes| *bytes > 0);
            self.see_through(&run, RunUid(run_uid), space, cap).await;
        }
        .instrument(span)
        .await;
        self.registry.forget(&run.key);
    }

    /// Lets a run start that may have been let go already, unless it is to end. A cluster that is out of order for a while is
    /// asked again.
    pub(crate) async fn let_start(&self, run: &Run) {
        while run.cancelling().is_none() && !self.leaving.is_cancelled() {
            let tried = match self.platform.backend.observe(&run.key).await {
                Ok(Observation::Inert { .. }) => self.platform.backend.release(&run.key).await,
                Ok(_) => return,
                Err(error) => Err(error),
            };
            match tried {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "a run could not be released, trying again"),
            }
            tokio::select! {
                () = self.leaving.cancelled() => {}
                () = run.bell.notified() => {}
                () = tokio::time::sleep(jittered(RETRY)) => {}
            }
        }
    }

    /// Its runs go on without this executor, and are another's from now on. Whoever follows one lets go of it.
    pub(crate) fn outlives(&self) -> bool {
        self.platform.backend.traits().adoptable
    }
}
