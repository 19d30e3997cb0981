//! What deleted Apps leave behind in the object store, cleared away after the rows are gone. The list of it is written in the
//! deleting transaction, so a crash loses nothing.

use std::time::Duration;

use taskplane_runtime::worker::{self, Pass};

use crate::Api;

const BATCH: u32 = 200;
const PERIOD: Duration = Duration::from_secs(60);

pub(crate) async fn clear(api: Api) {
    let (lifecycle, doorbell) = (api.platform.lifecycle.clone(), api.removals.clone());
    worker::run("removals", &lifecycle, &doorbell, PERIOD, || pass(&api)).await;
}

async fn pass(api: &Api) -> anyhow::Result<Pass> {
    let removals = api.platform.store.removals_list(BATCH).await?;
    if removals.is_empty() {
        return Ok(Pass::Idle);
    }
    let mut done = Vec::with_capacity(removals.len());
    for removal in removals {
        api.objects.remove_task_logs(removal.space, removal.task).await?;
        done.push(removal.id);
    }
    api.platform.store.removals_done(&done).await?;
    Ok(Pass::More)
}
