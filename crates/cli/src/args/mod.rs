//! What can be typed: flags that every command takes, and the list of commands.

mod app;
mod cluster;
mod job;
mod security_group;
mod service;
mod space;
mod task;
pub mod value;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use app::{AppArgs, DeleteAppArgs, PushArgs, ResourceArgs, ScaleArgs};
pub use cluster::{PlacementArgs, SpaceManifestArgs};
pub use job::{
    CreateJobArgs, DeleteJobArgs, DeleteJobScheduleArgs, GapArg, JobArgs, JobHistoryArgs, JobSchedulesArgs, OverlapArg,
    PauseJobArgs, PolicyArg, PreviewArgs, RunJobArgs, ScheduleJobArgs, WhenArgs,
};
pub use security_group::{BindGroupArgs, DeleteGroupArgs, RulesArgs, SecurityGroupArgs};
pub use service::{
    BindServiceArgs, BindingsArgs, ConfigureSpace, DeleteServiceArgs, MaybeSpace, NameArgs, ServiceArgs,
    ServiceSettings, SetEnvArgs, UnbindServiceArgs, UnsetEnvArgs, Variable, WriteServiceArgs,
};
pub use space::{CreateSpaceArgs, DeleteSpaceArgs, SpaceArgs, SpaceResources, SpaceSettings, UpdateSpaceArgs};
pub use task::{
    AbandonArgs, DeleteTaskArgs, EventsArgs, Lines, LogsArgs, RetryArgs, RetryClass, RunArgs, RunTaskArgs, StateArg,
    TaskArgs, TaskPick, TasksArgs, TerminateArgs,
};
pub use value::OrNone;

/// Run Tasks on Apps: push an App, run commands on it, now or on a schedule, follow them, read their logs.
#[derive(Debug, Parser)]
#[command(name = "taskplane", version, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub everywhere: Everywhere,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Everywhere {
    /// Where the api answers; by default what `target` stored, else http://127.0.0.1:7070
    #[arg(long, global = true, env = "TASKPLANE_API", hide_env_values = true, value_name = "URL")]
    pub api: Option<String>,
    /// Authority that vouches for an https api, in PEM; by default what `target` stored, else those that this system trusts
    #[arg(long, global = true, env = "TASKPLANE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The Space to work in; by default what `target` stored
    #[arg(short = 's', long, global = true, env = "TASKPLANE_SPACE", hide_env_values = true)]
    pub space: Option<String>,
    /// Where `target` stores its choice; by default taskplane/config.yaml in the user's configuration directory
    #[arg(long, global = true, env = "TASKPLANE_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The user's configuration directory, where `--config` says nothing
    #[arg(long, global = true, env = "XDG_CONFIG_HOME", hide = true, value_name = "DIR")]
    pub config_home: Option<PathBuf>,
    /// How to print what comes back; `name` prints resource names alone
    #[arg(short = 'o', long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// How long a call may take, retries included; streams and uploads have no limit
    #[arg(long, global = true, env = "TASKPLANE_REQUEST_TIMEOUT", hide_env_values = true, default_value = "30s",
          value_parser = value::positive_duration, value_name = "DURATION")]
    pub request_timeout: Duration,
}

