//! One room per kind of thing that commands are about.

pub mod about;
mod app;
mod cluster;
mod env;
mod event;
mod history;
mod job;
mod logs;
mod preview;
mod push;
mod retention;
mod run;
mod schedule;
mod security_group;
mod service;
mod space;
mod target;
mod task;
mod why;

use std::collections::BTreeMap;
use std::time::Duration;

use taskplane_proto::v1::{ReasonClass, Resources, RetryPolicy};

use crate::args::{Command, ResourceArgs, RetryArgs};
use crate::context::Context;
use crate::failure::Failure;

pub async fn dispatch(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Target => target::target(context).await,
        Command::Spaces => space::list(context).await,
        Command::Space(args) => space::show(context, args).await,
        Command::CreateSpace(args) => space::create(context, args).await,
        Command::UpdateSpace(args) => space::update(context, args).await,
        Command::SpaceManifest(args) => cluster::space_manifest(context, args).await,
        Command::DeleteSpace(args) => space::delete(context, args).await,
        Command::Push(args) => push::push(context, *args).await,
        Command::Apps => app::list(context).await,
        Command::App(args) => app::show(context, args).await,
        Command::Scale(args) => app::scale(context, args).await,
        Command::DeleteApp(args) => app::delete(context, args).await,
        Command::Retention(args) => retention::retention(context, args).await,
        Command::SecurityGroups => security_group::list(context).await,
        Command::SecurityGroup(args) => security_group::show(context, args).await,
        Command::CreateSecurityGroup(args) => security_group::create(context, args).await,
        Command::UpdateSecurityGroup(args) => security_group::update(context, args).await,
        Command::BindSecurityGroup(args) => security_group::bind(context, args).await,
        Command::UnbindSecurityGroup(args) => security_group::unbind(context, args).await,
        Command::DeleteSecurityGroup(args) => security_group::delete(context, args).await,
        Command::Services => service::list(context).await,
        Command::Service(args) => service::show(context, args).await,
        Command::CreateUserProvidedService(args) => service::create(context, *args).await,
        Command::UpdateUserProvidedService(args) => service::update(context, *args).await,
        Command::DeleteService(args) => service::delete(context, args).await,
        Command::BindService(args) => service::bind(context, args).await,
        Command::UnbindService(args) => service::unbind(context, args).await,
        Command::Bindings(args) => service::bindings(context, args).await,
        Command::VcapServices(args) => service::vcap_services(context, args).await,
        Command::Env(args) => env::show(context, args).await,
        Command::SetEnv(args) => env::set(context, args).await,
        Command::UnsetEnv(args) => env::unset(context, args).await,
        Command::SetSpaceEnv(variable) => env::set_space(context, None, variable).await,
        Command::UnsetSpaceEnv(args) => env::unset_space(context, None, args.name).await,
        Command::ConfigureSpace(what) => env::configure(context, what).await,
        Command::RunTask(args) => run::run_task(context, *args).await,
        Command::Tasks(args) => task::list(context, args).await,
        Command::Task(args) => task::show(context, args).await,
        Command::TerminateTask(args) => task::terminate(context, args).await,
        Command::Why(args) => why::why(context, args).await,
        Command::AbandonTask(args) => why::abandon(context, args).await,
        Command::DeleteTask(args) => task::delete(context, args).await,
        Command::Logs(args) => logs::logs(context, args).await,
        Command::CreateJob(args) => job::create(context, *args).await,
        Command::RunJob(args) => run::run_job(context, *args).await,
        Command::ScheduleJob(args) => schedule::set(context, args).await,
        Command::Jobs => job::list(context).await,
        Command::Job(args) => job::show(context, args).await,
        Command::JobSchedules(args) => schedule::list(context, args).await,
        Command::JobHistory(args) => history::history(context, args).await,
        Command::PauseJob(args) => job::pause(context, args).await,
        Command::ResumeJob(args) => job::resume(context, args).await,
        Command::DeleteJobSchedule(args) => schedule::delete(context, args).await,
        Command::DeleteJob(args) => job::delete(context, args).await,
        Command::PreviewSchedule(args) => preview::preview(context, args).await,
        Command::Events(args) => event::events(context, args).await,
        Command::Completion { shell } => about::completion(context.screen(), shell),
        Command::Version => about::version(&context.printer),
    }
}

/// Page size of lists: the largest the api gives.
const PAGE: i32 = 500;

fn resources(args: ResourceArgs) -> Option<Resources> {
    let ResourceArgs { memory_limit, disk_quota, cpu_cores } = args;
    let resources = Resources {
        memory: memory_limit.unwrap_or_default(),
        disk: disk_quota.unwrap_or_default(),
        cpu: cpu_cores.unwrap_or_default(),
    };
    (resources != Resources::default()).then_some(resources)
}

/// Of pairs with the same name the last one counts.
fn map(pairs: Vec<(String, String)>) -> BTreeMap<String, String> {
    pairs.into_iter().collect()
}

fn retry_policy(args: RetryArgs) -> Option<RetryPolicy> {
    let RetryArgs { max_attempts, retry_on, backoff, retry_unknown } = args;
    if max_attempts.is_none() && retry_on.is_empty() && backoff.is_none() && !retry_unknown {
        return None;
    }
    Some(RetryPolicy {
        max_attempts: max_attempts.unwrap_or_default(),
        backoff: backoff.map(duration),
        retry_on: retry_on.into_iter().map(|class| ReasonClass::from(class).into()).collect(),
        retry_unknown,
    })
}

/// As the api takes it.
fn duration(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() }
}
