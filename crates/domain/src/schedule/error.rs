//! Why an expression is no cron expression, pointing at the field and saying what would be right.

use std::fmt;

use super::field::Field;

/// Longest expression, in bytes.
pub const EXPRESSION_MAX: usize = 1024;

pub(super) const MACROS: &str = "@yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly";

/// What is wrong with an expression, as half a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("is empty: want five fields (minute, hour, day of month, month, day of week)")]
    Empty,
    #[error("is {0} bytes long: want at most {EXPRESSION_MAX}")]
    TooLong(usize),
    #[error("has {0} field{s}: want five (minute, hour, day of month, month, day of week){hint}", s = if *.0 == 1 { "" } else { "s" }, hint = no_more(*.0))]
    FieldCount(usize),
    #[error("{0} is not part of the expression: the time zone is a setting of its own, write the five fields only")]
    TimeZone(Quoted),
    #[error("{0} is no unix cron: for a steady rhythm write a step, as in */10 * * * *")]
    Every(Quoted),
    #[error("{0} is no time: want five fields, or {MACROS}")]
    UnknownMacro(Quoted),
    #[error("{0} stands alone: remove what follows it")]
    MacroNotAlone(Quoted),
    #[error("field {position} ({field}): {problem}", position = .field.position())]
    Field { field: Field, problem: Problem },
    #[error("is refused by the calendar: {0}")]
    Calendar(String),
}

/// What is wrong inside of one field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0} has an empty item: remove the stray comma")]
    EmptyItem(Quoted),
    #[error("{text} is out of range: want {least} to {most}")]
    OutOfRange { text: Quoted, least: u8, most: u8 },
    #[error("{text} runs backwards: write {instead}")]
    Backwards { text: Quoted, instead: String },
    #[error("{text} has a step but no range: write {start}-{most}/{step}, or {start} alone")]
    StepWithoutRange { text: Quoted, start: u8, most: u8, step: u8 },
    #[error("{text} has a step out of range: want 1 to {most}")]
    Step { text: Quoted, most: u8 },
    #[error("{0} is not unix cron: L, W and # belong to another dialect")]
    OtherDialect(Quoted),
    #[error("{text} is the name of a {belongs}: it belongs into field {position} ({belongs})", position = .belongs.position())]
    NameElsewhere { text: Quoted, belongs: Field },
    #[error("{text} is not a name: want its first three letters, {short}")]
    LongName { text: Quoted, short: &'static str },
    #[error("{text} is not understood: want {takes}")]
    Unreadable { text: Quoted, takes: &'static str },
}

fn no_more(found: usize) -> &'static str {
    match found {
        0..5 => "",
        _ => "; unix cron has neither a seconds nor a year field",
    }
}

/// A piece of someone's text, safe to show: in quotes, escaped, and cut where it is long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

const QUOTED_MAX: usize = 40;

impl Quoted {
    pub(super) fn new(text: &str) -> Self {
        let mut shown = String::new();
        for character in text.chars() {
            if shown.len() >= QUOTED_MAX {
                shown.push('…');
                break;
            }
            shown.extend(character.escape_default());
        }
        Self(shown)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}
