//! One run, from the order to make it until nothing of it is left and everything is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use taskplane_backend::{BackendError, Made, Observation, Recovered};
use taskplane_domain::run::{EndCause, Fate, Observed, RunEnd, RunKey, RunSpec};
use taskplane_domain::task::{Condition, Reason};
use taskplane_domain::uid::{Fence, RunUid, SpaceUid};
use taskplane_logs::LogKey;
use taskplane_proto::convert::launch_from_pb;
use taskplane_proto::internal::v1 as pb;
use taskplane_runtime::{telemetry, worker::jittered};
use tracing::{Instrument as _, info_span};

use crate::Executor;
use crate::pace::Pace;
use crate::registry::Run;
use crate::reports::Answer;

/// A look at the run without being rung for it.
const PERIOD: Duration = Duration::from_secs(15);
/// Of making a run. What this host could not do so often, it will not do; a cluster comes back.
const TRIES: u32 = 5;
pub(crate) const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Before another try to remove what could not be removed.
const REMOVAL: Duration = Duration::from_secs(5);
/// How long the end of a run is held back for its log to be complete. The log goes on beyond that; the end does not wait.
const SEALING: Duration = Duration::from_secs(5);

impl Executor {
    pub(crate) async fn drive(self, run: Arc<Run>, launch: pb::Launch) {
        let span = info_span!("task.attempt", task.uid = %run.key.task, task.attempt = run.key.attempt);
        if !launch.traceparent.is_empty() {
            telemetry::continue_from(&span, &launch.traceparent);
        }
        async {
            match launch_from_pb(run.key, launch) {
                Ok(spec) => self.launch(&run, spec).await,
                Err(error) => self.not_made(&run, Reason::InvalidSpec, error.to_string()).await,
            }
            self.registry.forget(&run.key);
        }
        .instrument(span)
        .await;
    }

    async fn launch(&self, run: &Arc<Run>, spec: RunSpec) {
        let Made { run: uid, conditions, guarded } =
            match self.make(run, &spec).instrument(info_span!("run.make")).await {
                Some(Ok(made)) => made,
                Some(Err((reason, message))) => return self.not_made(run, reason, message).await,
                None => return,
            };
        fail::fail_point!("executor::before_made");
        let made = Observed::Made { run: uid.clone(), conditions, guarded };
        let answer = self.reports.tell(run.key, run.fence, made).await;
        fail::fail_point!("executor::after_made");
        match answer {
            Answer::Accepted => {
                self.release(run).instrument(info_span!("run.release")).await;
                fail::fail_point!("executor::after_release");
            }
            Answer::Cancelling => run.cancel(None),
            // Another executor may have it by now: not to be touched.
            Answer::Fenced if self.outlives() => return,
            Answer::Fenced => return self.abandon(run.key).await,
        }
        self.see_through(run, uid, spec.space_uid, spec.log_cap).await;
    }

    /// From a run's start to its end, and until that is told. One that is another executor's by now is let go of.
    pub(crate) async fn see_through(&self, run: &Arc<Run>, uid: RunUid, space: SpaceUid, log_cap: Option<u64>) {
        let shipped = self.ship(run, space, log_cap);
        let followed = self.follow(run, &uid).instrument(info_span!("run.follow", run.uid = %uid));
        let Some(fate) = followed.await else {
            // Not at once again, should the api still take it for ours.
            return tokio::time::sleep(jittered(RETRY)).await;
        };
        let mut sealed = run.sealed.subscribe();
        // An error: the shipper is gone, and so is what was to be waited for.
        let _ = tokio::time::timeout(SEALING, sealed.wait_for(|sealed| *sealed)).await;
        fail::fail_point!("executor::before_over");
        let terminated = matches!(fate, Fate::Ended(RunEnd { cause: EndCause::Cancel, .. }));
        let over = Observed::Over { run: uid.clone(), fate };
        if self.reports.tell(run.key, run.fence, over).await == Answer::Fenced && self.outlives() {
            run.let_go();
            return tokio::time::sleep(jittered(RETRY)).await;
        }
        fail::fail_point!("executor::after_over");
        shipped.await;
        if self.platform.backend.traits().keeps {
            return self.keep(run.key, terminated).await;
        }
        if self.registry.leave(run.key) {
            // Its place need not wait for this.
            self.platform.lifecycle.spawn("removal", self.clone().see_off(run.key, run.fence, uid));
        }
    }

    /// A run that stays until its Task goes.
    async fn keep(&self, key: RunKey, terminated: bool) {
        if let Err(error) = self.platform.backend.archived(&key, terminated).await {
            tracing::warn!(%error, "what is left of a run stays until its Task goes");
        }
    }

