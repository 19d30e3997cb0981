//! Revisions of Apps that are not the present ones and that no Task has.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use taskplane_domain::uid::AppUid;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

const BATCH: u32 = 20;
const PERIOD: Duration = Duration::from_secs(3600);

/// How far this walk over the Apps has come: nobody's business but its own, another replica walks by itself.
type Walk = Mutex<Option<AppUid>>;

pub(crate) async fn trim(platform: &Platform) {
    let walk = Walk::default();
    worker::run("old-revisions", &platform.lifecycle, &Doorbell::default(), PERIOD, || pass(platform, &walk)).await;
}

async fn pass(platform: &Platform, walk: &Walk) -> anyhow::Result<Pass> {
    let after = *walk.lock().unwrap_or_else(PoisonError::into_inner);
    let last = platform.store.app_revisions_trim(after, BATCH).await?;
    *walk.lock().unwrap_or_else(PoisonError::into_inner) = last;
    Ok(if last.is_some() { Pass::More } else { Pass::Idle })
}
