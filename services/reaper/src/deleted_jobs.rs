//! Jobs that are being deleted: once the last of their Tasks is over, its Tasks go, and then the Job.

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Fact;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Pass};

const BATCH: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

pub(crate) async fn clear(platform: &Platform) {
    let doorbell = platform.bell("deleted-jobs-bell", [Topic::tasks(), Topic::jobs()], may_free_a_job);
    worker::run("deleted-jobs", &platform.lifecycle, &doorbell, PERIOD, || pass(platform)).await;
}

async fn pass(platform: &Platform) -> anyhow::Result<Pass> {
    let cleared = platform.store.jobs_clear(BATCH).await?;
    if cleared > 0 {
        platform.feed.ring();
    }
    Ok(if cleared == BATCH { Pass::More } else { Pass::Idle })
}

fn may_free_a_job(ring: &Ring) -> bool {
    match ring {
        Ring::Missed => true,
        Ring::Event(event) => matches!(
            event.fact,
            Fact::JobDeleteRequested | Fact::TaskSucceeded | Fact::TaskFailed | Fact::TaskCancelled
        ),
    }
}
