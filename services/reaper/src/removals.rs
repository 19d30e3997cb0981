//! What removed Tasks leave behind in the object store, cleared away after their rows are gone. The list of it is written in
//! the removing transaction, so a crash loses nothing.

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Fact;
use taskplane_logs::Objects;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Pass};

const BATCH: u32 = 200;
const PERIOD: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(1);

pub(crate) async fn clear(platform: &Platform, objects: &Objects) {
    let doorbell = platform.bell("removals-bell", [Topic::tasks()], leaves_something);
    worker::run("removals", &platform.lifecycle, &doorbell, PERIOD, || pass(platform, objects)).await;
}

async fn pass(platform: &Platform, objects: &Objects) -> anyhow::Result<Pass> {
    // Logs that are given up while their Tasks stay join the list first.
    let waiting = platform.store.removals_of_logs(BATCH).await?;
    let removals = platform.store.removals_list(BATCH).await?;
    if removals.is_empty() {
        // What waits does so for an executor's word that nothing of the run is left, which rings no bell.
        return Ok(if waiting { Pass::IdleFor(SOON) } else { Pass::Idle });
    }
    let mut done = Vec::with_capacity(removals.len());
    for removal in removals {
        objects.remove_task_logs(removal.space, removal.task).await?;
        done.push(removal.id);
    }
    platform.store.removals_done(&done).await?;
    Ok(Pass::More)
}

fn leaves_something(ring: &Ring) -> bool {
    match ring {
        Ring::Event(event) => matches!(
            event.fact,
            Fact::TaskRemoved
                | Fact::TaskLogDeleteRequested
                | Fact::TaskSucceeded
                | Fact::TaskFailed
                | Fact::TaskCancelled
        ),
        Ring::Missed => true,
        Ring::Removals => false,
    }
}
