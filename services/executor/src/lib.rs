//! The executor: takes work from the api, has its backend run it, and tells what became of it.
//!
//! An agent: it reaches the api by one connection and the object store by another, and knows neither database nor bus. All it
//! decides is how to carry an order out; what an end means is decided where the rows are.

mod acquire;
mod adopt;
mod args;
pub mod local;
mod pace;
pub mod process;
mod registry;
mod reports;
mod run;
mod session;
mod tail;
#[cfg(feature = "tekton")]
mod tekton;
pub mod tickets;
pub mod tickets_args;

use std::sync::Arc;
use std::time::Duration;

use taskplane_backend::Backend;
use taskplane_logs::Objects;
use taskplane_proto::internal::v1::executor_logs_server::ExecutorLogsServer;
use taskplane_runtime::Lifecycle;
use taskplane_runtime::net::{Incoming, only};
use taskplane_runtime::server::{self, MESSAGE_OUT};
use taskplane_runtime::tls::Role;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

pub use args::ExecutorArgs;
use registry::Registry;
use reports::Reports;
use session::Session;

/// How long a stopping executor waits for its runs to be over and reported.
const DRAIN: Duration = Duration::from_secs(18);

/// What an executor stands on: no store, no bus.
#[derive(Clone)]
pub struct Platform {
    pub lifecycle: Lifecycle,
    /// To the api's internal port.
    pub api: Channel,
    pub objects: Objects,
    pub backend: Arc<dyn Backend>,
}

/// Where output that is not archived yet is served, and under which address the api knows it.
pub struct LiveLogs {
    pub address: String,
    pub incoming: Incoming,
}

/// Everything the parts of an executor share.
#[derive(Clone)]
struct Executor {
    platform: Platform,
    registry: Arc<Registry>,
    reports: Reports,
    /// Runs that outlive this process are let go of: they are another executor's to follow.
    leaving: CancellationToken,
}

/// Runs until the process is asked to stop, then ends what runs, tells of it, and closes its session.
/// `ready` hears of it once work can be taken.
pub async fn run(
    platform: Platform,
    live: LiveLogs,
    args: ExecutorArgs,
    ready: oneshot::Sender<()>,
) -> anyhow::Result<()> {
    let lifecycle = platform.lifecycle.clone();
    let pulse = lifecycle.vitals().pulse("session");
    // Whatever an earlier incarnation left behind has ended before anybody is told that it has.
    let recovered = platform.backend.recover().await?;
    let Some(session) = Session::open(&platform, &args, &live.address, &recovered, &pulse).await? else {
        return Ok(());
    };
    let reports = Reports::start(&platform, &session);
    let executor = Executor { platform, registry: Arc::default(), reports, leaving: CancellationToken::new() };
    executor.settle(recovered).await;
    // Nobody needs to be waiting for it.
    let _ = ready.send(());

    let output = ExecutorLogsServer::new(executor.clone()).max_encoding_message_size(MESSAGE_OUT);
    let routes = Routes::new(InterceptedService::new(output, only(Role::Api)));
    let logs = lifecycle.child();
    let serving = logs.clone();
    lifecycle
        .spawn_vital("live-logs", async move { server::serve(routes, live.incoming, tail::UNHURRIED, &serving).await });
    lifecycle.spawn("changes", executor.clone().listen_to_changes());
    let heartbeat = session.clone().keep_alive(pulse);

    let worked = tokio::select! {
        worked = executor.clone().work(&session, args.capacity) => worked,
        lost = heartbeat => Err(lost),
    };
    if let Err(error) = &worked {
        let rest = if executor.outlives() { "what runs goes on without it" } else { "everything that runs is ended" };
        tracing::error!(error = format!("{error:#}"), "the session is lost, {rest}");
    }
    if executor.outlives() {
        executor.leaving.cancel();
    } else {
        executor.platform.backend.shutdown().await;
    }
    if tokio::time::timeout(DRAIN, executor.registry.empty()).await.is_err() {
        tracing::warn!(runs = executor.registry.len(), "runs left untold: the next session settles them");
    }
    if worked.is_ok() {
        session.close().await;
    }
    logs.soft().cancel();
    logs.hard().cancel();
    worked
}
