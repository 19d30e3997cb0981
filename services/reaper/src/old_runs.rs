//! The ledger of Jobs' runs, trimmed after its time, whether the Job is gone or not.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
const BATCH: u32 = 1000;
const PERIOD: Duration = Duration::from_secs(3600);

pub(crate) async fn trim(platform: &Platform) {
    worker::run("old-runs", &platform.lifecycle, &Doorbell::default(), PERIOD, || pass(platform)).await;
}

async fn pass(platform: &Platform) -> anyhow::Result<Pass> {
    let before = platform.store.now().await?.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let trimmed = platform.store.ledger_trim(before, BATCH).await?;
    Ok(if trimmed == BATCH { Pass::More } else { Pass::Idle })
}
