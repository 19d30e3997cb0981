//! Times of the wall clock that an expression names, with no zone in sight; the `cron` crate does the calendar.
//!
//! The crate is asked only what it is right about: numbers in six fields, days AND-ed, in UTC. Everything that makes the
//! expression unix cron (Sunday as 0, days OR-ed) is settled in how the question is put.

use std::ops::Range;

use chrono::{DateTime, Utc};
use jiff::civil;

use super::error::CronError;
use super::field::Values;

/// A reading of the wall clock, in seconds from 1970-01-01T00:00:00 as that clock shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wall(pub i64);

const DAY: i64 = 86_400;

/// What the five fields let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub minute: Values,
    pub hour: Values,
    pub day_of_month: Values,
    pub month: Values,
    pub day_of_week: Values,
}

impl Fields {
    /// Vixie's rule: where one day field begins with `*` a day must pass both, else either will do.
    pub fn days_are_and_ed(&self) -> bool {
        self.day_of_month.star || self.day_of_week.star
    }

    fn has_day(&self, date: civil::Date) -> bool {
        let by_month = self.day_of_month.has(date.day());
        let by_week = self.day_of_week.has(date.weekday().to_sunday_zero_offset());
        let day = if self.days_are_and_ed() { by_month && by_week } else { by_month || by_week };
        day && self.month.has(date.month())
    }

    /// How many times of one matching day come before `second` of it.
    fn count_within_day(&self, second: i64) -> u64 {
        let minute_of_day = u32::try_from((second + 59) / 60).unwrap_or(0);
        let (hour, minute) = (minute_of_day / 60, minute_of_day % 60);
        let whole_hours = self.hour.count_below(hour) * self.minute.count();
        let last_hour = if hour < 24 && self.hour.has(hour as i8) { self.minute.count_below(minute) } else { 0 };
        u64::from(whole_hours + last_hour)
    }
}

/// The engine: one question to the crate, or two whose answers are merged.
#[derive(Debug, Clone)]
pub(super) struct Civil {
    fields: Fields,
    parts: Vec<cron::Schedule>,
}

impl Civil {
    pub fn new(fields: Fields) -> Result<Self, CronError> {
        let day_of_month = numbers(fields.day_of_month, 0);
        // The crate's week begins with Sunday as 1.
        let day_of_week = numbers(fields.day_of_week, 1);
        let days = if fields.days_are_and_ed() {
            vec![(&*day_of_month, &*day_of_week)]
        } else {
            vec![(&*day_of_month, "*"), ("*", &*day_of_week)]
        };
        let (minute, hour, month) = (numbers(fields.minute, 0), numbers(fields.hour, 0), numbers(fields.month, 0));
        let part = |(by_month, by_week)| {
            let question = format!("0 {minute} {hour} {by_month} {month} {by_week}");
            question.parse().map_err(|error: cron::error::Error| CronError::Calendar(error.to_string()))
        };
        let parts = days.into_iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self { fields, parts })
    }

    pub fn first_from(&self, wall: Wall) -> Option<Wall> {
        let before = at(Wall(wall.0 - 1))?;
        let first = |part: &cron::Schedule| part.after(&before).next();
        self.parts.iter().filter_map(first).min().map(|time| Wall(time.timestamp()))
    }

    pub fn last_until(&self, wall: Wall) -> Option<Wall> {
        let behind = at(Wall(wall.0 + 1))?;
        let last = |part: &cron::Schedule| part.after(&behind).next_back();
        self.parts.iter().filter_map(last).max().map(|time| Wall(time.timestamp()))
    }

    /// How many times there are; goes by days, not by times.
    pub fn count(&self, walls: &Range<Wall>) -> u64 {
        if walls.is_empty() {
            return 0;
        }
        let (from, to) = (walls.start, walls.end);
        let per_day = u64::from(self.fields.hour.count() * self.fields.minute.count());
        let (first_day, last_day) = (from.0.div_euclid(DAY), to.0.div_euclid(DAY));
        let mut count = 0;
        let mut date = date(first_day);
        for day in first_day..=last_day {
            if date.is_some_and(|date| self.fields.has_day(date)) {
                count += if day < last_day { per_day } else { self.fields.count_within_day(to.0.rem_euclid(DAY)) };
                if day == first_day {
                    count -= self.fields.count_within_day(from.0.rem_euclid(DAY));
                }
            }
            date = date.and_then(|date| date.tomorrow().ok());
        }
        count
    }
}

fn at(wall: Wall) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(wall.0, 0)
}

fn date(day: i64) -> Option<civil::Date> {
    let since = jiff::SignedDuration::from_hours(day * 24);
    civil::date(1970, 1, 1).checked_add(since).ok()
}

/// A list the crate reads alike whatever was typed; all of a field is `*`, which it answers faster.
fn numbers(values: Values, shift: u8) -> String {
    if values.is_all() {
        return "*".to_owned();
    }
    let list: Vec<_> = values.iter().map(|value| (value + shift).to_string()).collect();
    list.join(",")
}
