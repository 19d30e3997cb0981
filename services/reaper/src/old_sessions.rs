//! Sessions of executors that ended, forgotten after a day: until then a late caller is told what became of its session.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

const KEPT: SignedDuration = SignedDuration::from_hours(24);
const BATCH: u32 = 1000;
const PERIOD: Duration = Duration::from_secs(3600);

pub(crate) async fn trim(platform: &Platform) {
    worker::run("old-sessions", &platform.lifecycle, &Doorbell::default(), PERIOD, || pass(platform)).await;
}

async fn pass(platform: &Platform) -> anyhow::Result<Pass> {
    let before = platform.store.now().await?.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let trimmed = platform.store.sessions_trim(before, BATCH).await?;
    Ok(if trimmed == BATCH { Pass::More } else { Pass::Idle })
}
