//! Callers of RunTask: at times fixed in advance, whatever becomes of the calls before; or so many that each wait for their answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

/// One connection's frames are written by one task on either side.
const CONNECTIONS: u64 = 4;

#[derive(Clone)]
pub struct Load {
    doors: Arc<[TaskServiceClient<Channel>]>,
    called: Arc<AtomicU64>,
}

/// What became of the calls of one slice.
pub struct Heard {
    /// Of those that were acknowledged, in order.
    pub latencies: Vec<Duration>,
    /// Those that were not: the first one's reason, and how many.
    pub refused: Option<(tonic::Status, u32)>,
    /// From the first call to the last answer.
    pub took: Duration,
}

impl Load {
    pub fn new(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let doors = (0..CONNECTIONS).map(|_| TaskServiceClient::new(endpoint.connect_lazy())).collect();
        Self { doors, called: Arc::new(AtomicU64::new(0)) }
    }

    /// Open loop: a latency counts from when the call was meant to be made, so that a server that stalls does not hide it by
    /// stalling the callers.
    pub async fn open(&self, rate: f64, window: Duration) -> Heard {
        let mut chance = StdRng::seed_from_u64(7);
        let mut at = Duration::ZERO;
        let arrivals = std::iter::from_fn(|| {
            // Independent callers: the times between two are exponential.
            at += Duration::from_secs_f64(-(1.0 - chance.random::<f64>()).ln() / rate);
            (at < window).then_some(at)
        });
        let arrivals: Vec<Duration> = arrivals.collect();
        let (answers, mut answered) = mpsc::unbounded_channel();
        let (load, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let begun = Instant::now();
        // A thread wakes up more precisely than a timer of the runtime, which knows whole milliseconds.
        let clock = std::thread::spawn(move || {
            for at in arrivals {
                let meant = begun + at;
                std::thread::sleep(meant.saturating_duration_since(Instant::now()));
                let (load, answers) = (load.clone(), answers.clone());
                runtime.spawn(async move {
                    let answer = load.call().await;
                    let _ = answers.send((meant.elapsed(), answer));
                });
            }
        });
        let mut heard = Heard { latencies: Vec::new(), refused: None, took: Duration::ZERO };
        while let Some((latency, answer)) = answered.recv().await {
            heard.hears(latency, answer);
        }
        clock.join().unwrap();
        heard.ended(begun)
    }

    /// Closed loop: as much as so many callers get, each of whom calls again when it was answered.
    pub async fn closed(&self, callers: u32, window: Duration) -> Heard {
        let begun = Instant::now();
        let mut all = JoinSet::new();
        for _ in 0..callers {
            let load = self.clone();
            all.spawn(async move {
                let mut calls = Vec::new();
                while begun.elapsed() < window {
                    let at = Instant::now();
                    let answer = load.call().await;
                    calls.push((at.elapsed(), answer));
                }
                calls
            });
        }
        let mut heard = Heard { latencies: Vec::new(), refused: None, took: Duration::ZERO };
        for (latency, answer) in all.join_all().await.into_iter().flatten() {
            heard.hears(latency, answer);
        }
        heard.ended(begun)
    }

    async fn call(&self) -> Result<(), tonic::Status> {
        let number = self.called.fetch_add(1, Ordering::Relaxed);
        let request = pb::RunTaskRequest {
            parent: "spaces/s/apps/a".into(),
            command: "true".into(),
            request_id: format!("call-{number:032}"),
            ..Default::default()
        };
        let door = usize::try_from(number % CONNECTIONS).unwrap();
        self.doors[door].clone().run_task(request).await.map(drop)
    }
}

impl Heard {
    fn hears(&mut self, latency: Duration, answer: Result<(), tonic::Status>) {
        match answer {
            Ok(()) => self.latencies.push(latency),
            Err(status) => self.refused.get_or_insert((status, 0)).1 += 1,
        }
    }

    fn ended(mut self, begun: Instant) -> Self {
        self.took = begun.elapsed();
        self.latencies.sort_unstable();
        self
    }

    pub fn acked(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// Acknowledged per second.
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    pub fn rate(&self) -> f64 {
        self.acked() as f64 / self.took.as_secs_f64()
    }
}
