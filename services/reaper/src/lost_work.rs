//! Executors that fell silent, and the Tasks they leave: what had not started is set free, and what had is LOST, once.

use std::time::Duration;

use taskplane_domain::run::{Fate, Observed};
use taskplane_platform::Platform;
use taskplane_runtime::metrics::{TAKEOVERS, TAKEOVERS_HELP};
use taskplane_runtime::worker::{self, Doorbell, Pass};
use taskplane_store::{Orphan, StoreError};

const SESSIONS: u32 = 50;
const BATCH: u32 = 200;
/// A lease is three times as long.
const PERIOD: Duration = Duration::from_secs(5);

pub(crate) async fn settle(platform: &Platform) {
    worker::run("lost-work", &platform.lifecycle, &Doorbell::default(), PERIOD, || pass(platform)).await;
}

pub(crate) async fn pass(platform: &Platform) -> anyhow::Result<Pass> {
    let takeovers = platform.lifecycle.metrics().counter(TAKEOVERS, TAKEOVERS_HELP, &["how"]);
    let ended = platform.store.sessions_lapse(SESSIONS).await?;
    takeovers.add(&["session-lapsed"], u64::from(ended));
    if ended > 0 {
        tracing::warn!(sessions = ended, "executors fell silent, their sessions are ended");
    }
    let orphans = platform.store.tasks_orphaned(BATCH).await?;
    let found = orphans.len();
    let mut lost = 0;
    for orphan in orphans {
        lost += u32::from(lose(platform, orphan).await?);
    }
    takeovers.add(&["task-lost"], u64::from(lost));
    if ended > 0 || lost > 0 {
        platform.feed.ring();
    }
    Ok(if ended == SESSIONS || (found == BATCH as usize && lost > 0) { Pass::More } else { Pass::Idle })
}

/// False: somebody was faster, be it the executor itself.
async fn lose(platform: &Platform, orphan: Orphan) -> anyhow::Result<bool> {
    let Orphan { task, session, fence, lapsed } = orphan;
    let Some(run) = task.state.run().cloned() else { return Ok(false) };
    let message = match lapsed {
        true => "its executor fell silent, and nobody knows what became of the run",
        false => "its executor stopped and did not come back, and nobody knows what became of the run",
    };
    let fate = Fate::Lost { message: message.to_owned() };
    let now = platform.store.now().await?;
    let Some(step) = task.observe(Observed::Over { run, fate }, now)? else { return Ok(false) };
    match platform.store.task_report(&step, session, fence).await {
        Err(StoreError::Conflict(_) | StoreError::Fenced | StoreError::NotFound(_)) => Ok(false),
        result => {
            result?;
            tracing::warn!(task.name = %step.task().name, "a task is lost with its executor");
            Ok(true)
        }
    }
}
