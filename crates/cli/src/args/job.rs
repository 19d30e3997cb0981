//! Arguments of the commands about Jobs, their schedules and their runs.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use taskplane_proto::v1::{ConcurrencyPolicy, GapRule, OverlapRule};

use super::{ResourceArgs, RetryArgs, RunArgs, value};

#[derive(Debug, Args)]
pub struct CreateJobArgs {
    /// The App whose Tasks it runs
    #[arg(value_name = "APP")]
    pub app: String,
    #[arg(value_name = "JOB")]
    pub job: String,
    /// The command, for `/bin/sh -c`; by default the App's own
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
    /// When to run it, in unix cron; without it only `run-job` does
    #[arg(short = 's', long, value_name = "CRON")]
    pub schedule: Option<String>,
    #[command(flatten)]
    pub when: WhenArgs,
    /// A tick that could not start within this time is missed; by default the latest one starts however late
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration)]
    pub deadline: Option<Duration>,
    /// What a tick does when it finds Tasks of the Job still live
    #[arg(short = 'c', long, value_enum, default_value_t = PolicyArg::Always, ignore_case = true, value_name = "POLICY")]
    pub concurrency_policy: PolicyArg,
    /// A variable for the Job's Tasks, on top of the App's
    #[arg(short = 'e', long = "env", value_name = "KEY=VALUE", value_parser = value::pair)]
    pub env: Vec<(String, String)>,
    /// End the command when it runs longer, for example 90s or 1h30m
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub timeout: Option<Duration>,
    /// A label, to find the Job's Tasks by
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::pair)]
    pub labels: Vec<(String, String)>,
    #[command(flatten)]
    pub retry: RetryArgs,
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Accepted as in kf; there is nothing to wait for
    #[arg(long)]
    pub r#async: bool,
    /// The Space to work in; by default what `target` stored (here -s is the schedule, as in kf)
    // Stands in for the flag of the same id that all commands take, whose short form means something else here.
    #[arg(long, env = "TASKPLANE_SPACE", hide_env_values = true, help_heading = "Everywhere")]
    pub space: Option<String>,
}

/// What else there is to say about when a schedule fires.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct WhenArgs {
    /// Whose clock the schedule goes by, for example Europe/Berlin; by default UTC
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// What becomes of a time that the clock jumps over; by default it runs right after
    #[arg(long, value_enum, value_name = "RULE")]
    pub gap: Option<GapArg>,
    /// Which one counts of a time that the clock shows twice; by default the first
    #[arg(long, value_enum, value_name = "RULE")]
    pub overlap: Option<OverlapArg>,
}

/// As kf spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PolicyArg {
    /// Start another one beside them
    Always,
    /// Skip the tick
    Forbid,
    /// Cancel them, and start when they are gone
    Replace,
}

impl From<PolicyArg> for ConcurrencyPolicy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Always => Self::Always,
            PolicyArg::Forbid => Self::Forbid,
            PolicyArg::Replace => Self::Replace,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GapArg {
    RunAfter,
    Skip,
}

impl From<GapArg> for GapRule {
    fn from(rule: GapArg) -> Self {
        match rule {
            GapArg::RunAfter => Self::RunAfter,
            GapArg::Skip => Self::Skip,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OverlapArg {
    First,
    Second,
    Both,
}

impl From<OverlapArg> for OverlapRule {
    fn from(rule: OverlapArg) -> Self {
        match rule {
            OverlapArg::First => Self::First,
            OverlapArg::Second => Self::Second,
            OverlapArg::Both => Self::Both,
        }
    }
}

#[derive(Debug, Args)]
pub struct RunJobArgs {
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Args)]
pub struct ScheduleJobArgs {
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Five fields in quotes (minute, hour, day of month, month, day of week), or a macro like @daily
    #[arg(value_name = "CRON")]
    pub cron: String,
    /// Make another schedule beside those there are
    #[arg(long)]
    pub add: bool,
    /// Which schedule to replace, where there are several; with --add, what to call the new one
    #[arg(long, value_name = "ID")]
    pub schedule: Option<String>,
    #[command(flatten)]
    pub when: WhenArgs,
    /// A tick that could not start within this time is missed; by default the latest one starts however late
    #[arg(long, value_name = "DURATION", value_parser = value::positive_duration)]
    pub deadline: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct JobArgs {
    #[arg(value_name = "JOB")]
    pub job: String,
}

#[derive(Debug, Args)]
pub struct JobSchedulesArgs {
    /// Only schedules of this Job
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// Also those that are suspended
    #[arg(short = 'a', long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct JobHistoryArgs {
    #[arg(value_name = "JOB")]
    pub job: String,
    /// List the Job's Tasks instead, as far as they are kept
    #[arg(long)]
    pub tasks: bool,
    /// At most this many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct DeleteJobScheduleArgs {
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Which of its schedules; needed only where there are several
    #[arg(value_name = "ID|GUID")]
    pub schedule: Option<String>,
}

#[derive(Debug, Args)]
pub struct DeleteJobArgs {
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Do not ask; without a terminal nobody is asked
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Time for its live Tasks to end by themselves, for example 30s; by default they are ended by force
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub grace: Option<Duration>,
    /// Do not wait until it is gone
    #[arg(long)]
    pub r#async: bool,
    /// How often to ask again when the api is not available
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub retries: u32,
    /// How long to wait before asking again
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = value::duration)]
    pub retry_delay: Duration,
}

#[derive(Debug, Args)]
pub struct PauseJobArgs {
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Why, for the next person
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub note: String,
}

#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// Five fields in quotes (minute, hour, day of month, month, day of week), or a macro like @daily
    #[arg(value_name = "CRON")]
    pub cron: String,
    #[command(flatten)]
    pub when: WhenArgs,
    /// How many ticks, at most 1000; by default 10, with --to all
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub count: Option<i32>,
    /// Ticks after this time (2026-03-29T00:00:00Z, or a day in UTC); by default now
    #[arg(long, value_name = "TIME", value_parser = value::time)]
    pub from: Option<Timestamp>,
    /// And not after this one
    #[arg(long, value_name = "TIME", value_parser = value::time)]
    pub to: Option<Timestamp>,
}
