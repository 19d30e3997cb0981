//! Holds a run to its disk quota: measures its working copy from time to time, and has the run ended when it is too large.
//!
//! How long until the next look depends on how fast the copy grows and how far it has to go, and on what a look costs: the
//! walks of one run take at most a twentieth of the time.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use taskplane_domain::quantity::Bytes;

use super::run::{Phase, Run};
use crate::record;

const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);
const REST: u32 = 20;
/// What `st_blocks` counts in.
const BLOCK: u64 = 512;

/// Looks until the run is over.
pub(super) async fn watch(run: Arc<Run>, quota: Bytes) {
    let mut phase = run.phase.subscribe();
    let looking = async {
        let (mut pace, work) = (Pace::new(quota.get()), run.dir.join(record::WORK));
        loop {
            let (begun, work) = (Instant::now(), work.clone());
            let Ok(used) = tokio::task::spawn_blocking(move || used(&work, quota.get())).await else { return };
            if used > quota.get() {
                run.outgrew();
                return;
            }
            tokio::time::sleep(pace.next(used, begun.elapsed())).await;
        }
    };
    tokio::select! {
        () = looking => {}
        _ = phase.wait_for(|phase| matches!(phase, Phase::Over(_))) => {}
    }
}

/// When to look again.
struct Pace {
    quota: u64,
    before: Option<(u64, Duration)>,
}

impl Pace {
    fn new(quota: u64) -> Self {
        Self { quota, before: None }
    }

    /// After a look that found so much and took so long. At the pace of its growth the copy has gone half of the way by the
    /// next one; while it does not grow the looks become rare.
    fn next(&mut self, used: u64, took: Duration) -> Duration {
        let pause = match self.before {
            None => SHORTEST,
            Some((before, pause)) if used <= before => pause * 2,
            Some((before, pause)) => {
                let (grown, left) = ((used - before) as f64, self.quota.saturating_sub(used) as f64);
                pause.mul_f64((left / grown / 2.0).clamp(0.01, 100.0))
            }
        };
        let pause = pause.clamp(SHORTEST, LONGEST).max(took * REST);
        self.before = Some((used, pause));
        pause
    }
}

/// What a directory and all in it take on its disk. Files with several names count once, other disks do not, and a walk
/// that has found more than `enough` stops. What cannot be looked at is passed over: it may be gone already.
fn used(dir: &Path, enough: u64) -> u64 {
    let Ok(top) = fs::symlink_metadata(dir) else { return 0 };
    let (mut total, mut seen, mut open) = (size(&top), HashSet::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Some(metadata) = entry.metadata().ok().filter(|metadata| metadata.dev() == top.dev()) else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.nlink() > 1 && !seen.insert(metadata.ino()) {
                continue;
            }
            total += size(&metadata);
            if total > enough {
                return total;
            }
        }
    }
    total
}

fn size(metadata: &Metadata) -> u64 {
    metadata.blocks() * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    const MI: u64 = 1 << 20;

    #[test]
    fn what_is_there_is_counted_once_and_what_is_elsewhere_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, elsewhere) = (dir.path().join("work"), dir.path().join("elsewhere"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        let write = |path: &Path| fs::write(path, vec![1; MI as usize]).unwrap();
        let near = |count: u64| {
            let seen = used(&inside, u64::MAX);
            assert!((count * MI..count * MI + MI / 2).contains(&seen), "{seen} is about {count} MiB");
        };
        near(0);
        write(&inside.join("a/b/one"));
        write(&elsewhere);
        near(1);
        fs::hard_link(inside.join("a/b/one"), inside.join("again")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), inside.join("loop")).unwrap();
        near(1);
        write(&inside.join("two"));
        near(2);
        // A hole takes no room.
        fs::File::create(inside.join("hole")).unwrap().set_len(1 << 40).unwrap();
        near(2);
        fs::remove_dir_all(inside.join("a")).unwrap();
        near(2);
        assert_eq!(used(&dir.path().join("none"), u64::MAX), 0);
    }

    #[test]
    fn a_copy_that_rests_is_looked_at_rarely_and_one_that_grows_before_it_is_too_large() {
        let mut pace = Pace::new(100 * MI);
        let cheap = Duration::from_micros(10);
        assert_eq!(pace.next(10 * MI, cheap), SHORTEST);
        let rest: Vec<_> = (0..7).map(|_| pace.next(10 * MI, cheap)).collect();
        assert!(rest.is_sorted() && rest[0] == SHORTEST * 2 && rest[6] == LONGEST, "{rest:?}");
        // It grew by 10 in 10 s, so the 80 that are left take 80 s, half of which is more than the longest pause.
        assert_eq!(pace.next(20 * MI, cheap), LONGEST);
        assert_eq!(pace.next(60 * MI, cheap), Duration::from_secs(5));
        assert_eq!(pace.next(99 * MI, cheap), SHORTEST);
    }

    #[test]
    fn a_look_that_takes_long_is_rare() {
        let mut pace = Pace::new(100 * MI);
        for used in [1, 50, 99] {
            assert_eq!(pace.next(used * MI, Duration::from_secs(2)), Duration::from_secs(40));
        }
    }
}
