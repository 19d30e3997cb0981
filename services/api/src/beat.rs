//! The control plane's own sign of life: as long as this replica takes heartbeats, it says so. Only with that can silence of an
//! executor be told from our own.

use taskplane_domain::session::BEAT;
use taskplane_runtime::worker::{Doorbell, Pass};
use taskplane_runtime::{Lifecycle, worker};
use taskplane_store::Store;

pub(crate) async fn beat(store: Store, lifecycle: Lifecycle) {
    worker::run("beat", &lifecycle, &Doorbell::default(), BEAT, || async {
        store.control_beat().await?;
        Ok(Pass::IdleFor(BEAT))
    })
    .await;
}
