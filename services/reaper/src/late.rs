//! What the chores about late Tasks share: each Task is decided on by itself, and whoever was faster is right.

use std::time::Duration;

use taskplane_domain::task::{Task, Transition};
use taskplane_platform::Platform;
use taskplane_runtime::worker::Pass;
use taskplane_store::StoreError;

/// How many were changed.
pub(crate) async fn decide<F>(platform: &Platform, tasks: Vec<Task>, decide: F) -> anyhow::Result<u32>
where
    F: Fn(Task) -> Option<Transition>,
{
    let mut changed = 0;
    for step in tasks.into_iter().filter_map(decide) {
        match platform.store.task_commit(&step).await {
            // It ended, or another reaper was here.
            Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => {}
            result => {
                result?;
                changed += 1;
            }
        }
    }
    if changed > 0 {
        platform.feed.ring();
    }
    Ok(changed)
}

/// When to look again: at once behind a full batch, else when the next one is late.
pub(crate) fn rest(changed: u32, batch: u32, next: Option<Duration>, period: Duration) -> Pass {
    if changed >= batch {
        return Pass::More;
    }
    // The database judges to the microsecond: a little late is better than in vain.
    Pass::IdleFor(next.map_or(period, |next| (next + Duration::from_millis(5)).min(period)))
}
