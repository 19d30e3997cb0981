//! Settings of the embedded mode.

use std::net::SocketAddr;
use std::path::PathBuf;

use taskplane_api::ApiArgs;
use taskplane_executor::ExecutorArgs;
use taskplane_executor::local::LocalArgs;
use taskplane_platform::DeadlineArgs;
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
    #[command(flatten)]
    pub deadlines: DeadlineArgs,
    #[command(flatten)]
    pub local: LocalArgs,
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
