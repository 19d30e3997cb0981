//! The one loop shape: listen, then look; a doorbell or a jittered period; back off on errors.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::Notify;

use crate::lifecycle::Lifecycle;

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Wakes a worker. Rings while nobody listens are kept, several as one.
#[derive(Debug, Clone, Default)]
pub struct Doorbell(Arc<Notify>);

impl Doorbell {
    pub fn ring(&self) {
        self.0.notify_one();
    }

    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// What a pass found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// There is more at once.
    More,
    Idle,
    /// Nothing before this time, though a ring may come earlier.
    IdleFor(Duration),
}

/// Runs `pass` at the start, at each ring, and each `period`, until the process is to stop. A pass takes no input and can be
/// repeated without harm.
pub async fn run<F, Fut>(name: &'static str, lifecycle: &Lifecycle, doorbell: &Doorbell, period: Duration, mut pass: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Pass>>,
{
    let mut backoff = BACKOFF_FIRST;
    loop {
        let pause = tokio::select! {
            biased;
            () = lifecycle.hard().cancelled() => return,
            result = pass() => match result {
                Ok(Pass::More) => {
                    backoff = BACKOFF_FIRST;
                    Duration::ZERO
                }
                Ok(Pass::Idle) => {
                    backoff = BACKOFF_FIRST;
                    jittered(period)
                }
                Ok(Pass::IdleFor(pause)) => {
                    backoff = BACKOFF_FIRST;
                    pause.max(Duration::from_millis(1))
                }
                Err(error) => {
                    tracing::warn!(worker = name, error = format!("{error:#}"), "pass failed, trying again");
                    tokio::select! {
                        () = lifecycle.soft().cancelled() => return,
                        () = tokio::time::sleep(jittered(backoff)) => {}
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    Duration::ZERO
                }
            },
        };
        if pause.is_zero() && !lifecycle.soft().is_cancelled() {
            continue;
        }
        tokio::select! {
            biased;
            () = lifecycle.soft().cancelled() => return,
            () = doorbell.rung() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Between three quarters and five quarters of `period`, so that replicas do not march in step.
pub fn jittered(period: Duration) -> Duration {
    period.mul_f64(rand::rng().random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn a_ring_before_the_wait_is_not_lost() {
        let (lifecycle, doorbell, passes) = (Lifecycle::new(), Doorbell::default(), AtomicU32::new(0));
        doorbell.ring();
        run("test", &lifecycle, &doorbell, Duration::from_secs(3600), || async {
            if passes.fetch_add(1, Ordering::SeqCst) == 1 {
                lifecycle.soft().cancel();
            }
            Ok(Pass::Idle)
        })
        .await;
        assert_eq!(passes.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_pass_is_tried_again() {
        let (lifecycle, doorbell, passes) = (Lifecycle::new(), Doorbell::default(), AtomicU32::new(0));
        run("test", &lifecycle, &doorbell, Duration::from_secs(3600), || async {
            if passes.fetch_add(1, Ordering::SeqCst) < 3 {
                anyhow::bail!("not yet");
            }
            lifecycle.soft().cancel();
            Ok(Pass::Idle)
        })
        .await;
        assert_eq!(passes.load(Ordering::SeqCst), 4);
    }
}
