//! What is remembered of things that are gone, forgotten after its time: their events, and the request that made them. A
//! request is recognised for a day at least, since no history goes sooner.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

const BATCH: u32 = 1000;
const PERIOD: Duration = Duration::from_secs(600);

pub(crate) async fn trim(platform: &Platform, kept: SignedDuration) {
    worker::run("histories", &platform.lifecycle, &Doorbell::default(), PERIOD, || pass(platform, kept)).await;
}

async fn pass(platform: &Platform, kept: SignedDuration) -> anyhow::Result<Pass> {
    let before = platform.store.now().await?.checked_sub(kept).unwrap_or(Timestamp::MIN);
    let trimmed = platform.store.histories_trim(before, BATCH).await?;
    // A batch that is not full may still have taken all the histories that it looked at.
    Ok(if trimmed > 0 { Pass::More } else { Pass::Idle })
}
