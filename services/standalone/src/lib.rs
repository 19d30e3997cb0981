//! The embedded mode: every service in one process, composed from the same parts as anywhere else.
//!
//! It composes and decides nothing: here is the one place that chooses SQLite, the in-process bus and the local backend.

mod args;
mod data;

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures::FutureExt as _;
use taskplane_api::{ApiArgs, Listeners, LogRoutes};
use taskplane_backend::local::{FetchSource, LocalBackend, LocalConfig};
use taskplane_bus::InProcessBus;
use taskplane_domain::Name;
use taskplane_executor::LiveLogs;
use taskplane_logs::Objects;
use taskplane_platform::{Feed, Platform, measure, relay};
use taskplane_reaper::ReaperArgs;
use taskplane_runtime::{Clock, Lifecycle, failpoint, inproc, metrics};
use taskplane_store::{DatabaseClock, Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use args::StandaloneArgs;
use data::DataDir;

/// Where Tasks run here.
const CLUSTER: &str = "local";
/// Under this address the api finds the executor beside it.
const HERE: &str = "in-process";
/// Events that a slow listener may be behind before it is told to look for itself.
const BACKLOG: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Runs everything until the process is asked to stop: the executor first, and the api once that is through.
pub async fn run(lifecycle: Lifecycle, args: StandaloneArgs) -> anyhow::Result<()> {
    ensure!(
        args.listen.ip().is_loopback() || args.insecure_listen,
        "--listen {} is reached by other machines, and nobody is asked who they are: listen on 127.0.0.1, or add --insecure-listen",
        args.listen
    );
    let data = DataDir::open(&args.data_dir)?;
    let keys = data.token_keys(args.token_key_file.as_deref())?;
    let url = args.database_url.clone().unwrap_or_else(|| data.database_url());
    let secrets = data.secret_keys(args.secret_key_file.as_deref())?;
    let store = Store::connect(&url, StoreOptions { clock: database_clock(), ..StoreOptions::new(secrets) }).await?;
    store.migrate().await.context("the database cannot be brought to this version's schema")?;
    store.secrets_check().await?;
    let objects = Objects::open(&data.objects_url())?;
    let backend = Arc::new(LocalBackend::open(local_config(&args, &data, &objects)?)?);
    let public =
        TcpListener::bind(args.listen).await.with_context(|| format!("--listen {} cannot be used", args.listen))?;
    let address = public.local_addr()?;

    // The api serves until the executor has told it of every end.
    let (control, agent) = (Lifecycle::new(), Lifecycle::new());
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
    let routes = LogRoutes::new(HashMap::from([(HERE.to_owned(), to_executor)]));
    let listeners = Listeners { public, internal };
    let reaper_args = ReaperArgs { grace: args.grace, ..args.reaper.clone() };
    let api_args = ApiArgs { deadlines: reaper_args.deadlines(), ..args.api.clone() };
    let cluster: Name = CLUSTER.parse()?;
    control.spawn_vital("scheduler", taskplane_scheduler::run(platform.clone(), cluster));
    control.spawn_vital("reaper", taskplane_reaper::run(platform.clone(), objects.clone(), reaper_args.clone()));
    let api = taskplane_api::run(platform, objects.clone(), keys, routes, listeners, api_args);
    if let Some(at) = args.common.metrics_listen {
        let listener = TcpListener::bind(at).await.with_context(|| format!("--metrics-listen {at} cannot be used"))?;
        tracing::info!(address = %listener.local_addr()?, "measurements are served");
        let (store, deadlines) = (store.clone(), reaper_args.deadlines());
        let measured = move || measure(store.clone(), deadlines);
        control.spawn_vital("metrics", metrics::serve(listener, control.clone(), measured));
    }
    let (opened, ready) = oneshot::channel();
    let live = LiveLogs { address: HERE.to_owned(), incoming: live };
    let executor = taskplane_executor::Platform { lifecycle: agent.clone(), api: to_api, objects, backend };
    let executor = taskplane_executor::run(executor, live, args.executor.clone(), opened);

    let announce = async {
        // An error: the executor ended before it was ready, and says why itself.
        if ready.await.is_ok() {
            let written = args.address_file.as_ref().map_or(Ok(()), |file| {
                write_whole(file, &format!("{address}\n")).with_context(|| format!("--address-file {}", file.display()))
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

/// The database's own, but in tests of what time does to a whole process.
fn database_clock() -> DatabaseClock {
    match failpoint::clock_ahead() {
        0 => DatabaseClock::Database,
        micros => DatabaseClock::Ahead(micros),
    }
}

fn local_config(args: &StandaloneArgs, data: &DataDir, objects: &Objects) -> anyhow::Result<LocalConfig> {
    let objects = objects.clone();
    let fetch: FetchSource = Arc::new(move |archive| {
        let objects = objects.clone();
        async move { objects.source_open(&archive.sha256).await.map_err(io::Error::other) }.boxed()
    });
    Ok(LocalConfig {
        root: data.runs(),
        shim: shim(args)?,
        grace: args.grace,
        path: args.task_path.clone(),
        lang: args.task_lang.clone(),
        tmpdir: args.task_tmpdir.clone(),
        fetch,
    })
}

fn shim(args: &StandaloneArgs) -> anyhow::Result<PathBuf> {
    let path = match &args.shim {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("taskplane-shim"),
    };
    ensure!(
        path.is_file(),
        "{} is not there: install taskplane-shim beside taskplane-standalone, or name it with --shim",
        path.display()
    );
    Ok(path)
}

/// Whoever waits for the file never reads half of it.
fn write_whole(path: &std::path::Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(partial, path)
}
