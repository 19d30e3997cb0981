//! The walk from one stretch of constant offset to the next until a tick is found.
//!
//! A walk takes one step per stretch and one per question to the calendar. The memory of the last answer keeps the questions
//! few: a time of every day is found in a handful of steps. The rarest time there is, a leap day on a given weekday, comes
//! once in 28 or 40 years; a zone changes its offset a few times a year; so that is found in about a hundred.

use std::ops::Range;

use super::civil::Wall;
use super::range::{EARLIEST, LATEST};
use super::recurrence::Recurrence;
use super::stretch::Stretch;

/// A walk that long gives up: ten times what any zone of today's database asks for.
pub(super) const STEPS_MAX: u32 = 1024;

pub(super) struct Walk<'a> {
    recurrence: &'a Recurrence,
    /// The last question to the calendar and its answer, good for every question between the two.
    first: Option<(Wall, Option<Wall>)>,
    last: Option<(Wall, Option<Wall>)>,
    steps: u32,
}

impl<'a> Walk<'a> {
    pub fn new(recurrence: &'a Recurrence) -> Self {
        Self { recurrence, first: None, last: None, steps: 0 }
    }

    /// The first tick behind the instant.
    pub fn next(&mut self, behind: i64) -> Option<i64> {
        let mut stretch = self.start(behind)?;
        while self.step() {
            let window = stretch.window(self.recurrence);
            if let Some((at, gap)) = window.gap
                && at > behind
                && self.first_in(&gap).is_some()
            {
                return Some(at).filter(|tick| *tick <= LATEST.as_second());
            }
            let walls = window.walls.start.max(stretch.wall(behind + 1))..window.walls.end;
            if let Some(wall) = self.first_in(&walls) {
                return Some(stretch.second(wall)).filter(|tick| *tick <= LATEST.as_second());
            }
            stretch = stretch.following(&self.recurrence.zone)?;
        }
        None
    }

    /// The last tick at or before the instant.
    pub fn prev(&mut self, at: i64) -> Option<i64> {
        let mut stretch = self.start(at)?;
        while self.step() {
            let window = stretch.window(self.recurrence);
            let walls = window.walls.start..window.walls.end.min(stretch.wall(at + 1));
            if let Some(wall) = self.last_in(&walls) {
                return Some(stretch.second(wall)).filter(|tick| *tick >= EARLIEST.as_second());
            }
            if let Some((begin, gap)) = window.gap
                && self.last_in(&gap).is_some()
            {
                return Some(begin).filter(|tick| *tick >= EARLIEST.as_second());
            }
            stretch = stretch.preceding(&self.recurrence.zone)?;
        }
        None
    }

    /// How many ticks there are behind `behind` and up to `until`, both in range.
    pub fn count(&mut self, behind: i64, until: i64) -> u64 {
        let mut count = 0;
        let mut current = self.start(behind);
        while let Some(stretch) = current.filter(|_| self.step()) {
            let window = stretch.window(self.recurrence);
            let walls = window.walls.start.max(stretch.wall(behind + 1))..window.walls.end.min(stretch.wall(until + 1));
            count += self.recurrence.cron.civil().count(&walls);
            if let Some((at, gap)) = window.gap
                && at > behind
                && at <= until
                && self.first_in(&gap).is_some()
                && self.first_in(&(stretch.wall(at)..Wall(stretch.wall(at).0 + 1))).is_none()
            {
                count += 1;
            }
            current = stretch.following(&self.recurrence.zone).filter(|stretch| stretch.begins_until(until));
        }
        count
    }

    /// The time in the gap that a tick at the beginning of a stretch stands for.
    pub fn meant_by(&mut self, stretch: &Stretch, tick: i64) -> Option<Wall> {
        let (at, gap) = stretch.window(self.recurrence).gap?;
        if at == tick { self.first_in(&gap) } else { None }
    }

    fn start(&self, second: i64) -> Option<Stretch> {
        let cron = &self.recurrence.cron;
        (!cron.is_never()).then(|| Stretch::around(&self.recurrence.zone, second))
    }

    fn step(&mut self) -> bool {
        self.steps += 1;
        self.steps <= STEPS_MAX
    }

    fn first_in(&mut self, walls: &Range<Wall>) -> Option<Wall> {
        if walls.is_empty() {
            return None;
        }
        let answer = match self.first {
            Some((asked, None)) if asked <= walls.start => None,
            Some((asked, Some(answer))) if (asked..=answer).contains(&walls.start) => Some(answer),
            _ => {
                self.steps += 1;
                self.recurrence.cron.civil().first_from(walls.start)
            }
        };
        self.first = Some((walls.start, answer));
        answer.filter(|wall| *wall < walls.end)
    }

    fn last_in(&mut self, walls: &Range<Wall>) -> Option<Wall> {
        if walls.is_empty() {
            return None;
        }
        let until = Wall(walls.end.0 - 1);
        let answer = match self.last {
            Some((asked, None)) if asked >= until => None,
            Some((asked, Some(answer))) if (answer..=asked).contains(&until) => Some(answer),
            _ => {
                self.steps += 1;
                self.recurrence.cron.civil().last_until(until)
            }
        };
        self.last = Some((until, answer));
        answer.filter(|wall| *wall >= walls.start)
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
