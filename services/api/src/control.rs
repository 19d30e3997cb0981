//! ExecutorControl: the internal port, for executors alone.

use taskplane_domain::invalid::Invalid;
use taskplane_domain::run::{Observed, Report, RunKey};
use taskplane_domain::session::{HEARTBEAT, LEASE};
use taskplane_domain::task::{StateKind, Task};
use taskplane_domain::uid::{Fence, SessionUid};
use taskplane_proto::convert::{claim_from_pb, duration_to_pb, report_from_pb};
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::executor_control_server::ExecutorControl;
use taskplane_runtime::net::Peer;
use taskplane_runtime::telemetry;
use taskplane_store::StoreError;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span};

use crate::Api;
use crate::error::ApiError;
use crate::sessions::parse_session;
use crate::tasks::TRIES;

const REPORTS_MAX: usize = 1000;

#[tonic::async_trait]
impl ExecutorControl for Api {
    async fn open_session(
        &self,
        request: Request<pb::OpenSessionRequest>,
    ) -> Result<Response<pb::OpenSessionResponse>, Status> {
        let named = &request.get_ref().executor;
        if !request.extensions().get::<Peer>().is_some_and(|peer| peer.may_be_called(named)) {
            return Err(ApiError::ForeignName(named.clone()).into());
        }
        let session = self.session_open(request.into_inner()).await?;
        Ok(Response::new(pb::OpenSessionResponse {
            session: session.uid.to_string(),
            lease: Some(duration_to_pb(LEASE)),
            heartbeat_interval: Some(duration_to_pb(HEARTBEAT)),
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        self.session_heartbeat(&request.into_inner().session).await.map_err(over)?;
        Ok(Response::new(pb::HeartbeatResponse {}))
    }

    async fn close_session(
        &self,
        request: Request<pb::CloseSessionRequest>,
    ) -> Result<Response<pb::CloseSessionResponse>, Status> {
        self.session_close(&request.into_inner().session).await.map_err(over)?;
        Ok(Response::new(pb::CloseSessionResponse {}))
    }

    async fn acquire_work(
        &self,
        request: Request<pb::AcquireWorkRequest>,
    ) -> Result<Response<pb::AcquireWorkResponse>, Status> {
        let items = self.work_acquire(request.into_inner()).await.map_err(over)?;
        Ok(Response::new(pb::AcquireWorkResponse { items }))
    }

    async fn report_runs(
        &self,
        request: Request<pb::ReportRunsRequest>,
    ) -> Result<Response<pb::ReportRunsResponse>, Status> {
        let pb::ReportRunsRequest { session, reports } = request.into_inner();
        let session = parse_session(&session)?;
        if reports.len() > REPORTS_MAX {
            return Err(ApiError::from(Invalid::one("reports", format!("must be at most {REPORTS_MAX}"))).into());
        }
        let results = self.reports(session, reports).await.map_err(over)?;
        self.platform.feed.ring();
        Ok(Response::new(pb::ReportRunsResponse { results }))
    }

    async fn claim_start(
        &self,
        request: Request<pb::ClaimStartRequest>,
    ) -> Result<Response<pb::ClaimStartResponse>, Status> {
        let (key, ticket, token) = claim_from_pb(request.into_inner()).map_err(ApiError::from)?;
        let answer = self.claim_start(key, ticket, &token).await?;
        Ok(Response::new(pb::ClaimStartResponse { answer: answer as i32 }))
    }
}

/// A session that is not known, or no longer open, is over.
fn over(error: ApiError) -> ApiError {
    match error {
        ApiError::Store(StoreError::NotFound(_) | StoreError::Fenced) => ApiError::SessionOver,
        error => error,
    }
}

impl Api {
    /// Takes reports in, one after the other; what is gone is written down together.
    async fn reports(
        &self,
        session: SessionUid,
        reports: Vec<pb::RunReport>,
    ) -> Result<Vec<pb::ReportResult>, ApiError> {
        let (mut results, mut removed) = (Vec::with_capacity(reports.len()), Vec::new());
        for report in reports {
            let (key, fence, report) =
                report_from_pb(report).map_err(|error| Invalid::one("reports", error.to_string()))?;
            let outcome = match report {
                Report::Seen(seen) => self.report(session, key, fence, seen).await?,
                Report::Removed { run } => {
                    removed.push((key.task, run));
                    pb::ReportOutcome::Accepted
                }
            };
            results.push(pb::ReportResult { outcome: outcome as i32 });
        }
        self.platform.store.runs_removed(session, &removed).await?;
        Ok(results)
    }

    /// Takes one report in. Repeats are fine: the row decides, and says how the executor is to go on.
    async fn report(
        &self,
        session: SessionUid,
        key: RunKey,
        fence: Fence,
        seen: Observed,
    ) -> Result<pb::ReportOutcome, ApiError> {
        let store = &self.platform.store;
        for _ in 0..TRIES {
            let task = match store.task_get_by_uid(key.task).await {
                Err(StoreError::NotFound(_)) => return Ok(pb::ReportOutcome::Fenced),
                task => task?,
            };
            if task.attempt != key.attempt {
                // A later attempt, or none: this one's end is known.
                return Ok(settled(&seen));
            }
            // A run's start deadline counts from its making, by the clock that judges it.
            let at = match &seen {
                Observed::Made { .. } => store.now().await?,
                Observed::Started { .. }
                | Observed::Waits { .. }
                | Observed::Noted { .. }
                | Observed::Over { .. }
                | Observed::NotMade { .. } => self.platform.clock.now(),
            };
            match task.clone().observe(seen.clone(), at) {
                Err(refused) => {
                    tracing::info!(task.name = %task.name, %refused, "report refused");
                    return Ok(pb::ReportOutcome::Fenced);
                }
                Ok(None) => return self.known(&task, session, fence, &seen).await,
                Ok(Some(step)) => {
                    match store.task_report(&step, session, fence).instrument(reported(&task, &seen)).await {
                        Err(StoreError::Conflict(_)) => {}
                        Err(StoreError::Fenced) => {
                            tracing::info!(task.name = %task.name, "report fenced");
                            return Ok(pb::ReportOutcome::Fenced);
                        }
                        Ok(()) => {
                            if let Observed::Made { .. } = &seen {
                                self.meters.made(&task, at);
                            }
                            return Ok(pb::ReportOutcome::Accepted);
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Err(StoreError::Conflict(key.to_string()).into())
    }

    /// The answer to a report that changes nothing.
    async fn known(
        &self,
        task: &Task,
        session: SessionUid,
        fence: Fence,
        seen: &Observed,
    ) -> Result<pb::ReportOutcome, ApiError> {
        if task.state.kind().is_final() {
            return Ok(settled(seen));
        }
        let owner = self.platform.store.task_owner(task.uid).await?;
        let owned = owner.is_some_and(|(owner, current)| owner.uid == session && current == fence);
        Ok(match (owned, task.state.kind()) {
            (false, _) => pb::ReportOutcome::Fenced,
            (true, StateKind::Cancelling) => pb::ReportOutcome::Cancelling,
            (true, _) => pb::ReportOutcome::Accepted,
        })
    }
}

/// For an attempt that is over: its end may be told again, but nothing of it may go on.
fn settled(seen: &Observed) -> pb::ReportOutcome {
    match seen {
        Observed::Over { .. } | Observed::NotMade { .. } => pb::ReportOutcome::Accepted,
        Observed::Made { .. } | Observed::Started { .. } | Observed::Waits { .. } | Observed::Noted { .. } => {
            pb::ReportOutcome::Fenced
        }
    }
}

/// One call brings reports on many Tasks. Each is a part of the trace of its own Task, beside the call's.
fn reported(task: &Task, seen: &Observed) -> Span {
    let Some(trace) = &task.trace else { return Span::none() };
    let what = match seen {
        Observed::Made { .. } => "made",
        Observed::Started { .. } => "started",
        Observed::Waits { .. } => "waits",
        Observed::Noted { .. } => "noted",
        Observed::Over { .. } => "over",
        Observed::NotMade { .. } => "not-made",
    };
    let span = tracing::info_span!(parent: None, "task.report", task.report = what, task.name = %task.name);
    telemetry::continue_from(&span, trace);
    telemetry::link(&span, &Span::current());
    span
}
