//! The one loop shape: listen, then look; a doorbell or a jittered period; back off on errors.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::Notify;
use tracing::{Instrument as _, Span, info_span};

use crate::failpoint::sweep;
use crate::lifecycle::Lifecycle;
use crate::telemetry;
use crate::vitals::PATIENCE;

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Traces that one pass is linked with, at most.
const CALLERS: usize = 32;

/// Wakes a worker. Rings while nobody listens are kept, several as one.
#[derive(Debug, Clone, Default)]
pub struct Doorbell(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: Notify,
    /// Whose traces the rings since the last pass belong to.
    callers: Mutex<Vec<String>>,
}

impl Doorbell {
    pub fn ring(&self) {
        self.0.rung.notify_one();
    }

    /// The same, for something that is a part of a trace.
    pub fn ring_for(&self, traceparent: &str) {
        let mut callers = self.0.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() < CALLERS && !callers.iter().any(|caller| caller == traceparent) {
            callers.push(traceparent.to_owned());
        }
        drop(callers);
        self.ring();
    }

    pub async fn rung(&self) {
        self.0.rung.notified().await;
    }

    fn take_callers(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.callers.lock().unwrap_or_else(PoisonError::into_inner))
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
/// repeated without harm. A pass that does not come to an end makes the process unready.
pub async fn run<F, Fut>(name: &'static str, lifecycle: &Lifecycle, doorbell: &Doorbell, period: Duration, mut pass: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Pass>>,
{
    let pulse = lifecycle.vitals().pulse(name);
    let passes =
        lifecycle.metrics().counter("taskplane_worker_passes_total", "Turns of the loops.", &["worker", "outcome"]);
    let (period, mut backoff) = (sweep(period), BACKOFF_FIRST);
    loop {
        pulse.within(PATIENCE);
        fail::fail_point!(&format!("worker::{name}"));
        let pause = tokio::select! {
            biased;
            () = lifecycle.hard().cancelled() => return,
            result = pass().instrument(span(name, &doorbell.take_callers())) => match result {
                Ok(pass) => {
                    passes.add(&[name, "done"], 1);
                    backoff = BACKOFF_FIRST;
                    match pass {
                        Pass::More => Duration::ZERO,
                        Pass::Idle => jittered(period),
                        Pass::IdleFor(pause) => pause.max(Duration::from_millis(1)),
                    }
                }
                Err(error) => {
                    passes.add(&[name, "failed"], 1);
                    pulse.within(BACKOFF_MAX * 2 + PATIENCE);
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
        pulse.within(pause.saturating_add(PATIENCE));
        tokio::select! {
            biased;
            () = lifecycle.soft().cancelled() => return,
            () = doorbell.rung() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Beside the traces that rang for the pass, linked with each: it is about all that there is to do, and a part of none of them.
fn span(name: &'static str, callers: &[String]) -> Span {
    if callers.is_empty() {
        return Span::none();
    }
    let span = info_span!(parent: None, "worker.pass", worker = name);
    callers.iter().for_each(|caller| telemetry::link_to(&span, caller));
    span
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
    async fn a_pass_that_hangs_is_seen_and_one_that_rests_is_well() {
        let (lifecycle, doorbell) = (Lifecycle::new(), Doorbell::default());
        let passes = AtomicU32::new(0);
        let hour = Duration::from_secs(3600);
        let worker = run("test", &lifecycle, &doorbell, hour, || async {
            if passes.fetch_add(1, Ordering::SeqCst) == 1 {
                std::future::pending::<()>().await;
            }
            Ok(Pass::IdleFor(hour))
        });
        let look = async {
            tokio::time::sleep(hour / 2).await;
            assert!(lifecycle.vitals().ailing().is_empty(), "it rests");
            doorbell.ring();
            tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
            assert!(lifecycle.vitals().ailing().is_empty(), "it may take its time");
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(lifecycle.vitals().ailing(), ["test has not been heard of in time"]);
            lifecycle.hard().cancel();
        };
        tokio::join!(worker, look);
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
