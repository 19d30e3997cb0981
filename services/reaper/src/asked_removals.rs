//! Tasks that were deleted while they were live: marked for removal once they are over.

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Fact;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

const BATCH: u32 = 200;
const PERIOD: Duration = Duration::from_secs(10);

pub(crate) async fn mark(platform: &Platform, purge: &Doorbell) {
    let doorbell = platform.bell("asked-removals-bell", [Topic::tasks()], is_over);
    worker::run("asked-removals", &platform.lifecycle, &doorbell, PERIOD, || pass(platform, purge)).await;
}

async fn pass(platform: &Platform, purge: &Doorbell) -> anyhow::Result<Pass> {
    let marked = platform.store.removals_asked(BATCH).await?;
    if marked > 0 {
        purge.ring();
        platform.feed.removals();
    }
    Ok(if marked == BATCH { Pass::More } else { Pass::Idle })
}

fn is_over(ring: &Ring) -> bool {
    match ring {
        Ring::Missed => true,
        Ring::Removals => false,
        Ring::Event(event) => matches!(event.fact, Fact::TaskSucceeded | Fact::TaskFailed | Fact::TaskCancelled),
    }
}
