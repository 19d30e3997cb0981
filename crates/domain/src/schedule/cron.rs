//! A unix-cron expression: five fields or a macro, read once and kept as typed.

use std::fmt;
use std::str::FromStr;

use super::civil::{Civil, Fields, Wall};
use super::error::{CronError, EXPRESSION_MAX, Quoted};
use super::field::Field;

/// A parsed expression. Two are equal when they are typed alike, blanks apart.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    fields: Fields,
    civil: Civil,
    never: bool,
}

const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Cron {
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if text.len() > EXPRESSION_MAX {
            return Err(CronError::TooLong(text.len()));
        }
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let Some(first) = words.first() else {
            return Err(CronError::Empty);
        };
        if first.starts_with('@') {
            return Self::from_fields(&expand(&words)?, words.join(" "));
        }
        if let Some(zone) = words.iter().find(|word| is_time_zone(word)) {
            return Err(CronError::TimeZone(Quoted::new(zone)));
        }
        Self::from_fields(&words, words.join(" "))
    }

    fn from_fields(words: &[&str], text: String) -> Result<Self, CronError> {
        let [minute, hour, day_of_month, month, day_of_week] = *words else {
            return Err(CronError::FieldCount(words.len()));
        };
        let fields = Fields {
            minute: Field::Minute.read(minute)?,
            hour: Field::Hour.read(hour)?,
            day_of_month: Field::DayOfMonth.read(day_of_month)?,
            month: Field::Month.read(month)?,
            day_of_week: Field::DayOfWeek.read(day_of_week)?,
        };
        let civil = Civil::new(fields)?;
        let never = civil.first_from(Wall(0)).is_none();
        Ok(Self { text, fields, civil, never })
    }

    /// Whether no day in the calendar fits, as with `0 0 30 2 *`.
    pub fn is_never(&self) -> bool {
        self.never
    }

    /// Whether it means "every so often" rather than "at this time": its minute or hour begins with `*`.
    pub fn follows_elapsed_time(&self) -> bool {
        self.fields.minute.star || self.fields.hour.star
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(super) fn civil(&self) -> &Civil {
        &self.civil
    }
}

/// The five fields that a macro stands for.
fn expand(words: &[&str]) -> Result<Vec<&'static str>, CronError> {
    let name = words[0];
    let quoted = || Quoted::new(name);
    if name.eq_ignore_ascii_case("@every") {
        return Err(CronError::Every(quoted()));
    }
    let known = MACROS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, fields) = known.ok_or_else(|| CronError::UnknownMacro(quoted()))?;
    if words.len() > 1 {
        return Err(CronError::MacroNotAlone(quoted()));
    }
    Ok(fields.split(' ').collect())
}

fn is_time_zone(word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    word.starts_with("TZ=") || word.starts_with("CRON_TZ=")
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        Self::parse(text)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}
