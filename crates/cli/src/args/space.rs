//! Arguments of the commands about Spaces.

use std::time::Duration;

use clap::Args;

use super::PlacementArgs;
use super::value::{self, OrNone};

#[derive(Debug, Args)]
pub struct SpaceArgs {
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct CreateSpaceArgs {
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub settings: SpaceSettings,
}

#[derive(Debug, Args)]
pub struct UpdateSpaceArgs {
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub settings: SpaceSettings,
}

/// What can be set on a Space.
#[derive(Debug, Args)]
pub struct SpaceSettings {
    /// A variable for all Apps of the Space; an update replaces all variables by those given
    #[arg(short = 'e', long = "env", value_name = "KEY=VALUE", value_parser = value::pair)]
    pub env: Vec<(String, String)>,
    /// How many Tasks each App keeps; 0 means the default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub task_retention_count: Option<i32>,
    /// How many finished Tasks of each App stay however many are live; 0 means none need stay
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub minimum_finished_tasks: Option<i32>,
    /// Finished Tasks that are older go, for example 30d; `none` means they stay as long as the counts allow
    #[arg(long, value_name = "DURATION", value_parser = value::or_none(value::positive_duration))]
    pub task_retention_age: Option<OrNone<Duration>>,
    /// How many failed Tasks each App keeps; `none` means they count as all others
    #[arg(long, value_name = "N", value_parser = value::or_none(value::count))]
    pub failed_task_retention_count: Option<OrNone<i32>>,
    /// Keep at most this much of each attempt's log, for example 10M; 0 means all of it
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub log_cap: Option<i64>,
    /// Whether the log of a terminated Task goes with it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub delete_terminated_logs: Option<bool>,
    /// How many Tasks may be live; 0 means the default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub live_tasks: Option<i32>,
    /// How many Tasks may run at one time; 0 means no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub running_tasks: Option<i32>,
    /// How many Tasks may wait before the ticks of schedules are held back; 0 means the default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub waiting_tasks: Option<i32>,
    /// End Tasks that bring no timeout of their own after this time; `none` means never
    #[arg(long, value_name = "DURATION", value_parser = value::or_none(value::positive_duration))]
    pub default_timeout: Option<OrNone<Duration>>,
    /// Whether a Task's command asks before it starts, so that a pod that is started again never runs it twice
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub start_ticket: Option<bool>,
    #[command(flatten)]
    pub resources: SpaceResources,
    /// Namespace of its Tasks in a cluster, where its own name does not say
    #[arg(long, value_name = "NAMESPACE", help_heading = "In a cluster")]
    pub namespace: Option<String>,
    #[command(flatten)]
    pub placement: PlacementArgs,
}

/// What Tasks get when nobody says, and between which bounds what they ask for must lie; `none` takes a bound away.
#[derive(Debug, Args)]
pub struct SpaceResources {
    /// Memory of a Task when neither it nor its App says
    #[arg(long, value_name = "MEMORY")]
    pub default_memory: Option<String>,
    #[arg(long, value_name = "DISK")]
    pub default_disk: Option<String>,
    #[arg(long, value_name = "CORES")]
    pub default_cpu: Option<String>,
    /// The least memory that a Task must have
    #[arg(long, value_name = "MEMORY")]
    pub min_memory: Option<String>,
    #[arg(long, value_name = "DISK")]
    pub min_disk: Option<String>,
    #[arg(long, value_name = "CORES")]
    pub min_cpu: Option<String>,
    /// The most memory that a Task may have
    #[arg(long, value_name = "MEMORY")]
    pub max_memory: Option<String>,
    #[arg(long, value_name = "DISK")]
    pub max_disk: Option<String>,
    #[arg(long, value_name = "CORES")]
    pub max_cpu: Option<String>,
}

#[derive(Debug, Args)]
pub struct DeleteSpaceArgs {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Do not ask
    #[arg(short = 'f', long)]
    pub force: bool,
    /// With its Apps, their Jobs and their Tasks too; live ones are ended at once
    #[arg(long)]
    pub everything: bool,
    /// Do not wait until it is gone
    #[arg(long)]
    pub r#async: bool,
}
