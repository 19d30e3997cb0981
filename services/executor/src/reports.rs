//! Reports: collected for a moment, sent together, repeated until they are answered.

use std::time::Duration;

use taskplane_domain::run::{self, Observed, RunKey};
use taskplane_domain::uid::{Fence, RunUid};
use taskplane_proto::convert::report_to_pb;
use taskplane_proto::internal::v1 as pb;
use taskplane_runtime::worker::jittered;
use tokio::sync::{mpsc, oneshot};
use tonic::Code;

use crate::Platform;
use crate::session::{Session, control, hurried, is_over};

const BATCH: usize = 256;
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How the api says to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    /// End it; do not start it.
    Cancelling,
    /// It is somebody else's, or over: end it and say nothing more.
    Fenced,
}

struct Report {
    report: pb::RunReport,
    answer: oneshot::Sender<Answer>,
}

#[derive(Clone)]
pub(crate) struct Reports(mpsc::Sender<Report>);

impl Reports {
    /// Starts the sender; it ends when nobody can report any more.
    pub fn start(platform: &Platform, session: &Session) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH);
        platform.lifecycle.spawn("reports", send_all(platform.clone(), session.id.clone(), receiver));
        Self(sender)
    }

    /// Tells the api, however long that takes. A run has at most one report under way.
    pub async fn tell(&self, key: RunKey, fence: Fence, seen: Observed) -> Answer {
        self.report(report_to_pb(key, fence, run::Report::Seen(seen))).await
    }

    /// Tells the api that nothing is left of a run.
    pub async fn removed(&self, key: RunKey, fence: Fence, run: RunUid) {
        self.report(report_to_pb(key, fence, run::Report::Removed { run })).await;
    }

    async fn report(&self, report: pb::RunReport) -> Answer {
        let (answer, answered) = oneshot::channel();
        let report = Report { report, answer };
        if self.0.send(report).await.is_err() {
            return Answer::Fenced;
        }
        answered.await.unwrap_or(Answer::Fenced)
    }
}

async fn send_all(platform: Platform, session: String, mut receiver: mpsc::Receiver<Report>) {
    let mut batch = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        let (reports, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|Report { report, answer }| (report, answer)).unzip();
        let outcomes = send(&platform, pb::ReportRunsRequest { session: session.clone(), reports }).await;
        for (index, answer) in answers.into_iter().enumerate() {
            // Its driver may be gone by now; then nobody needs the answer.
            let _ = answer.send(outcomes.get(index).copied().unwrap_or(Answer::Fenced));
        }
    }
}

/// The api's answers; none when the session is over or the process lets go.
async fn send(platform: &Platform, request: pb::ReportRunsRequest) -> Vec<Answer> {
    let mut pause = RETRY;
    loop {
        match control(&platform.api).report_runs(hurried(request.clone())).await {
            Ok(response) => return response.into_inner().results.into_iter().map(answer).collect(),
            Err(status) if is_over(&status) || status.code() == Code::InvalidArgument => {
                tracing::error!(code = ?status.code(), error = status.message(), "reports refused");
                return Vec::new();
            }
            Err(status) => {
                tracing::warn!(code = ?status.code(), error = status.message(), "reports not taken, trying again")
            }
        }
        tokio::select! {
            () = platform.lifecycle.hard().cancelled() => return Vec::new(),
            () = tokio::time::sleep(jittered(pause)) => {}
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
}

fn answer(result: pb::ReportResult) -> Answer {
    match result.outcome() {
        pb::ReportOutcome::Accepted => Answer::Accepted,
        pb::ReportOutcome::Cancelling => Answer::Cancelling,
        pb::ReportOutcome::Fenced | pb::ReportOutcome::Unspecified => Answer::Fenced,
    }
}
