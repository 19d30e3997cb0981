//! Source archives that no revision of an App needs any more, and uploads whose push never came to anything.
//!
//! The decision is the database's and comes first; then the object goes, then the row. A crash in between leaves a row that says
//! what is still to be done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use taskplane_logs::Objects;
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};

/// Within it a push is committed whose archive has arrived. What was used a moment ago may well be pushed again, too.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
const BATCH: u32 = 200;
const PERIOD: Duration = Duration::from_secs(3600);

/// How far this walk over the archives has come: nobody's business but its own, another replica walks by itself.
#[derive(Default)]
struct Walk {
    after: Mutex<Option<String>>,
    /// What earlier releases left in the object store has its rows.
    adopted: AtomicBool,
}

pub(crate) async fn trim(platform: &Platform, objects: &Objects) {
    let walk = Walk::default();
    let pass = || pass(platform, objects, &walk);
    worker::run("old-sources", &platform.lifecycle, &Doorbell::default(), PERIOD, pass).await;
}

async fn pass(platform: &Platform, objects: &Objects, walk: &Walk) -> anyhow::Result<Pass> {
    let store = &platform.store;
    let given_up = store.sources_removing(BATCH).await?;
    if !given_up.is_empty() {
        for object in &given_up {
            objects.source_remove(object).await?;
        }
        store.sources_removed(&given_up).await?;
        return Ok(Pass::More);
    }
    if !walk.adopted.load(Ordering::Relaxed) {
        store.sources_adopt(&objects.sources_by_digest().await?).await?;
        walk.adopted.store(true, Ordering::Relaxed);
    }
    let after = walk.after.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if after.is_none() {
        store.sources_read().await?;
    }
    let before = store.now().await?.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let last = store.sources_trim(after.as_deref(), before, BATCH).await?;
    let more = last.is_some();
    *walk.after.lock().unwrap_or_else(PoisonError::into_inner) = last;
    Ok(if more { Pass::More } else { Pass::Idle })
}
