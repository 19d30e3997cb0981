//! Settings of an executor.

use taskplane_domain::Name;

/// Settings of an executor.
#[derive(Debug, Clone, clap::Args)]
pub struct ExecutorArgs {
    /// Name of this executor, the same over restarts; a second one of that name ends the first one's session;
    /// `local` in the standalone
    #[arg(long, env = "TASKPLANE_EXECUTOR_NAME", value_name = "NAME")]
    pub executor_name: Option<Name>,
    /// Most Tasks that run here at once
    #[arg(long, env = "TASKPLANE_CAPACITY", default_value = "64", value_name = "RUNS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub capacity: u32,
}
