//! The rules told once more, as plainly as possible: a clock is watched minute by minute, and its jumps are noticed when they
//! happen. It knows the offset of an instant and nothing of transitions, calendars or the code under test.

use jiff::Timestamp;
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use taskplane_domain::schedule::{GapRule, OverlapRule};

use super::pattern::Pattern;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    OutOfGap,
    FirstPass,
    SecondPass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub second: i64,
    pub oddity: Option<Oddity>,
}

/// What the wall clock showed, instant by instant.
pub struct Watched {
    pace: i64,
    readings: Vec<(i64, i64, DateTime)>,
}

impl Watched {
    /// Looks at the clock every minute; every half where its offset has half minutes.
    pub fn new(zone: &TimeZone, from: i64, to: i64) -> Self {
        let offset = |second| i64::from(zone.to_offset(Timestamp::from_second(second).unwrap()).seconds());
        let from = from.div_euclid(60) * 60;
        let pace = if (offset(from) % 60, offset(to) % 60) == (0, 0) { 60 } else { 30 };
        let seconds = (0..).map(|step| from + step * pace).take_while(|second| *second < to);
        let readings = seconds.map(|second| (second, second + offset(second)));
        Self { pace, readings: readings.map(|(second, wall)| (second, wall, shown(wall))).collect() }
    }

    pub fn ticks(&self, pattern: &Pattern, gap: GapRule, overlap: OverlapRule) -> Vec<Seen> {
        let fixed = !pattern.elapsed();
        let mut ticks: Vec<(Seen, i64)> = Vec::new();
        let mut since_jump = 0;
        // The clock shows for the second time what lies before this; at first, and after any other jump, nothing does.
        let mut seen_before = i64::MIN;
        let mut expected = self.readings[0].1;
        for &(second, wall, reading) in &self.readings {
            let mut from_gap = false;
            if wall != expected {
                seen_before = i64::MIN;
            }
            if wall < expected {
                seen_before = expected;
                if fixed && overlap == OverlapRule::Second {
                    let kept = ticks.split_off(since_jump);
                    ticks.extend(
                        kept.into_iter().filter(|(tick, shown)| tick.oddity == Some(Oddity::OutOfGap) || *shown < wall),
                    );
                }
                for (tick, shown) in &mut ticks[since_jump..] {
                    if *shown >= wall && tick.oddity != Some(Oddity::OutOfGap) {
                        tick.oddity = Some(Oddity::FirstPass);
                    }
                }
            }
            if wall != expected {
                since_jump = ticks.len();
            }
            if wall > expected && fixed && gap == GapRule::RunAfter {
                let first_minute = (expected + 59).div_euclid(60) * 60;
                let mut missed = (first_minute..wall).step_by(60);
                from_gap = missed.any(|missed| pattern.matches(shown(missed)));
            }
            let again = wall < seen_before;
            let counts = pattern.matches(reading) && !(again && fixed && overlap == OverlapRule::First);
            if from_gap || counts {
                let oddity = match (from_gap, again) {
                    (true, _) => Some(Oddity::OutOfGap),
                    (_, true) => Some(Oddity::SecondPass),
                    _ => None,
                };
                ticks.push((Seen { second, oddity }, wall));
            }
            expected = wall + self.pace;
        }
        ticks.into_iter().map(|(tick, _)| tick).collect()
    }
}

pub fn shown(wall: i64) -> DateTime {
    DateTime::from(date(1970, 1, 1)) + SignedDuration::from_secs(wall)
}

/// The first time of a pattern behind `after`, by leafing through ten thousand days.
pub fn leaf_forward(pattern: &Pattern, after: DateTime) -> Option<DateTime> {
    let minutes = pattern.minutes_of_day();
    let today = DateTime::from(after.date());
    let days = (0..10_000).map(|days| today + days.days()).filter(|day| pattern.has_day(*day));
    let times = days.flat_map(|day| minutes.iter().map(move |minute| day + minute.minutes()));
    times.into_iter().find(|time| *time > after)
}
