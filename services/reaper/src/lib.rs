//! The reaper: what is to end comes to its end here, and what is left of it is cleared away.
//!
//! One chore, one file, one worker. Each decides in the database, so any number of reapers may run at once.

mod deleted_jobs;
mod old_runs;
mod removals;

use taskplane_logs::Objects;
use taskplane_platform::Platform;

/// Runs until the process is asked to stop.
pub async fn run(platform: Platform, objects: Objects) -> anyhow::Result<()> {
    let deletions = deleted_jobs::clear(&platform);
    let removals = removals::clear(&platform, &objects);
    let runs = old_runs::trim(&platform);
    tokio::join!(deletions, removals, runs);
    Ok(())
}
