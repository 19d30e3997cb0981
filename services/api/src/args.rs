//! Settings of the api.

use std::num::NonZeroU32;
use std::time::Duration;

use taskplane_domain::task::Deadlines;

/// Settings of the api.
#[derive(Debug, Clone, clap::Args)]
pub struct ApiArgs {
    /// RunTask calls per second that one Space may make in the long run
    #[arg(long, env = "TASKPLANE_RUN_TASK_RATE", default_value = "50", value_name = "PER_SECOND")]
    pub run_task_rate: NonZeroU32,
    /// RunTask calls that one Space may make at once, beyond the rate
    #[arg(long, env = "TASKPLANE_RUN_TASK_BURST", default_value = "1000", value_name = "CALLS")]
    pub run_task_burst: NonZeroU32,
    /// Largest source archive, in bytes as uploaded
    #[arg(long, env = "TASKPLANE_SOURCE_MAX_BYTES", default_value = "1073741824", value_name = "BYTES")]
    pub source_max_bytes: u64,
    /// Most bytes that a source archive may unpack to
    #[arg(long, env = "TASKPLANE_SOURCE_MAX_UNPACKED_BYTES", default_value = "4294967296", value_name = "BYTES")]
    pub source_max_unpacked_bytes: u64,
    /// Do not describe the API to clients that ask (gRPC reflection)
    #[arg(long, env = "TASKPLANE_NO_REFLECTION")]
    pub no_reflection: bool,
    /// How long the public port goes on to serve calls after its health has turned.
    #[arg(skip)]
    pub notice: Duration,
    /// When Tasks are called stuck; the same as the reaper's.
    #[arg(skip)]
    pub deadlines: Deadlines,
}
