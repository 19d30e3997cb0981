//! Tasks whose run was made and not started in time: they are ended, and the attempt fails.

use std::time::Duration;

use taskplane_domain::task::{Deadlines, Task};
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};
use taskplane_store::Late;

use crate::late;

const BATCH: u32 = 200;
const PERIOD: Duration = Duration::from_secs(60);

pub(crate) async fn give_up(platform: &Platform, deadlines: &Deadlines) {
    worker::run("late-starts", &platform.lifecycle, &Doorbell::default(), PERIOD, || pass(platform, deadlines)).await;
}

async fn pass(platform: &Platform, deadlines: &Deadlines) -> anyhow::Result<Pass> {
    let Late { now, tasks, next } = platform.store.tasks_not_started(deadlines, BATCH).await?;
    let decided = late::decide(platform, tasks, |task: Task| task.give_up_starting(now)).await?;
    Ok(late::rest(decided, BATCH, next, PERIOD))
}