/// The forms an answer can be printed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
    Name,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the targeted api and Space, or store them with -s and --api
    Target,
    /// List Spaces
    Spaces,
    /// Show a Space
    Space(SpaceArgs),
    /// Make a Space
    CreateSpace(CreateSpaceArgs),
    /// Change settings of a Space
    UpdateSpace(UpdateSpaceArgs),
    /// Print what a Space has in a cluster, for an operator to apply where executors may not make it
    SpaceManifest(SpaceManifestArgs),
    /// Delete a Space; with --everything also one that has Apps
    DeleteSpace(DeleteSpaceArgs),
    /// Push an App, from source or a container image, to run Tasks on
    Push(Box<PushArgs>),
    /// List Apps
    Apps,
    /// Show an App
    App(AppArgs),
    /// Change how much memory, disk and CPU an App's Tasks get, or show it
    Scale(ScaleArgs),
    /// Delete an App with its Tasks and their logs
    DeleteApp(DeleteAppArgs),
    /// Show which Tasks an App keeps, and which would go now
    Retention(AppArgs),
    /// List security groups: where Tasks may open connections to
    SecurityGroups,
    /// Show a security group with its rules, and what it is bound to
    SecurityGroup(SecurityGroupArgs),
    /// Make a security group from a file of rules
    CreateSecurityGroup(RulesArgs),
    /// Replace the rules of a security group, for the Tasks that are accepted from now on
    UpdateSecurityGroup(RulesArgs),
    /// Bind a security group to an App, or to all Apps of the Space
    BindSecurityGroup(BindGroupArgs),
    /// End the binding of a security group
    UnbindSecurityGroup(BindGroupArgs),
    /// Delete a security group that is not bound
    DeleteSecurityGroup(DeleteGroupArgs),
    /// List services that Apps can be bound to
    Services,
    /// Show a service, and the Apps that are bound to it
    Service(ServiceArgs),
    /// Make a service from credentials of your own
    CreateUserProvidedService(Box<WriteServiceArgs>),
    /// Change a service, for the Tasks that are accepted from now on
    UpdateUserProvidedService(Box<WriteServiceArgs>),
    /// Delete a service that no App is bound to
    DeleteService(DeleteServiceArgs),
    /// Bind an App to a service
    BindService(BindServiceArgs),
    /// End an App's binding to a service
    UnbindService(UnbindServiceArgs),
    /// List which Apps are bound to which services
    Bindings(BindingsArgs),
    /// Show what VCAP_SERVICES of an App's Tasks looks like, without the credentials: nobody is told those
    VcapServices(AppArgs),
    /// List the names of the variables that an App's Tasks get; values are shown to nobody
    Env(AppArgs),
    /// Set a variable for an App's Tasks
    SetEnv(SetEnvArgs),
    /// Take a variable out of an App
    UnsetEnv(UnsetEnvArgs),
    /// Set a variable for all Apps of the Space
    SetSpaceEnv(Variable),
    /// Take a variable out of the Space
    UnsetSpaceEnv(NameArgs),
    /// Change or show what Apps get from their Space
    #[command(subcommand)]
    ConfigureSpace(ConfigureSpace),
    /// Run a Task on an App
    RunTask(Box<RunTaskArgs>),
    /// List Tasks of the Space, or of one App
    Tasks(TasksArgs),
    /// Show a Task with its attempts
    Task(TaskArgs),
    /// End a Task
    TerminateTask(TerminateArgs),
    /// Say why a Task is not running, or not gone yet
    Why(TaskArgs),
    /// Give up a Task that was to end and is stuck: it fails as LOST
    AbandonTask(AbandonArgs),
    /// Delete a Task with its log
    DeleteTask(DeleteTaskArgs),
    /// Print the logs of an App's Tasks, and follow them
    Logs(LogsArgs),
    /// Make a Job: a Task that runs again and again, on a schedule or when asked
    CreateJob(Box<CreateJobArgs>),
    /// Run a Job's Task once, now
    RunJob(Box<RunJobArgs>),
    /// Set when a Job runs, or add a time
    ScheduleJob(ScheduleJobArgs),
    /// List Jobs
    Jobs,
    /// Show a Job with its schedules
    Job(JobArgs),
    /// List schedules of the Space's Jobs, or of one Job
    JobSchedules(JobSchedulesArgs),
    /// List what became of each time of a Job, and of each run that was asked for
    JobHistory(JobHistoryArgs),
    /// Hold the ticks of a Job back
    PauseJob(PauseJobArgs),
    /// Let the ticks of a Job fire again, from now on
    ResumeJob(JobArgs),
    /// Delete a schedule of a Job
    DeleteJobSchedule(DeleteJobScheduleArgs),
    /// Delete a Job with its Tasks and their logs, and end those that are live
    DeleteJob(DeleteJobArgs),
    /// Show when a schedule would fire, before there is one
    PreviewSchedule(PreviewArgs),
    /// List what happened in the Space, or follow it
    Events(EventsArgs),
    /// Print the completion script for a shell
    Completion {
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the version of this program
    Version,
}
