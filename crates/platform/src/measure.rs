//! What the control plane tells of itself: the store's measures as gauges.

use std::net::SocketAddr;

use taskplane_domain::task::Deadlines;
use taskplane_runtime::metrics::{self, Gauge, Sample};
use taskplane_store::{Measures, Store};

use crate::Platform;

/// Serves them for as long as the process lives, when it is to.
pub async fn serve_measures(platform: &Platform, at: Option<SocketAddr>, deadlines: Deadlines) -> anyhow::Result<()> {
    let store = platform.store.clone();
    metrics::serve_at(at, &platform.lifecycle, move || measure(store.clone(), deadlines)).await
}

/// As things are at this moment.
pub async fn measure(store: Store, deadlines: Deadlines) -> anyhow::Result<Vec<Gauge>> {
    let Measures { live, stuck, oldest_waiting, unpublished, oldest_unpublished, oldest_due, executors } =
        store.measures(&deadlines).await?;
    let live =
        live.into_iter().map(|(state, count)| Sample { labels: vec![("state", state.as_str())], value: float(count) });
    let stuck = stuck.into_iter().map(|(state, reason, count)| Sample {
        labels: vec![("state", state.as_str()), ("reason", reason.as_str())],
        value: float(count),
    });
    let seconds = |name, help, age: std::time::Duration| Gauge::single(name, help, age.as_secs_f64());
    Ok(vec![
        Gauge { name: "taskplane_tasks_live", help: "Tasks that are not over.", samples: live.collect() },
        Gauge {
            name: "taskplane_tasks_stuck",
            help: "Tasks past their deadline that the control plane can do no more about.",
            samples: stuck.collect(),
        },
        seconds(
            "taskplane_oldest_waiting_seconds",
            "Age of the oldest Task that no executor has taken.",
            oldest_waiting,
        ),
        seconds("taskplane_oldest_due_seconds", "By how much the latest tick is late.", oldest_due),
        Gauge::single("taskplane_outbox_events", "Events that are not on the bus yet.", float(unpublished)),
        seconds("taskplane_outbox_age_seconds", "Age of the oldest of them.", oldest_unpublished),
        Gauge::single("taskplane_executors_open", "Executors whose session holds.", float(executors)),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts beyond 2^53 Tasks")]
fn float(count: u64) -> f64 {
    count as f64
}
