//! The executor as a process of its own: an agent that reaches the api's internal port and the object store, nothing else.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use taskplane_backend::Backend;
use taskplane_logs::Objects;
use taskplane_runtime::dial::Address;
use taskplane_runtime::internal::{Internal, InternalArgs};
use taskplane_runtime::tls::Role;
use taskplane_runtime::{CommonArgs, Lifecycle, metrics};
use tokio::sync::oneshot;
use tonic::transport::Channel;

use crate::local::LocalArgs;
use crate::tickets_args::{Tickets, TicketsArgs};
use crate::{ExecutorArgs, LiveLogs, Platform, run};

/// The executor of Taskplane: takes work from the api, has it run, and tells what became of it.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "taskplane-executor", version, about, long_about = None)]
pub struct ExecutorProcessArgs {
    /// Where the api's internal port is; several replicas with commas between, of which one is used at a time
    #[arg(
        long,
        env = "TASKPLANE_API_ADDRESS",
        value_name = "HOST:PORT",
        required = true,
        num_args = 1,
        value_delimiter = ','
    )]
    pub api_address: Vec<Address>,
    /// The object store that api, executors and reaper share: file:///absolute/path, on one host
    #[arg(long, env = "TASKPLANE_OBJECTS_URL", value_name = "URL")]
    pub objects_url: String,
    /// Where the api reaches this executor, for output that is not archived yet; port 0 takes a free one
    #[arg(long, env = "TASKPLANE_LOGS_LISTEN", default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    pub logs_listen: SocketAddr,
    /// The same as the api is to dial it; what --logs-listen says when unset
    #[arg(long, env = "TASKPLANE_LOGS_ADVERTISE", value_name = "HOST:PORT")]
    pub logs_advertise: Option<Address>,
    /// What runs the Tasks
    #[arg(long, env = "TASKPLANE_BACKEND", value_enum, default_value_t = BackendKind::Local)]
    pub backend: BackendKind,
    /// What this executor keeps on its host: runs under way, and what they wrote
    #[arg(long, env = "TASKPLANE_DATA_DIR", default_value = "taskplane-executor-data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Time between SIGTERM and SIGKILL for a Task that is to end, in seconds
    #[arg(long, env = "TASKPLANE_GRACE", default_value = "30", value_name = "SECONDS", value_parser = taskplane_runtime::start::seconds)]
    pub grace: Duration,
    #[command(flatten)]
    pub local: LocalArgs,
    #[cfg(feature = "tekton")]
    #[command(flatten)]
    pub tekton: crate::tekton::TektonArgs,
    #[command(flatten)]
    pub executor: ExecutorArgs,
    #[command(flatten)]
    pub tickets: TicketsArgs,
    #[command(flatten)]
    pub internal: InternalArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// Processes of this host; they end with the executor.
    Local,
    /// PipelineRuns of a Kubernetes cluster; they outlive the executor.
    #[cfg(feature = "tekton")]
    Tekton,
}

/// Settings that can work.
pub struct Settings {
    args: ExecutorProcessArgs,
    internal: Internal,
    api: Channel,
    objects: Objects,
    tickets: Option<Tickets>,
}

impl ExecutorProcessArgs {
    pub fn check(self) -> anyhow::Result<Settings> {
        let name = self.executor.executor_name.as_ref().context(
            "--executor-name is missing: a name of this executor's own, the same over restarts; two of one name end each other's sessions",
        )?;
        let internal = self.internal.check_executor(name.as_str())?;
        for api in &self.api_address {
            internal.may_dial(api, "--api-address")?;
        }
        internal.may_listen(self.logs_listen, "--logs-listen")?;
        ensure!(
            self.logs_advertise.is_some() || !self.logs_listen.ip().is_unspecified(),
            "--logs-listen {} says not where the api is to dial: add --logs-advertise HOST:PORT",
            self.logs_listen
        );
        match self.backend {
            BackendKind::Local => self.local.check().map(drop)?,
            #[cfg(feature = "tekton")]
            BackendKind::Tekton => {}
        }
        let api = internal.dial(Role::Api, self.api_address.clone()).context("--api-address must not be dialled")?;
        let objects = Objects::open(&self.objects_url).context("--objects-url")?;
        let tickets = self.tickets.check()?;
        Ok(Settings { args: self, internal, api, objects, tickets })
    }
}

impl Settings {
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        let backend = self.backend().await?;
        let Self { args, internal, api, objects, tickets } = self;
        if let Some(tickets) = tickets {
            tickets.serve(api.clone(), &lifecycle).await?;
        }
        let (address, incoming) = internal.listen(args.logs_listen, "--logs-listen").await?;
        let address = args.logs_advertise.map_or_else(|| address.to_string(), |address| address.to_string());
        let live = LiveLogs { address, incoming };
        // It has nobody to ask: what it did itself is all that it can tell.
        let at = args.common.metrics_listen;
        metrics::serve_at(at, &lifecycle, || async { Ok(Vec::new()) }).await?;
        let (opened, ready) = oneshot::channel();
        lifecycle.spawn("announce", async move {
            if ready.await.is_ok() {
                tracing::info!("the executor is ready");
            }
        });
        run(Platform { lifecycle, api, objects, backend }, live, args.executor, opened).await
    }

    /// The one place that chooses.
    async fn backend(&self) -> anyhow::Result<Arc<dyn Backend>> {
        let args = &self.args;
        match args.backend {
            BackendKind::Local => {
                let directory = args.data_dir.as_path();
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)
                    .with_context(|| format!("--data-dir {} cannot be made", directory.display()))?;
                let directory = std::fs::canonicalize(directory)
                    .with_context(|| format!("--data-dir {} cannot be used", directory.display()))?;
                Ok(Arc::new(args.local.open(directory.join("runs"), args.grace, &self.objects)?))
            }
            #[cfg(feature = "tekton")]
            BackendKind::Tekton => Ok(Arc::new(args.tekton.clone().open().await?)),
        }
    }
}
