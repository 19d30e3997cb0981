//! The five fields, and what one of them may say.

use std::fmt;

use super::error::{CronError, Problem, Quoted};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

pub(super) const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
pub(super) const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The days may be written 0 to 7; Sunday is both ends and is kept as 0.
const SUNDAY_AGAIN: u8 = 7;

impl Field {
    /// Counted from 1, as people do.
    pub fn position(self) -> usize {
        match self {
            Self::Minute => 1,
            Self::Hour => 2,
            Self::DayOfMonth => 3,
            Self::Month => 4,
            Self::DayOfWeek => 5,
        }
    }

    /// The least and the greatest number that may be written.
    pub(super) fn range(self) -> (u8, u8) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, SUNDAY_AGAIN),
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &DAYS,
            Self::Minute | Self::Hour | Self::DayOfMonth => &[],
        }
    }

    fn takes(self) -> &'static str {
        match self {
            Self::Minute => "*, numbers from 0 to 59, ranges as 10-20, steps as */5, and lists of these",
            Self::Hour => "*, numbers from 0 to 23, ranges as 9-17, steps as */2, and lists of these",
            Self::DayOfMonth => "*, numbers from 1 to 31, ranges as 1-7, steps as */2, and lists of these",
            Self::Month => "*, numbers from 1 to 12, JAN to DEC, ranges as 1-6, steps as */3, and lists of these",
            Self::DayOfWeek => {
                "*, numbers from 0 to 7, SUN to SAT, ranges as MON-FRI, steps as */2, and lists of these"
            }
        }
    }

    pub(super) fn read(self, text: &str) -> Result<Values, CronError> {
        self.values(text).map_err(|problem| CronError::Field { field: self, problem })
    }

    fn values(self, text: &str) -> Result<Values, Problem> {
        let mut bits = 0;
        for item in text.split(',') {
            if item.is_empty() {
                return Err(Problem::EmptyItem(Quoted::new(text)));
            }
            bits |= self.item(item)?;
        }
        Ok(Values { field: self, bits, star: text.starts_with(['*', '?']) })
    }

    /// `*`, `n`, `a-b`, or one of the first and the last with `/step`.
    fn item(self, item: &str) -> Result<u64, Problem> {
        let (span, step) = match item.split_once('/') {
            Some((span, step)) => (span, Some(self.step(item, step)?)),
            None => (item, None),
        };
        let (first, last) = if is_star(span) {
            self.range()
        } else if let Some((first, last)) = self.dash(span) {
            self.between(item, first, last)?
        } else {
            let value = self.value(item, span)?;
            if let Some(step) = step {
                return Err(Problem::StepWithoutRange {
                    text: Quoted::new(item),
                    start: value,
                    most: self.range().1,
                    step,
                });
            }
            (value, value)
        };
        let values = (first..=last).step_by(usize::from(step.unwrap_or(1)));
        Ok(values.fold(0, |bits, value| bits | self.bit(value)))
    }

    /// The two ends of a range; `-1` is no range and `L-3` of another dialect is told apart later.
    fn dash(self, span: &str) -> Option<(&str, &str)> {
        span.split_once('-').filter(|(first, last)| !first.is_empty() && !last.is_empty())
    }

    fn between(self, item: &str, first: &str, last: &str) -> Result<(u8, u8), Problem> {
        let (first, mut until) = (self.value(item, first)?, self.value(item, last)?);
        // SUN ends a week as well as it begins one.
        if first > 0 && last.eq_ignore_ascii_case(DAYS[0]) {
            until = SUNDAY_AGAIN;
        }
        if first > until {
            return Err(Problem::Backwards { text: Quoted::new(item), instead: self.round_the_corner(first, until) });
        }
        Ok((first, until))
    }

    /// What someone who writes `50-10` may have meant.
    fn round_the_corner(self, first: u8, last: u8) -> String {
        let (least, most) = self.range();
        let least = if self == Self::DayOfWeek { 1 } else { least };
        let head = if first == most { format!("{first}") } else { format!("{first}-{most}") };
        match last {
            last if last < least => head,
            last if last == least => format!("{head},{last}"),
            last => format!("{head},{least}-{last}"),
        }
    }

    fn step(self, item: &str, step: &str) -> Result<u8, Problem> {
        let most = self.range().1;
        match number(step) {
            Some(step @ 1..) if step <= u32::from(most) => Ok(step as u8),
            Some(_) => Err(Problem::Step { text: Quoted::new(item), most }),
            None => Err(self.unreadable(item)),
        }
    }

    fn value(self, item: &str, text: &str) -> Result<u8, Problem> {
        let (least, most) = self.range();
        if let Some(number) = number(text) {
            return match u8::try_from(number) {
                Ok(value) if (least..=most).contains(&value) => Ok(value),
                _ => Err(Problem::OutOfRange { text: Quoted::new(item), least, most }),
            };
        }
        match position(self.names(), text) {
            Some(index) if self == Self::Month => Ok(index + 1),
            Some(index) => Ok(index),
            None => Err(self.not_a_value(item, text)),
        }
    }

    fn not_a_value(self, item: &str, text: &str) -> Problem {
        let quoted = Quoted::new(item);
        if let Some(belongs) =
            [Self::Month, Self::DayOfWeek].into_iter().find(|field| position(field.names(), text).is_some())
        {
            return Problem::NameElsewhere { text: quoted, belongs };
        }
        let short = text.get(..3).filter(|_| is_long_name(text));
        match short.and_then(|short| self.names().iter().find(|name| name.eq_ignore_ascii_case(short))) {
            Some(short) => Problem::LongName { text: quoted, short },
            None => self.unreadable(item),
        }
    }

    fn unreadable(self, item: &str) -> Problem {
        let text = Quoted::new(item);
        if is_other_dialect(item) {
            return Problem::OtherDialect(text);
        }
        Problem::Unreadable { text, takes: self.takes() }
    }

    fn bit(self, value: u8) -> u64 {
        match (self, value) {
            (Self::DayOfWeek, SUNDAY_AGAIN) => 1,
            _ => 1 << value,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}

/// What one field lets through, as a set of small numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Values {
    field: Field,
    bits: u64,
    /// Whether it was written with a `*` (or `?`) in front: the star rules go by that, not by the set.
    pub star: bool,
}

