//! What was done to the schedulers, told when a test fails: with the seed the same is done again, if not to the millisecond.

use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// A scheduler is held up for a whole minute of it; `make chaos DURATION=…` gives more.
const SECONDS: u64 = 65;

pub struct History {
    seed: u64,
    began: Instant,
    lines: Vec<String>,
}

impl History {
    pub fn begin() -> (Self, StdRng) {
        let seed = set("TASKPLANE_CHAOS_SEED").unwrap_or_else(rand::random);
        let history = Self { seed, began: Instant::now(), lines: Vec::new() };
        (history, StdRng::seed_from_u64(seed))
    }

    pub fn tells(&mut self, line: String) {
        self.lines.push(format!("{:8.3} {line}", self.began.elapsed().as_secs_f64()));
    }

    /// A storm's length that was asked for, or a part of what there is time for.
    pub fn storm(part: f64) -> Duration {
        let seconds = set("TASKPLANE_CHAOS_SECONDS");
        seconds.map_or(Duration::from_secs(SECONDS).mul_f64(part), Duration::from_secs)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("TASKPLANE_CHAOS_SEED={}\n{}", self.seed, self.lines.join("\n"));
        }
    }
}

fn set(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
