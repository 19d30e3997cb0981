//! The session with the api: opened, kept alive, closed.

use std::time::Duration;

use anyhow::anyhow;
use taskplane_backend::{Recovered, Traits};
use taskplane_domain::Name;
use taskplane_proto::convert::recovered_to_pb;
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::executor_control_client::ExecutorControlClient;
use taskplane_runtime::server::MESSAGE_OUT;
use taskplane_runtime::vitals::{PATIENCE, Pulse};
use taskplane_runtime::worker::jittered;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::Platform;
use crate::args::ExecutorArgs;

/// How long a call other than the long poll may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// The same for a heartbeat: several must fit into a lease.
const BEAT: Duration = Duration::from_secs(4);
const RETRY: Duration = Duration::from_millis(500);
const CLUSTER: &str = "local";

#[derive(Clone)]
pub(crate) struct Session {
    pub id: String,
    heartbeat: Duration,
    api: Channel,
}

pub(crate) fn control(api: &Channel) -> ExecutorControlClient<Channel> {
    ExecutorControlClient::new(api.clone())
        .max_decoding_message_size(MESSAGE_OUT)
        .max_encoding_message_size(MESSAGE_OUT)
}

/// A request that gives up in time.
pub(crate) fn hurried<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// The api says that the session is no more: a repeat would not help.
pub(crate) fn is_over(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
}

impl Session {
    /// Opens a session, however long that takes; None when the process is to stop before.
    pub async fn open(
        platform: &Platform,
        args: &ExecutorArgs,
        logs: &str,
        recovered: &[Recovered],
        pulse: &Pulse,
    ) -> anyhow::Result<Option<Self>> {
        let Traits { adoptable, runs_images, keeps: _ } = platform.backend.traits();
        let request = pb::OpenSessionRequest {
            executor: args.executor_name.as_ref().map_or(CLUSTER, Name::as_str).to_owned(),
            cluster: CLUSTER.to_owned(),
            adoptable,
            runs_images,
            logs_address: logs.to_owned(),
            recovered: recovered
                .iter()
                .cloned()
                .map(|Recovered { key, run, space: _, log_cap: _, fate }| recovered_to_pb(key, run, fate))
                .collect(),
        };
        loop {
            match control(&platform.api).open_session(hurried(request.clone())).await {
                Ok(response) => {
                    let pb::OpenSessionResponse { session, lease: _, heartbeat_interval } = response.into_inner();
                    let interval = heartbeat_interval.and_then(|interval| Duration::try_from(interval).ok());
                    let heartbeat = interval.ok_or_else(|| anyhow!("the api gave no heartbeat interval"))?;
                    pulse.within(heartbeat + PATIENCE / 2);
                    return Ok(Some(Self { id: session, heartbeat, api: platform.api.clone() }));
                }
                Err(status) if status.code() == Code::InvalidArgument => {
                    return Err(anyhow!("the api refused the session: {}", status.message()));
                }
                Err(status) => {
                    tracing::warn!(code = ?status.code(), error = status.message(), "no session yet, trying again")
                }
            }
            tokio::select! {
                () = platform.lifecycle.soft().cancelled() => return Ok(None),
                () = tokio::time::sleep(jittered(RETRY)) => {}
            }
        }
    }

    /// Renews the lease until the session is over; returns why it is.
    pub async fn keep_alive(self, pulse: Pulse) -> anyhow::Error {
        let mut pause = self.heartbeat;
        loop {
            tokio::time::sleep(pause).await;
            let mut request = Request::new(pb::HeartbeatRequest { session: self.id.clone() });
            request.set_timeout(BEAT);
            pause = match control(&self.api).heartbeat(request).await {
                Err(status) if is_over(&status) => return lost(&status),
                Err(status) => {
                    tracing::warn!(code = ?status.code(), error = status.message(), "heartbeat failed");
                    // The lease runs on meanwhile: another replica may answer at once.
                    jittered(RETRY)
                }
                Ok(_) => {
                    pulse.within(self.heartbeat + PATIENCE / 2);
                    self.heartbeat
                }
            }
        }
    }

    /// Gives back what has not started. If this fails the next session of this name does it.
    pub async fn close(&self) {
        if let Err(status) =
            control(&self.api).close_session(hurried(pb::CloseSessionRequest { session: self.id.clone() })).await
        {
            tracing::warn!(code = ?status.code(), error = status.message(), "session not closed");
        }
    }
}

/// Another executor of this name has taken over.
pub(crate) fn lost(status: &Status) -> anyhow::Error {
    anyhow!("the session is over: another executor of this name may have taken over ({})", status.message())
}