impl Values {
    pub fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits.checked_shr(value).unwrap_or(0) & 1 == 1)
    }

    pub fn is_all(self) -> bool {
        let (first, last) = self.field.range();
        let all = (first..=last).fold(0, |bits, value| bits | self.field.bit(value));
        self.bits == all
    }

    /// Whether it is what `*/step` gives, with the same distance over the field's end.
    pub fn is_step(self, step: u8) -> bool {
        let (first, last) = self.field.range();
        let even = (first..=last).step_by(usize::from(step)).fold(0, |bits, value| bits | self.field.bit(value));
        self.bits == even && (last - first + 1) % step == 0
    }

    pub fn count(self) -> u32 {
        self.bits.count_ones()
    }

    pub fn count_below(self, value: u32) -> u32 {
        (self.bits & ((1 << value) - 1)).count_ones()
    }

    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..60).filter(move |value| self.bits >> value & 1 == 1)
    }
}

fn is_star(text: &str) -> bool {
    text == "*" || text == "?"
}

/// A number in ASCII digits; one too long to be any field's is still a number.
fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

fn position(names: &[&str], text: &str) -> Option<u8> {
    let index = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    u8::try_from(index).ok()
}

fn is_long_name(text: &str) -> bool {
    text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) && !is_other_dialect(text)
}

/// `L`, `LW`, `L-3`, `5L`, `15W`, `FRIL`, `5#2`.
fn is_other_dialect(text: &str) -> bool {
    let is_name = |text: &str| position(&DAYS, text).is_some() || position(&MONTHS, text).is_some();
    let text = text.to_ascii_uppercase();
    let stem = text.trim_end_matches(['L', 'W']);
    let counts_from_the_end = text.strip_prefix("L-").is_some_and(|days| number(days).is_some());
    text.contains('#')
        || counts_from_the_end
        || (stem.len() < text.len() && (stem.is_empty() || number(stem).is_some() || is_name(stem)))
}
