//! Executor sessions: who holds what, and until when it may believe so.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::name::Name;
use crate::uid::SessionUid;

/// How long a session is trusted without a sign of life.
pub const LEASE: Duration = Duration::from_secs(15);
/// How often an executor gives one.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// One incarnation of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub uid: SessionUid,
    /// Stable over restarts; a new session of the same name ends the old one.
    pub executor: Name,
    pub cluster: Name,
    /// Its runs outlive it and can be taken over.
    pub adoptable: bool,
    pub runs_images: bool,
    /// Where it serves output that is not archived yet.
    pub logs_address: Option<String>,
    pub opened_at: Timestamp,
    /// By the database's clock.
    pub lease_until: Timestamp,
}

/// How often each api replica tells that it takes heartbeats.
pub const BEAT: Duration = Duration::from_secs(3);
/// A longer silence of the control plane begins its uptime anew. Sessions are given this much besides their lease, for what a
/// shorter one has cost them.
pub const BEAT_GAP: Duration = Duration::from_secs(6);

/// How long the control plane has been there for executors to reach, as far as it can know itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uptime {
    pub beat_at: Timestamp,
    pub up_since: Timestamp,
}

impl Uptime {
    /// After one more sign of life. A gap, or a clock that went backwards, counts as an outage.
    pub fn beats(self, now: Timestamp) -> Self {
        let up_since = if self.is_fresh(now) { self.up_since } else { now };
        Self { beat_at: now, up_since }
    }

    /// Sessions whose lease ended by then have lapsed: they could have given a sign of life for a whole lease, and gave none.
    /// None: that can be said of nobody yet.
    pub fn lapsed_before(&self, now: Timestamp) -> Option<Timestamp> {
        let listened = now.checked_sub(span(LEASE + BEAT_GAP)).ok()?;
        if !self.is_fresh(now) || self.up_since > listened {
            return None;
        }
        now.checked_sub(span(BEAT_GAP)).ok()
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        let silent = now.duration_since(self.beat_at);
        !silent.is_negative() && silent <= span(BEAT_GAP)
    }
}

fn span(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The uptime after beats at these seconds.
    fn beating(seconds: impl IntoIterator<Item = i64>) -> Uptime {
        let never = Uptime { beat_at: at(0), up_since: at(0) };
        seconds.into_iter().fold(never, |up, second| up.beats(at(second)))
    }

    #[test]
    fn nobody_lapses_before_the_control_plane_has_listened_for_a_whole_lease() {
        let up = |until| beating((1000..=until).step_by(3));
        assert_eq!(up(1020).lapsed_before(at(1020)), None);
        assert_eq!(up(1021).lapsed_before(at(1021)), Some(at(1015)));
    }

    #[test]
    fn an_outage_of_the_control_plane_begins_the_count_anew() {
        let before = (1000..=1100).step_by(3);
        for (back, since) in [(1105, 1000), (1106, 1106), (5000, 5000)] {
            let up = beating(before.clone().chain([back]));
            assert_eq!(up, Uptime { beat_at: at(back), up_since: at(since) });
        }
        let up = beating(before);
        assert_eq!(up.lapsed_before(at(1099)), Some(at(1093)));
        assert_eq!(up.lapsed_before(at(1106)), None, "it is silent itself");
    }

    #[test]
    fn a_clock_that_goes_backwards_lapses_nobody() {
        let up = beating((1000..=1100).step_by(3));
        assert_eq!(up.lapsed_before(at(1050)), None);
        assert_eq!(up.beats(at(1050)).up_since, at(1050));
    }
}
