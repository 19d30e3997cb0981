//! Tasks whose run was made and not started in time: they are ended, and the attempt fails.

use std::time::Duration;

use taskplane_domain::task::{Deadlines, Task};
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Doorbell, Pass};
use taskplane_store::Late;

use crate::late;

const BATCH: u32 = 200;
/// What starts rings no bell here: of one that is not started, this finds out so late at most, and a short deadline by itself
/// once more.
const PERIOD: Duration = Duration::from_secs(60);

pub(crate) async fn give_up(platform: &Platform, deadlines: &Deadlines) {
    let period = PERIOD.min(deadlines.start);
    let pass = || pass(platform, deadlines, period);
    worker::run("late-starts", &platform.lifecycle, &Doorbell::default(), period, pass).await;
}

async fn pass(platform: &Platform, deadlines: &Deadlines, period: Duration) -> anyhow::Result<Pass> {
    let Late { now, tasks, next } = platform.store.tasks_not_started(deadlines, BATCH).await?;
    let decided = late::decide(platform, tasks, |task: Task| task.give_up_starting(now)).await?;
    Ok(late::rest(decided, BATCH, next, period))
}
