//! Which bus the processes of a control plane share: the one place that chooses.

use std::num::NonZeroUsize;
use std::sync::Arc;

use taskplane_bus::{Bus, InProcessBus, NatsBus, NatsOptions};
use taskplane_runtime::Lifecycle;
use tokio::sync::watch;

use crate::nats::NatsArgs;

/// Events that a slow listener may be behind before it is told to look for itself.
const BACKLOG: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
const DROPPED: &str = "taskplane_bus_dropped_total";

/// Settings of the bus.
#[derive(Debug, Clone, clap::Args)]
pub struct BusArgs {
    #[command(flatten)]
    pub nats: NatsArgs,
}

/// Settings that can work.
#[derive(Debug)]
pub(crate) enum CheckedBus {
    /// Rings are heard within this process; what others commit is found by looking on a period.
    Alone,
    Nats(Box<NatsOptions>),
}

impl BusArgs {
    pub(crate) fn check(&self) -> anyhow::Result<CheckedBus> {
        Ok(match self.nats.options()? {
            Some(options) => CheckedBus::Nats(Box::new(options)),
            None => CheckedBus::Alone,
        })
    }
}

impl CheckedBus {
    /// Waits for nobody: a bus that is away is found when it comes.
    pub(crate) async fn open(self, lifecycle: &Lifecycle) -> anyhow::Result<Arc<dyn Bus>> {
        match self {
            Self::Alone => {
                tracing::info!("there is no bus: what other processes commit is found by periodic looks");
                Ok(Arc::new(InProcessBus::new(BACKLOG)))
            }
            Self::Nats(options) => {
                let bus = NatsBus::connect(*options)?;
                lifecycle.spawn("bus-dropped", count_dropped(bus.dropped(), lifecycle.clone()));
                Ok(Arc::new(bus))
            }
        }
    }
}

async fn count_dropped(mut dropped: watch::Receiver<u64>, lifecycle: Lifecycle) {
    let counter = lifecycle.metrics().counter(DROPPED, "Messages from the bus that were no events.", &[]);
    let mut counted = 0;
    loop {
        let now = *dropped.borrow_and_update();
        counter.add(&[], now - counted);
        counted = now;
        if !matches!(lifecycle.soft().run_until_cancelled(dropped.changed()).await, Some(Ok(()))) {
            return;
        }
    }
}
