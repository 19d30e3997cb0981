//! Arguments of the commands about security groups.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct SecurityGroupArgs {
    #[arg(value_name = "GROUP")]
    pub group: String,
}

#[derive(Debug, Args)]
pub struct RulesArgs {
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// A JSON file with the rules, as Cloud Foundry has them: [{"protocol": "tcp", "destination": "10.0.0.0/8",
    /// "ports": "443"}]; - reads standard input
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

#[derive(Debug, Args)]
pub struct BindGroupArgs {
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// The App
    #[arg(value_name = "APP", required_unless_present = "space_wide", conflicts_with = "space_wide")]
    pub app: Option<String>,
    /// All Apps of the Space
    #[arg(long)]
    pub space_wide: bool,
}

#[derive(Debug, Args)]
pub struct DeleteGroupArgs {
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Do not ask
    #[arg(short = 'f', long)]
    pub force: bool,
}
