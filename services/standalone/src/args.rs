//! Settings of the embedded mode.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use taskplane_api::ApiArgs;
use taskplane_executor::ExecutorArgs;
use taskplane_reaper::ReaperArgs;
use taskplane_runtime::CommonArgs;

/// Taskplane in one process: SQLite, an in-process bus, Tasks as processes of this machine.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "taskplane-standalone", version = version(), about, long_about = None)]
pub struct StandaloneArgs {
    /// Where the public gRPC API listens; port 0 takes a free one
    #[arg(long, env = "TASKPLANE_LISTEN", default_value = "127.0.0.1:7070", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Listen on an address that other machines reach, although nobody is asked who they are
    #[arg(long, env = "TASKPLANE_INSECURE_LISTEN")]
    pub insecure_listen: bool,
    /// A file to write the address into once the API answers
    #[arg(long, env = "TASKPLANE_ADDRESS_FILE", value_name = "FILE")]
    pub address_file: Option<PathBuf>,
    /// Everything that is kept: database, logs, sources, runs
    #[arg(long, env = "TASKPLANE_DATA_DIR", default_value = "taskplane-data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Another database than the SQLite file in the data directory: sqlite:FILE or postgres://…
    #[arg(long, env = "TASKPLANE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Keys that seal page and resume tokens: one or two lines of 64 hexadecimal digits; made in the data directory when unset
    #[arg(long, env = "TASKPLANE_TOKEN_KEY_FILE", value_name = "FILE")]
    pub token_key_file: Option<PathBuf>,
    /// Keys that seal environment values and credentials in the database, as above; what one sealed is lost without it
    #[arg(long, env = "TASKPLANE_SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// Time between SIGTERM and SIGKILL for a Task that is to end, in seconds
    #[arg(long, env = "TASKPLANE_GRACE", default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    pub grace: Duration,
    /// The taskplane-shim program; beside this one when unset
    #[arg(long, env = "TASKPLANE_SHIM", value_name = "FILE")]
    pub shim: Option<PathBuf>,
    /// What Tasks see as PATH
    #[arg(long, env = "PATH", hide = true)]
    pub task_path: Option<OsString>,
    /// What Tasks see as LANG
    #[arg(long, env = "LANG", hide = true)]
    pub task_lang: Option<OsString>,
    /// What Tasks see as TMPDIR
    #[arg(long, env = "TMPDIR", hide = true)]
    pub task_tmpdir: Option<OsString>,
    #[command(flatten)]
    pub api: ApiArgs,
    #[command(flatten)]
    pub executor: ExecutorArgs,
    #[command(flatten)]
    pub reaper: ReaperArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The release of the time zone database decides when schedules fire, so it is told with the version.
fn version() -> String {
    format!("{} (tzdb {})", env!("CARGO_PKG_VERSION"), taskplane_domain::schedule::tzdb_release())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds like 30 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|grace| *grace <= Duration::from_secs(3600))
        .ok_or_else(|| "must be between 0 and 3600 seconds".to_owned())
}
