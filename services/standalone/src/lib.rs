//! The embedded mode: every service in one process, composed from the same parts as anywhere else.
//!
//! It composes and decides nothing: here is the one place that chooses SQLite, the in-process bus and the local backend.

mod args;
mod data;

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use taskplane_api::{ApiArgs, Listeners, LogRoutes};
use taskplane_bus::InProcessBus;
use taskplane_domain::Name;
use taskplane_executor::LiveLogs;
use taskplane_logs::Objects;
use taskplane_platform::process::{database_clock, keys};
use taskplane_platform::{Feed, Platform, database, relay, serve_measures};
use taskplane_reaper::ReaperArgs;
use taskplane_runtime::{Clock, Lifecycle, failpoint, files, inproc, net};
use taskplane_store::{Store, StoreOptions};
use tokio::sync::oneshot;

pub use args::StandaloneArgs;
use data::DataDir;

/// Where Tasks run here.
const CLUSTER: &str = "local";
/// Under this address the api finds the executor beside it.
const HERE: &str = "in-process";
/// Events that a slow listener may be behind before it is told to look for itself.
const BACKLOG: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Settings that can work, as far as can be told without touching anything.
pub struct Settings {
    args: StandaloneArgs,
    database_url: Option<String>,
}

impl StandaloneArgs {
    pub fn check(self) -> anyhow::Result<Settings> {
        ensure!(
            self.listen.ip().is_loopback() || self.insecure_listen,
            "--listen {} is reached by other machines, and nobody is asked who they are: listen on 127.0.0.1, or add --insecure-listen",
            self.listen
        );
        for (flag, file) in [("--token-key-file", &self.token_key_file), ("--secret-key-file", &self.secret_key_file)] {
            file.as_ref().map(|file| keys(flag, file)).transpose()?;
        }
        let database_url = self.database_url.clone();
        database_url.as_deref().map(Store::check).transpose().context("--database-url")?;
        self.local.check()?;
        Ok(Settings { args: self, database_url })
    }
}

impl Settings {
    /// Runs everything until the process is asked to stop.
    pub async fn run(self, lifecycle: Lifecycle) -> anyhow::Result<()> {
        run(lifecycle, self).await
    }
}

/// The executor stops first, and the api once that is through.
async fn run(lifecycle: Lifecycle, settings: Settings) -> anyhow::Result<()> {
    let Settings { args, database_url } = settings;
    let data = DataDir::open(&args.data_dir)?;
    let keys = data.token_keys(args.token_key_file.as_deref())?;
    let url = database_url.unwrap_or_else(|| data.database_url());
    let secrets = data.secret_keys(args.secret_key_file.as_deref())?;
    let store = Store::connect(&url, StoreOptions { clock: database_clock(), ..StoreOptions::new(secrets) }).await?;
    store.migrate().await.context("the database cannot be brought to this version's schema")?;
    store.secrets_check().await?;
    let objects = Objects::open(&data.objects_url())?;
    let deadlines = args.deadlines.deadlines();
    let backend = Arc::new(args.local.open(data.runs(), deadlines.grace, &objects)?);
    let public = net::bind(args.listen, "--listen").await?;
    let address = public.local_addr()?;

    // The api serves until the executor has told it of every end.
    let (control, agent) = (lifecycle.apart(), lifecycle.apart());
    let (to_api, internal) = inproc::pair();
    let (to_executor, live) = inproc::pair();
    let feed = Feed::new(Arc::new(InProcessBus::new(BACKLOG)));
    let platform = Platform {
        clock: Clock::ahead(failpoint::clock_ahead()),
        store: store.clone(),
        feed,
        lifecycle: control.clone(),
    };
    control.spawn("relay", relay(platform.clone()));
    control.spawn("database", database(platform.clone()));
    let routes = LogRoutes::inside(HERE, to_executor);
    let listeners = Listeners { public: net::plain(public), internal };
    let reaper_args = ReaperArgs { deadlines, ..args.reaper.clone() };
    let api_args = ApiArgs { deadlines, ..args.api.clone() };
    let cluster: Name = CLUSTER.parse()?;
    control.spawn_vital("scheduler", taskplane_scheduler::run(platform.clone(), cluster));
    control.spawn_vital("reaper", taskplane_reaper::run(platform.clone(), objects.clone(), reaper_args));
    serve_measures(&platform, args.common.metrics_listen, deadlines).await?;
    let api = taskplane_api::run(platform, objects.clone(), keys, routes, listeners, api_args);
    let (opened, ready) = oneshot::channel();
    let live = LiveLogs { address: HERE.to_owned(), incoming: live };
    let executor = taskplane_executor::Platform { lifecycle: agent.clone(), api: to_api, objects, backend };
    let executor = taskplane_executor::run(executor, live, args.executor.clone(), opened);

    let announce = async {
        // An error: the executor ended before it was ready, and says why itself.
        if ready.await.is_ok() {
            lifecycle.vitals().well().await;
            let written = args.address_file.as_ref().map_or(Ok(()), |file| {
                files::write_whole(file, &format!("{address}\n"))
                    .with_context(|| format!("--address-file {}", file.display()))
            });
            if written.is_err() {
                agent.soft().cancel();
                return written;
            }
            tracing::info!(%address, data_dir = %args.data_dir.display(), "taskplane is ready");
        }
        anyhow::Ok(())
    };
    let api = async {
        let served = api.await;
        agent.soft().cancel();
        control.ended().await;
        served
    };
    let executor = async {
        let worked = executor.await;
        agent.soft().cancel();
        agent.ended().await;
        control.soft().cancel();
        worked
    };
    let stop = async {
        lifecycle.soft().cancelled().await;
        agent.soft().cancel();
        lifecycle.hard().cancelled().await;
        agent.hard().cancel();
        control.hard().cancel();
        std::future::pending().await
    };
    let (announced, served, worked) = tokio::select! {
        ended = futures::future::join3(announce, api, executor) => ended,
        never = stop => never,
    };
    store.close().await?;
    announced.and(served).and(worked)
}
