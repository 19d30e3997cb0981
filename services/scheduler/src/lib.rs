//! The scheduler: makes the Tasks that schedules call for. Any number may run; the rows keep them apart.
//!
//! A pass claims the Jobs with schedules due by the database's clock, has the domain decide each of them, and writes ledger,
//! Tasks, events and cursors in the same transaction. Between passes it sleeps until the next schedule is due, or until the
//! bus tells of a change to one. No time is kept in memory, so none can be forgotten.

pub mod process;

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::{Event, Fact};
use taskplane_domain::job::decide;
use taskplane_domain::name::Name;
use taskplane_domain::schedule::tzdb_release;
use taskplane_platform::Platform;
use taskplane_runtime::failpoint::sweep;
use taskplane_runtime::worker::{self, Pass};

/// Jobs that one transaction takes on.
const BATCH: u32 = 500;
/// A look without being rung, for what other processes changed while the bus was away.
const PERIOD: Duration = Duration::from_secs(30);
/// A little late is better than in vain: what is due is due by the database's clock.
const SLACK: Duration = Duration::from_millis(2);
const LATENESS: &str = "taskplane_schedule_lateness_seconds";
/// When to look again at what another replica is deciding.
const LOCKED: Duration = Duration::from_millis(50);

/// Runs until the process is asked to stop.
pub async fn run(platform: Platform, cluster: Name) -> anyhow::Result<()> {
    let doorbell = platform.bell("scheduler-bell", [Topic::jobs()], moves_a_schedule);
    worker::run("scheduler", &platform.lifecycle, &doorbell, PERIOD, || pass(&platform, &cluster)).await;
    Ok(())
}

/// One turn: whatever is due now, at most a batch of it.
pub async fn pass(platform: &Platform, cluster: &Name) -> anyhow::Result<Pass> {
    if !platform.store.zones_claim(tzdb_release()).await? {
        tracing::warn!(tzdb = tzdb_release(), "another scheduler has newer time zone data: this one makes no ticks");
        return Ok(Pass::IdleFor(PERIOD));
    }
    let ticked = platform.store.ticks_pass(BATCH, cluster.clone(), decide).await?;
    let lateness = platform.lifecycle.metrics().histogram(LATENESS, "By how much ticks were decided late.", &[]);
    ticked.late.iter().for_each(|late| lateness.took(&[], *late));
    if ticked.jobs > 0 {
        platform.feed.ring();
        tracing::debug!(jobs = ticked.jobs, tasks = ticked.tasks, "ticked");
    }
    if ticked.more {
        return Ok(Pass::More);
    }
    let (next, period) = (platform.store.ticks_next_due().await?, sweep(PERIOD));
    Ok(Pass::IdleFor(match next {
        None => period,
        // Due, and locked by another replica, which is at it.
        Some(next) if next.is_zero() => LOCKED,
        Some(next) => (next + SLACK).min(period),
    }))
}

/// Its own ticks are no news to a scheduler.
fn moves_a_schedule(ring: &Ring) -> bool {
    let own = |event: &Event| {
        matches!(event.fact, Fact::JobRunStarted | Fact::JobRunSkipped | Fact::JobRunMissed | Fact::JobRunRefused)
    };
    match ring {
        Ring::Event(event) => !own(event),
        Ring::Missed => true,
        Ring::Removals => false,
    }
}
