//! Whether the database answers: asked all the time, so that a process that lost it is known to be unready before a caller
//! finds out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use taskplane_runtime::worker::{self, Doorbell, Pass};

use crate::Platform;

/// Between two questions.
const PERIOD: Duration = Duration::from_secs(2);
/// A silence that is not made anything of: a database that starts again, or a slow answer.
const SILENCE: Duration = Duration::from_secs(9);

/// Runs until the process stops.
pub async fn database(platform: Platform) {
    let pulse = platform.lifecycle.vitals().pulse("database");
    let away = AtomicBool::new(false);
    worker::run("database", &platform.lifecycle, &Doorbell::default(), PERIOD, async || {
        match platform.store.ping().await {
            Ok(()) => {
                pulse.within(SILENCE);
                if away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the database answers again");
                }
            }
            Err(error) if !away.swap(true, Ordering::Relaxed) => {
                tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "the database does not answer");
            }
            Err(_) => {}
        }
        Ok(Pass::IdleFor(PERIOD))
    })
    .await;
}
