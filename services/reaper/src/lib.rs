//! The reaper: what is to end comes to its end here, and what is left of it is cleared away.
//!
//! One chore, one file, one worker. Each decides in the database, so any number of reapers may run at once.

mod args;
mod asked_removals;
mod deleted_apps;
mod deleted_jobs;
mod deleted_spaces;
mod hints;
mod histories;
mod late;
mod late_ends;
mod late_starts;
mod lost_work;
mod old_envs;
mod old_groups;
mod old_revisions;
mod old_runs;
mod old_services;
mod old_sessions;
mod old_sources;
pub mod process;
mod purge;
mod removals;
mod retention;

use taskplane_logs::Objects;
use taskplane_platform::Platform;

pub use args::ReaperArgs;

/// Runs until the process is asked to stop.
pub async fn run(platform: Platform, objects: Objects, args: ReaperArgs) -> anyhow::Result<()> {
    let purge_bell = purge::bell(&platform);
    let purge = purge::purge(&platform, &purge_bell);
    let jobs = deleted_jobs::clear(&platform, &purge_bell);
    let apps = deleted_apps::clear(&platform, &purge_bell);
    let spaces = deleted_spaces::clear(&platform);
    let asked = asked_removals::mark(&platform, &purge_bell);
    let removals = removals::clear(&platform, &objects);
    let runs = old_runs::trim(&platform);
    let histories = histories::trim(&platform, args.events_kept());
    let sessions = old_sessions::trim(&platform);
    let revisions = old_revisions::trim(&platform);
    let envs = old_envs::trim(&platform);
    let groups = old_groups::trim(&platform);
    let services = old_services::trim(&platform);
    let sources = old_sources::trim(&platform, &objects);
    let retention = retention::mark(&platform, &purge_bell);
    let ends = late_ends::force(&platform, &args.deadlines);
    let starts = late_starts::give_up(&platform, &args.deadlines);
    let lost = lost_work::settle(&platform);
    tokio::join!(
        jobs, apps, spaces, asked, removals, runs, histories, sessions, revisions, envs, groups, services, sources,
        purge, retention, ends, starts, lost
    );
    Ok(())
}
