//! Revisions of Spaces' environments that were replaced and that no Task has.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use taskplane_domain::uid::SpaceUid;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

/// A Task that was born on an environment is accepted, or refused, long before this is over.
const REPLACED: SignedDuration = SignedDuration::from_hours(1);
const BATCH: u32 = 20;
const PERIOD: Duration = Duration::from_secs(3600);

/// How far this walk over the Spaces has come: nobody's business but its own, another replica walks by itself.
type Walk = Mutex<Option<SpaceUid>>;

pub(crate) async fn trim(platform: &Platform) {
    let walk = Walk::default();
    worker::run("old-envs", &platform.lifecycle, &Doorbell::default(), PERIOD, || pass(platform, &walk)).await;
}

async fn pass(platform: &Platform, walk: &Walk) -> anyhow::Result<Pass> {
    let after = *walk.lock().unwrap_or_else(PoisonError::into_inner);
    let before = platform.store.now().await?.checked_sub(REPLACED).unwrap_or(Timestamp::MIN);
    let last = platform.store.space_envs_trim(after, before, BATCH).await?;
    *walk.lock().unwrap_or_else(PoisonError::into_inner) = last;
    Ok(if last.is_some() { Pass::More } else { Pass::Idle })
}
