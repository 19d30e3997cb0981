//! Tasks that do not end within their grace: the order is given once more, by force. What does not end then either is stuck,
//! which needs no deed of ours: it is so from a certain time on, for whoever looks.

use std::time::Duration;

use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Fact;
use taskplane_domain::task::{Deadlines, Task};
use taskplane_platform::Platform;
use taskplane_runtime::worker::{self, Pass};
use taskplane_store::Late;

use crate::late;

const BATCH: u32 = 200;
/// The bus rings for what is asked for; this finds what it did not ring for.
const PERIOD: Duration = Duration::from_secs(30);

pub(crate) async fn force(platform: &Platform, deadlines: &Deadlines) {
    let doorbell = platform.bell("late-ends-bell", [Topic::tasks()], asks_for_an_end);
    worker::run("late-ends", &platform.lifecycle, &doorbell, PERIOD, || pass(platform, deadlines)).await;
}

async fn pass(platform: &Platform, deadlines: &Deadlines) -> anyhow::Result<Pass> {
    let Late { now, tasks, next } = platform.store.tasks_to_force(deadlines, BATCH).await?;
    let decided = late::decide(platform, tasks, |task: Task| task.force(now)).await?;
    Ok(late::rest(decided, BATCH, next, PERIOD))
}

fn asks_for_an_end(ring: &Ring) -> bool {
    match ring {
        Ring::Event(event) => event.fact == Fact::TaskCancelRequested,
        Ring::Missed => true,
        Ring::Removals => false,
    }
}
