//! Marked Tasks: their rows go once nothing of their last run is left, which their executors confirm, and all their events
//! are told.

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Fact;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

/// Tasks that one pass takes away.
const BATCH: u32 = 1000;
/// A look without being rung.
const PERIOD: Duration = Duration::from_secs(5);
/// Confirmations ring no bell, so marked Tasks are looked at again: soon after the latest mark, and ever more seldom after it.
const SOON: Duration = Duration::from_millis(100);

/// Rings when something may have been marked; whoever marks in this process rings it too.
pub(crate) fn bell(platform: &Platform) -> Doorbell {
    platform.bell("purge-bell", [Topic::jobs(), Topic::removals()], marks)
}

pub(crate) async fn purge(platform: &Platform, doorbell: &Doorbell) {
    worker::run("purge", &platform.lifecycle, doorbell, PERIOD, || pass(platform)).await;
}

async fn pass(platform: &Platform) -> anyhow::Result<Pass> {
    let store = &platform.store;
    let Some(since) = store.removals_pending().await? else { return Ok(Pass::Idle) };
    if store.removals_purge(BATCH).await? > 0 {
        platform.feed.ring();
        return Ok(Pass::More);
    }
    let forsaken = store.runs_forsake(BATCH).await?;
    Ok(if forsaken > 0 { Pass::More } else { Pass::IdleFor((since / 4).clamp(SOON, PERIOD)) })
}

fn marks(ring: &Ring) -> bool {
    match ring {
        Ring::Missed | Ring::Removals => true,
        Ring::Event(event) => event.fact == Fact::JobDeleteRequested,
    }
}
