//! One stretch of constant offset, and which times of its wall clock count under the DST rules.
//!
//! ```text
//!        gap: before < offset                    overlap: after < offset
//!   ─────────────┤ begin                              end ├─────────────
//!    … 01:59 ╎ 02:00-02:59 are missing        first pass: the last hour here
//!            ╎ 03:00 …                        second pass: the first hour of the next
//! ```

use std::ops::Range;

use super::civil::Wall;
use super::recurrence::{GapRule, OverlapRule, Recurrence};
use super::zone::{Change, Zone};

#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// Seconds east of Greenwich.
    offset: i32,
    begin: Option<Change>,
    end: Option<Change>,
}

/// What of a stretch counts for one recurrence.
#[derive(Debug)]
pub(super) struct Window {
    pub walls: Range<Wall>,
    /// A gap whose times run at the stretch's first instant instead.
    pub gap: Option<(i64, Range<Wall>)>,
}

impl Stretch {
    pub fn around(zone: &Zone, second: i64) -> Self {
        let offset = zone.offset_at(second).seconds();
        Self { offset, begin: zone.change_before(second), end: zone.change_behind(second, offset) }
    }

    pub fn following(self, zone: &Zone) -> Option<Self> {
        let Change { at, other } = self.end?;
        Some(Self { offset: other, begin: Some(Change { at, other: self.offset }), end: zone.change_behind(at, other) })
    }

    pub fn preceding(self, zone: &Zone) -> Option<Self> {
        let Change { at, other } = self.begin?;
        Some(Self { offset: other, begin: zone.change_before(at - 1), end: Some(Change { at, other: self.offset }) })
    }

    pub fn begins_until(&self, second: i64) -> bool {
        self.begin.is_none_or(|change| change.at <= second)
    }

    pub fn wall(&self, second: i64) -> Wall {
        Wall(second + i64::from(self.offset))
    }

    pub fn second(&self, wall: Wall) -> i64 {
        wall.0 - i64::from(self.offset)
    }

    /// Every time its wall clock shows.
    fn all(&self) -> Range<Wall> {
        let begin = self.begin.map_or(Wall(i64::MIN), |change| self.wall(change.at));
        let end = self.end.map_or(Wall(i64::MAX), |change| self.wall(change.at));
        begin..end
    }

    /// The times that the clock jumped over to get here.
    pub fn missing(&self) -> Option<(i64, Range<Wall>)> {
        let Change { at, other } = self.begin.filter(|begin| begin.other < self.offset)?;
        Some((at, beyond(at, other)..self.wall(at)))
    }

    /// The times at its end that come again in the next stretch.
    pub fn first_pass(&self) -> Option<Range<Wall>> {
        let Change { at, other } = self.end.filter(|end| end.other < self.offset)?;
        Some(beyond(at, other)..self.wall(at))
    }

    /// The times at its beginning that the stretch before has shown already.
    pub fn second_pass(&self) -> Option<Range<Wall>> {
        let Change { at, other } = self.begin.filter(|begin| begin.other > self.offset)?;
        Some(self.wall(at)..beyond(at, other))
    }

    pub fn window(&self, recurrence: &Recurrence) -> Window {
        let mut walls = self.all();
        if recurrence.cron.follows_elapsed_time() {
            return Window { walls, gap: None };
        }
        match recurrence.overlap {
            OverlapRule::First => walls.start = self.second_pass().map_or(walls.start, |twice| twice.end),
            OverlapRule::Second => walls.end = self.first_pass().map_or(walls.end, |twice| twice.start),
            OverlapRule::Both => {}
        }
        let gap = match recurrence.gap {
            GapRule::RunAfter => self.missing(),
            GapRule::Skip => None,
        };
        Window { walls, gap }
    }
}

/// What the wall clock on the other side of a change would show at that instant.
fn beyond(at: i64, other: i32) -> Wall {
    Wall(at + i64::from(other))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZoneDatabase;

    use super::super::range::{EARLIEST, LATEST};
    use super::*;

    /// Where a stretch begins and ends, and its offset.
    fn told(stretch: &Stretch) -> (Option<i64>, Option<i64>, i32) {
        (stretch.begin.map(|change| change.at), stretch.end.map(|change| change.at), stretch.offset)
    }

    #[test]
    fn stretches_are_the_same_from_either_end_and_change_where_the_offset_does() {
        for name in TimeZoneDatabase::bundled().available() {
            let Ok(zone) = Zone::parse(name.as_str()) else { continue };
            let first = Stretch::around(&zone, EARLIEST.as_second());
            let last = Stretch::around(&zone, LATEST.as_second());
            let forward: Vec<_> = std::iter::successors(Some(first), |stretch| stretch.following(&zone)).collect();
            let backward = std::iter::successors(Some(last), |stretch| stretch.preceding(&zone));
            let mut backward: Vec<_> = backward.map(|stretch| told(&stretch)).collect();
            backward.reverse();
            assert_eq!(forward.iter().map(told).collect::<Vec<_>>(), backward, "{zone}");
            for stretch in &forward {
                let begin = stretch.begin.map_or(EARLIEST.as_second(), |change| change.at);
                let end = stretch.end.map_or(LATEST.as_second(), |change| change.at);
                for second in (begin..end).step_by(86_400 * 3).chain([end - 1]) {
                    assert_eq!(zone.offset_at(second).seconds(), stretch.offset, "{zone} at {second}");
                }
                assert_eq!(told(&Stretch::around(&zone, begin.midpoint(end))), told(stretch), "{zone}");
            }
        }
    }
}
