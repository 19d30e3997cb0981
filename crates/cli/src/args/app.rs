//! Arguments of the commands about Apps.

use std::path::PathBuf;

use clap::Args;

use super::PlacementArgs;
use super::value;

/// How much of the machine a Task may use.
#[derive(Debug, Clone, Default, Args)]
pub struct ResourceArgs {
    /// Memory, for example 256M or 1Gi
    #[arg(short = 'm', long, value_name = "SIZE")]
    pub memory_limit: Option<String>,
    /// Disk, for example 1G
    #[arg(short = 'k', long, value_name = "SIZE")]
    pub disk_quota: Option<String>,
    /// CPU cores, for example 0.5 or 500m
    #[arg(long, value_name = "CORES")]
    pub cpu_cores: Option<String>,
}

#[derive(Debug, Args)]
pub struct PushArgs {
    #[arg(value_name = "APP")]
    pub app: String,
    /// The App runs Tasks only: no route, no long-running process (required, other Apps are not supported)
    #[arg(long)]
    pub task: bool,
    /// The directory to push, or a tar or tar.gz file; by default the current directory
    #[arg(short = 'p', long, value_name = "DIR|FILE", conflicts_with = "docker_image")]
    pub path: Option<PathBuf>,
    /// A container image instead of source
    #[arg(long, value_name = "IMAGE")]
    pub docker_image: Option<String>,
    /// What a Task runs when it brings no command of its own
    #[arg(short = 'c', long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub command: Option<String>,
    /// A variable for the App's Tasks
    #[arg(short = 'e', long = "env", value_name = "KEY=VALUE", value_parser = value::pair)]
    pub env: Vec<(String, String)>,
    /// Forget variables of earlier pushes
    #[arg(long)]
    pub replace_env: bool,
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// How many Tasks this App keeps; 0 means as many as its Space says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub task_retention_count: Option<i32>,
    /// The manifest; by default manifest.yml in the current directory, else in the directory of -p
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "no_manifest")]
    pub manifest: Option<PathBuf>,
    /// Read no manifest
    #[arg(long)]
    pub no_manifest: bool,
    /// The value of ((KEY)) in the manifest
    #[arg(long = "var", value_name = "KEY=VALUE", value_parser = value::pair)]
    pub vars: Vec<(String, String)>,
    #[command(flatten)]
    pub placement: PlacementArgs,
}

#[derive(Debug, Args)]
pub struct AppArgs {
    #[arg(value_name = "APP")]
    pub app: String,
}

#[derive(Debug, Args)]
pub struct ScaleArgs {
    #[arg(value_name = "APP")]
    pub app: String,
    #[command(flatten)]
    pub resources: ResourceArgs,
}

#[derive(Debug, Args)]
pub struct DeleteAppArgs {
    #[arg(value_name = "APP")]
    pub app: String,
    /// Do not ask
    #[arg(short = 'f', long)]
    pub force: bool,
    /// With its Jobs and its live Tasks too, which are ended at once
    #[arg(long)]
    pub everything: bool,
    /// Do not wait until it is gone
    #[arg(long)]
    pub r#async: bool,
}
