//! From `main` to exit code: runtime, telemetry, signals, drain.

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::lifecycle::Lifecycle;
use crate::telemetry::{self, LogFormat};

/// How long a process may take to finish what it has at hand.
pub const DRAIN: Duration = Duration::from_secs(20);

/// Settings that every service has.
#[derive(Debug, Clone, clap::Args)]
pub struct CommonArgs {
    /// Which log lines to write: a level, or levels by module
    #[arg(long, env = "TASKPLANE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How log lines look
    #[arg(long, env = "TASKPLANE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Where traces go by OTLP over gRPC, for example http://127.0.0.1:4317; nowhere when unset
    #[arg(long, env = "TASKPLANE_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Where measurements are served for Prometheus at /metrics, and health at /readyz and /livez; nowhere when unset
    #[arg(long, env = "TASKPLANE_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Look at all settings, say whether they can work, and end
    #[arg(long)]
    pub check_config: bool,
}

/// Runs a service until it ends, or is asked to by SIGTERM or SIGINT. A second signal cuts the drain short.
/// `check` looks at its settings and reaches nobody; `run` gets what it made of them.
pub fn start<S, F, Fut>(
    service: &'static str,
    common: &CommonArgs,
    check: impl FnOnce() -> anyhow::Result<S>,
    run: F,
) -> ExitCode
where
    F: FnOnce(Lifecycle, S) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(service, &error.into()),
    };
    let code = runtime.block_on(async {
        let telemetry = telemetry::init(service, &common.log, common.log_format, common.otlp_endpoint.as_deref());
        let _telemetry = match telemetry {
            Ok(telemetry) => telemetry,
            Err(error) => return refuse(service, &error),
        };
        let settings = match check() {
            Ok(settings) => settings,
            Err(error) => return refuse(service, &error),
        };
        if common.check_config {
            return approve(service);
        }
        crate::failpoint::arm();
        let lifecycle = Lifecycle::new();
        match supervise(&lifecycle, run(lifecycle.clone(), settings)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(service, &error),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn supervise(lifecycle: &Lifecycle, run: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signalled = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("asked to stop, draining");
        lifecycle.vitals().leave();
        lifecycle.soft().cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(DRAIN) => {}
        }
        tracing::warn!("not drained in time, letting go");
        lifecycle.hard().cancel();
        // What does not let go is left behind.
        tokio::time::sleep(Duration::from_secs(5)).await;
    };
    tokio::select! {
        result = async {
            let result = run.await;
            lifecycle.soft().cancel();
            lifecycle.ended().await;
            result
        } => result,
        () = signalled => Ok(()),
    }
}

/// Runs and watchers take a few open files each: what the process may have, it takes. Where it may not, it has what it had.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn approve(service: &str) -> ExitCode {
    println!("{service}: the settings can work");
    ExitCode::SUCCESS
}

/// One line a person can act on.
#[expect(clippy::print_stderr, reason = "the last word of a process, also when there are no logs")]
fn refuse(service: &str, error: &anyhow::Error) -> ExitCode {
    eprintln!("{service}: {error:#}");
    ExitCode::FAILURE
}

/// A time, as a flag has it.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds like 30 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time <= Duration::from_secs(3600))
        .ok_or_else(|| "must be between 0 and 3600 seconds".to_owned())
}
