//! Spaces that are on their way out: their Apps follow them, and the Space goes after the last of them.

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Fact;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Pass};

const PERIOD: Duration = Duration::from_secs(10);

pub(crate) async fn clear(platform: &Platform) {
    let doorbell = platform.bell("deleted-spaces-bell", [Topic::apps(), Topic::spaces()], moves_on);
    worker::run("deleted-spaces", &platform.lifecycle, &doorbell, PERIOD, || pass(platform)).await;
}

async fn pass(platform: &Platform) -> anyhow::Result<Pass> {
    let steps = platform.store.spaces_clear().await?;
    if steps.moved {
        platform.feed.ring();
    }
    Ok(if steps.moved { Pass::More } else { Pass::Idle })
}

fn moves_on(ring: &Ring) -> bool {
    match ring {
        Ring::Missed => true,
        Ring::Removals => false,
        Ring::Event(event) => matches!(event.fact, Fact::SpaceDeleteRequested | Fact::AppDeleted),
    }
}
