//! Jobs that are on their way out: their Tasks are ended and marked, and the Job goes after the last of them.

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Fact;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

const PERIOD: Duration = Duration::from_secs(10);

pub(crate) async fn clear(platform: &Platform, purge: &Doorbell) {
    let doorbell = platform.bell("deleted-jobs-bell", [Topic::tasks(), Topic::jobs()], moves_on);
    worker::run("deleted-jobs", &platform.lifecycle, &doorbell, PERIOD, || pass(platform, purge)).await;
}

async fn pass(platform: &Platform, purge: &Doorbell) -> anyhow::Result<Pass> {
    let steps = platform.store.jobs_clear().await?;
    if steps.marked {
        purge.ring();
        platform.feed.removals();
    }
    if steps.moved {
        platform.feed.ring();
    }
    Ok(if steps.moved { Pass::More } else { Pass::Idle })
}

fn moves_on(ring: &Ring) -> bool {
    match ring {
        Ring::Missed => true,
        Ring::Removals => false,
        Ring::Event(event) => matches!(
            event.fact,
            Fact::JobDeleteRequested | Fact::TaskSucceeded | Fact::TaskFailed | Fact::TaskCancelled | Fact::TaskRemoved
        ),
    }
}
