//! Revisions of services that are not the present ones and that nothing refers to any more.

use std::time::Duration;

use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

const BATCH: u32 = 200;
const PERIOD: Duration = Duration::from_secs(3600);

pub(crate) async fn trim(platform: &Platform) {
    worker::run("old-services", &platform.lifecycle, &Doorbell::default(), PERIOD, || pass(platform)).await;
}

async fn pass(platform: &Platform) -> anyhow::Result<Pass> {
    let trimmed = platform.store.service_revisions_trim(BATCH).await?;
    Ok(if trimmed == u64::from(BATCH) { Pass::More } else { Pass::Idle })
}
