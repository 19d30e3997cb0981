//! When a schedule is due: an expression, read in a zone, under the rules for its DST days.

use std::fmt;

use jiff::tz::Offset;
use jiff::{Timestamp, civil};

use super::cron::Cron;
use super::range::{instant, second};
use super::stretch::Stretch;
use super::walk::Walk;
use super::zone::Zone;

/// What becomes of a time that the clock jumps over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GapRule {
    /// It runs at the first instant after the gap, once, however many times lie in the gap.
    #[default]
    RunAfter,
    Skip,
}

/// What becomes of a time that the clock shows twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverlapRule {
    #[default]
    First,
    Second,
    Both,
}

/// The rules bind schedules of fixed times; one whose minute or hour begins with `*` follows elapsed time and runs whenever the
/// clock really shows a time of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    pub cron: Cron,
    pub zone: Zone,
    pub gap: GapRule,
    pub overlap: OverlapRule,
}

/// The tick that a schedule still owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The newest missed one, the only one that runs.
    pub tick: Timestamp,
    /// How many older ones were missed beside it.
    pub superseded: u64,
}

/// A tick as a preview shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    pub at: Timestamp,
    pub local: civil::DateTime,
    pub offset: Offset,
    pub remark: Option<DstRemark>,
}

/// What is odd about a tick on a DST day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DstRemark {
    /// It stands for at least this time, which the clock jumped over.
    OutOfGap {
        meant: civil::DateTime,
    },
    FirstPass,
    SecondPass,
}

impl Recurrence {
    /// The default rules, which are Vixie cron's.
    pub fn new(cron: Cron, zone: Zone) -> Self {
        Self { cron, zone, gap: GapRule::default(), overlap: OverlapRule::default() }
    }

    /// The first tick behind `after`, never `after` itself. None when there is none up to [`LATEST`](super::LATEST).
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if after >= super::LATEST {
            return None;
        }
        // Ticks are whole seconds, hence behind an instant is behind its second; an early instant misses none of the range.
        let behind = if after < super::EARLIEST { second(after) - 1 } else { second(after) };
        Walk::new(self).next(behind).map(instant)
    }

    /// The last tick at or before `at`. None when there is none from [`EARLIEST`](super::EARLIEST) on.
    pub fn prev(&self, at: Timestamp) -> Option<Timestamp> {
        if at < super::EARLIEST {
            return None;
        }
        Walk::new(self).prev(second(at)).map(instant)
    }

    /// What is due at `now` when everything up to `mark` has been dealt with: found backwards from now, never extrapolated.
    pub fn latest_due(&self, mark: Timestamp, now: Timestamp) -> Option<Due> {
        let tick = self.prev(now).filter(|tick| *tick > mark)?;
        let behind = if mark < super::EARLIEST { second(mark) - 1 } else { second(mark) };
        let superseded = Walk::new(self).count(behind, second(tick) - 1);
        Some(Due { tick, superseded })
    }

    /// At most `limit` ticks behind `from` and up to `to`, oldest first.
    pub fn between(&self, from: Timestamp, to: Timestamp, limit: usize) -> Vec<Tick> {
        let first = self.next(from);
        std::iter::successors(first, |tick| self.next(*tick))
            .take_while(|tick| *tick <= to)
            .take(limit)
            .map(|tick| self.tick(tick))
            .collect()
    }

    /// The next `count` ticks behind `after`, or as many as there are.
    pub fn upcoming(&self, after: Timestamp, count: usize) -> Vec<Tick> {
        self.between(after, super::LATEST, count)
    }

    fn tick(&self, at: Timestamp) -> Tick {
        let second = second(at);
        let stretch = Stretch::around(&self.zone, second);
        let offset = self.zone.offset_at(second);
        Tick { at, local: offset.to_datetime(at), offset, remark: self.remark(&stretch, second) }
    }

    fn remark(&self, stretch: &Stretch, second: i64) -> Option<DstRemark> {
        if let Some(meant) = Walk::new(self).meant_by(stretch, second) {
            let meant = Offset::UTC.to_datetime(instant(meant.0));
            return Some(DstRemark::OutOfGap { meant });
        }
        let wall = stretch.wall(second);
        if stretch.first_pass().is_some_and(|twice| twice.contains(&wall)) {
            return Some(DstRemark::FirstPass);
        }
        let second_pass = stretch.second_pass().is_some_and(|twice| twice.contains(&wall));
        second_pass.then_some(DstRemark::SecondPass)
    }
}

impl fmt::Display for DstRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfGap { meant } => {
                write!(f, "moved out of the gap: {} does not exist", meant.strftime("%Y-%m-%d %H:%M"))
            }
            Self::FirstPass => f.write_str("first pass of the overlap"),
            Self::SecondPass => f.write_str("second pass of the overlap"),
        }
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}{}", self.at, self.local, self.offset)?;
        match &self.remark {
            Some(remark) => write!(f, " ({remark})"),
            None => Ok(()),
        }
    }
}