    /// Forgets a run whose log is archived, and tells that nothing of it is left; also when there was nothing.
    pub(crate) async fn see_off(self, key: RunKey, fence: Fence, run: RunUid) {
        while let Err(error) = self.platform.backend.remove(&key).await {
            tracing::warn!(%error, "a run could not be removed, trying again");
            tokio::select! {
                () = self.platform.lifecycle.hard().cancelled() => return,
                () = tokio::time::sleep(jittered(REMOVAL)) => {}
            }
        }
        fail::fail_point!("executor::before_removed");
        self.reports.removed(key, fence, run).await;
        fail::fail_point!("executor::after_removed");
        self.registry.left(&key);
    }

    /// Makes the run; a backend that is out of order is asked again, a cluster until the Task is to end: how long a start
    /// may take is for the control plane to say. None: this executor leaves, and the run is another's to make.
    async fn make(&self, run: &Run, spec: &RunSpec) -> Option<Result<Made, (Reason, String)>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.platform.backend.ensure(spec).await {
                Ok(made) => return Some(Ok(made)),
                Err(BackendError::NotMade { reason, message }) => return Some(Err((reason, message))),
                Err(error) if run.cancelling().is_some() || (tries >= TRIES && !self.outlives()) => {
                    return Some(Err((Reason::StartFailed, error.to_string())));
                }
                Err(error) => tracing::warn!(%error, tries, "no run made, trying again"),
            }
            tokio::select! {
                () = self.leaving.cancelled() => return None,
                () = run.bell.notified() => {}
                () = tokio::time::sleep(jittered(RETRY.saturating_mul(tries).min(RETRY_MAX))) => {}
            }
        }
    }

    /// Lets the command start.
    async fn release(&self, run: &Run) {
        if self.outlives() {
            return self.let_start(run).await;
        }
        if let Err(error) = self.platform.backend.release(&run.key).await {
            tracing::warn!(%error, "a run could not be released");
            run.cancel(None);
        }
    }

    async fn not_made(&self, run: &Run, reason: Reason, message: String) {
        tracing::warn!(reason = reason.as_str(), detail = message, "no run made");
        self.reports.tell(run.key, run.fence, Observed::NotMade { reason, message }).await;
    }

    /// Watches the run until it is over, telling of its start and passing on an order to end it. None: it is let go of.
    async fn follow(&self, run: &Run, uid: &RunUid) -> Option<Fate> {
        let (mut told, mut cancelled) = (false, None);
        let (mut pace, mut remarks) = (Pace::default(), Vec::new());
        loop {
            let seen = self.platform.backend.observe(&run.key).await;
            self.remark(run, uid, &mut remarks).await;
            match seen {
                Ok(Observation::Over { run: _, fate }) => {
                    // Its start belongs to its history, also when it was over before anybody looked.
                    if let (Fate::Ended(RunEnd { started_at: Some(at), .. }), false) = (&fate, told) {
                        self.reports.tell(run.key, run.fence, Observed::Started { run: uid.clone(), at: *at }).await;
                    }
                    return Some(fate);
                }
                Ok(Observation::Absent) | Err(BackendError::Absent) => {
                    return Some(Fate::Lost { message: "the run vanished".to_owned() });
                }
                Ok(Observation::Running { run: _, started_at }) if !told => {
                    told = true;
                    fail::fail_point!("executor::before_started");
                    match self
                        .reports
                        .tell(run.key, run.fence, Observed::Started { run: uid.clone(), at: started_at })
                        .await
                    {
                        Answer::Accepted => {}
                        Answer::Fenced if self.outlives() => {
                            run.let_go();
                            return None;
                        }
                        // Fenced: no longer ours, so it must not go on either.
                        Answer::Cancelling | Answer::Fenced => run.cancel(None),
                    }
                }
                Ok(Observation::Waiting { run: _, wait }) => {
                    if let Some(wait) = pace.tell(wait, Instant::now()) {
                        let waits = Observed::Waits { run: uid.clone(), wait };
                        match self.reports.tell(run.key, run.fence, waits).await {
                            Answer::Fenced if self.outlives() => {
                                run.let_go();
                                return None;
                            }
                            Answer::Fenced => run.cancel(None),
                            Answer::Accepted | Answer::Cancelling => {}
                        }
                    }
                }
                Ok(Observation::Running { .. } | Observation::Inert { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, "a run could not be looked at");
                    tokio::time::sleep(jittered(RETRY)).await;
                }
            }
            let order = run.cancelling();
            if let Some(grace) = order.filter(|_| order != cancelled) {
                // One that was not taken is given again.
                if self.cancel(run.key, grace).await {
                    cancelled = order;
                }
            }
            let period = jittered(PERIOD);
            let look = pace.next().map_or(period, |next| next.saturating_duration_since(Instant::now()).min(period));
            tokio::select! {
                () = self.leaving.cancelled() => {
                    run.let_go();
                    return None;
                }
                () = run.bell.notified() => {}
                () = tokio::time::sleep(look) => {}
            }
        }
    }

    /// Tells what the backend has to remark upon, once.
    async fn remark(&self, run: &Run, uid: &RunUid, told: &mut Vec<Condition>) {
        let conditions = self.platform.backend.remarks(&run.key).await;
        if conditions.iter().any(|condition| !told.contains(condition)) {
            told.clone_from(&conditions);
            // Whether it may go on is said with the next report.
            self.reports.tell(run.key, run.fence, Observed::Noted { run: uid.clone(), conditions }).await;
        }
    }

    /// False: the backend did not take the order.
    async fn cancel(&self, key: RunKey, grace: Option<Duration>) -> bool {
        let asked = self.platform.backend.cancel(&key, grace).await;
        asked.inspect_err(|error| tracing::warn!(%error, "a run could not be asked to end")).is_ok()
    }

    /// Ends a run that is not ours to run, and says nothing of it.
    async fn abandon(&self, key: RunKey) {
        self.cancel(key, None).await;
        while let Ok(Observation::Inert { .. } | Observation::Waiting { .. } | Observation::Running { .. }) =
            self.platform.backend.observe(&key).await
        {
            let bell = self.registry.find(&key);
            tokio::select! {
                () = async { match &bell { Some(run) => run.bell.notified().await, None => std::future::pending().await } } => {}
                () = tokio::time::sleep(jittered(RETRY)) => {}
            }
        }
        self.remove(key).await;
    }

    async fn remove(&self, key: RunKey) {
        if let Err(error) = self.platform.backend.remove(&key).await {
            tracing::warn!(%error, "a run could not be removed");
        }
    }

    /// Archives what the run writes, beside everything else. The future returned ends when its log is complete.
    fn ship(&self, run: &Arc<Run>, space: SpaceUid, cap: Option<u64>) -> impl Future<Output = ()> + use<> {
        let key = LogKey { space, task: run.key.task, attempt: run.key.attempt };
        let (executor, shipping) = (self.clone(), Arc::clone(run));
        let mut sealed = run.sealed.subscribe();
        self.platform.lifecycle.spawn("log", async move {
            tokio::select! {
                () = executor.archive(shipping.key, key, cap) => {
                    shipping.sealed.send_replace(true);
                }
                // Whoever follows it now goes on where the archive ends.
                () = shipping.gone.cancelled() => {}
            }
        });
        let hard = self.platform.lifecycle.hard().clone();
        async move {
            tokio::select! {
                _ = sealed.wait_for(|sealed| *sealed) => {}
                () = hard.cancelled() => {}
            }
        }
    }

    async fn archive(&self, run: RunKey, key: LogKey, cap: Option<u64>) {
        let hard = self.platform.lifecycle.hard().clone();
        let shipping = async {
            loop {
                let writer = self.platform.objects.await_writer(key, cap).await;
                let (from, landmark) = (writer.archived_to(), writer.landmark());
                let output = self.platform.backend.output_after(&run, from, landmark, true);
                match writer.ship(output).await {
                    Ok(_) | Err(BackendError::Absent) => break,
                    Err(error) => tracing::warn!(%error, "output could not be read, trying again"),
                }
                tokio::time::sleep(jittered(RETRY)).await;
            }
        };
        tokio::select! {
            () = shipping => {}
            () = hard.cancelled() => {}
        }
    }

    /// What earlier incarnations left: told with the session's opening, now archived and forgotten. Their reports need no
    /// fence.
    pub(crate) async fn settle(&self, recovered: Vec<Recovered>) {
        for Recovered { key, run, space, log_cap, fate } in recovered {
            if fate == Fate::NeverStarted {
                // The same attempt may come again at once, and must not find this one.
                self.remove(key).await;
                let reports = self.reports.clone();
                self.platform.lifecycle.spawn("removal", async move { reports.removed(key, Fence(0), run).await });
            } else {
                self.registry.leave(key);
                let executor = self.clone();
                self.platform.lifecycle.spawn("log", async move {
                    let log = LogKey { space, task: key.task, attempt: key.attempt };
                    executor.archive(key, log, log_cap).await;
                    executor.see_off(key, Fence(0), run).await;
                });
            }
        }
    }
}
