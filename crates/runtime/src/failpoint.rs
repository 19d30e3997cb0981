//! Named points at which a test build kills itself: `TASKPLANE_FAILPOINTS=store::task_accept::before_commit@3` dies with
//! SIGKILL at the third pass. With `!hold` behind it the point is held instead: a file `held` appears in `TASKPLANE_HOLD_DIR`, and
//! it goes on when that file is gone. A product build has neither the points nor these variables.

use std::time::Duration;

/// How far ahead of the real time a test build lives, in microseconds; `TASKPLANE_CLOCK_AHEAD_MICROS` says so. Others: 0.
pub fn clock_ahead() -> i64 {
    #[cfg(feature = "failpoints")]
    return armed::clock_ahead();
    #[cfg(not(feature = "failpoints"))]
    0
}

/// How often a loop looks without being rung: each `period`, but never in a test build whose `TASKPLANE_SWEEPS` is `off`, which
/// shows that rings alone are enough.
pub fn sweep(period: Duration) -> Duration {
    #[cfg(feature = "failpoints")]
    if armed::sweeps_off() {
        return Duration::from_secs(24 * 3600);
    }
    period
}

/// Arms what the environment names. Compiled to nothing without the feature `failpoints`.
pub fn arm() {
    #[cfg(feature = "failpoints")]
    armed::arm();
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::atomic::{AtomicU32, Ordering};

    #[expect(clippy::disallowed_methods, reason = "test builds alone read it, before there are arguments")]
    pub fn arm() {
        let Ok(points) = std::env::var("TASKPLANE_FAILPOINTS") else { return };
        for point in points.split(',').filter(|point| !point.is_empty()) {
            let (point, holds) = point.strip_suffix("!hold").map_or((point, false), |point| (point, true));
            let (name, pass) = point.split_once('@').unwrap_or((point, "1"));
            let left = AtomicU32::new(pass.parse().unwrap_or(1));
            let held = std::env::var("TASKPLANE_HOLD_DIR").map(|dir| std::path::Path::new(&dir).join("held"));
            let armed = fail::cfg_callback(name, move || {
                if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    match &held {
                        Ok(held) if holds => hold(held),
                        _ => die(),
                    }
                }
            });
            if let Err(error) = armed {
                tracing::error!(point = name, error, "failpoint not armed");
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "test builds alone read it, before there are arguments")]
    pub fn clock_ahead() -> i64 {
        std::env::var("TASKPLANE_CLOCK_AHEAD_MICROS").ok().and_then(|micros| micros.parse().ok()).unwrap_or(0)
    }

    #[expect(clippy::disallowed_methods, reason = "test builds alone read it, before there are arguments")]
    pub fn sweeps_off() -> bool {
        std::env::var_os("TASKPLANE_SWEEPS").is_some_and(|sweeps| sweeps == "off")
    }

    /// Everything else goes on meanwhile.
    #[expect(clippy::disallowed_methods, reason = "the thread is held up, as whoever removes the file asks")]
    fn hold(held: &std::path::Path) {
        let wait = || {
            if std::fs::write(held, "").is_err() {
                return;
            }
            while held.exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(_) => tokio::task::block_in_place(wait),
            Err(_) => wait(),
        }
    }

    /// As a crash ends a process: no destructor, no flush, no exit handler.
    fn die() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        loop {
            std::thread::park();
        }
    }
}
