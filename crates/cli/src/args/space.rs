//! Arguments of the commands about Spaces.

use clap::Args;

use super::value;

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
    /// Keep at most this much of each attempt's log, for example 10M; 0 means all of it
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub log_cap: Option<i64>,
}

#[derive(Debug, Args)]
pub struct DeleteSpaceArgs {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Do not ask
    #[arg(short = 'f', long)]
    pub force: bool,
}
