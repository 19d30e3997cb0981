//! The human reading of an expression: `30 6 * * 1-5` is "at 06:30 on Monday to Friday".

use super::civil::Fields;
use super::cron::Cron;
use super::field::Values;
use super::recurrence::Recurrence;

/// More times of day than this are told by rule, not one by one.
const TIMES_MAX: u32 = 6;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Monday first, as a week is told; Sunday is both 0 and 7.
const DAYS: [&str; 8] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Recurrence {
    /// The reading with its zone: "at 06:30 on Monday to Friday (Europe/Berlin)".
    pub fn describe(&self) -> String {
        format!("{} ({})", self.cron.describe(), self.zone)
    }
}

impl Cron {
    /// What the expression says, in English.
    pub fn describe(&self) -> String {
        if self.is_never() {
            return "never: the calendar has no such day".to_owned();
        }
        let fields = self.fields();
        let (times, days) = (times(fields), days(fields));
        if !days.is_empty() {
            return format!("{times} {days}");
        }
        let by_the_day = times.starts_with("at ") && !fields.hour.is_all();
        if by_the_day { format!("{times} every day") } else { times }
    }
}

/// How the values of a field lie.
enum Shape {
    All,
    One(u8),
    /// `*/n`: so many apart from the field's beginning to its end.
    Every(u8),
    Run(u8, u8),
    Scattered,
}

fn shape(values: Values) -> Shape {
    let list: Vec<_> = values.iter().collect();
    let evenly = |apart: u8| list.windows(2).all(|pair| pair[1] - pair[0] == apart);
    match *list {
        _ if values.is_all() => Shape::All,
        [one] => Shape::One(one),
        [first, .., last] if evenly(1) => Shape::Run(first, last),
        [0, second, ..] if evenly(second) && values.is_step(second) => Shape::Every(second),
        _ => Shape::Scattered,
    }
}

fn times(fields: &Fields) -> String {
    let (minute, hour) = (fields.minute, fields.hour);
    if minute.count() * hour.count() <= TIMES_MAX {
        let times = hour.iter().flat_map(|hour| minute.iter().map(move |minute| clock(hour, minute)));
        return format!("at {}", listed(times.collect()));
    }
    let first = minute.iter().next().unwrap_or(0);
    let last = minute.iter().last().unwrap_or(0);
    let rhythm = match shape(minute) {
        Shape::All => "every minute".to_owned(),
        Shape::Every(n) => format!("every {n} minutes"),
        Shape::One(minute) => return hourly(hour, minute),
        Shape::Run(..) | Shape::Scattered => format!("at minutes {}", runs(minute.iter(), |minute| minute.to_string())),
    };
    match shape(hour) {
        Shape::All if rhythm.starts_with("at") => format!("{rhythm} of every hour"),
        Shape::All => rhythm,
        Shape::One(hour) => format!("{rhythm} from {} to {}", clock(hour, first), clock(hour, last)),
        Shape::Run(from, to) if !rhythm.starts_with("at") => {
            format!("{rhythm} from {} to {}", clock(from, first), clock(to, last))
        }
        Shape::Every(n) => format!("{rhythm} of every {} hour", ordinal(n)),
        Shape::Run(..) | Shape::Scattered => {
            format!("{rhythm} of the hours {}", runs(hour.iter(), |hour| hour.to_string()))
        }
    }
}

/// One minute of several hours.
fn hourly(hour: Values, minute: u8) -> String {
    let past = if minute == 0 { "on the hour".to_owned() } else { format!("at minute {minute}") };
    match shape(hour) {
        Shape::All => format!("every hour, {past}"),
        Shape::Every(n) => format!("every {n} hours, {past}"),
        Shape::Run(from, to) => format!("every hour from {} to {}", clock(from, minute), clock(to, minute)),
        Shape::One(_) | Shape::Scattered => {
            format!("at {}", listed(hour.iter().map(|hour| clock(hour, minute)).collect()))
        }
    }
}

/// Which days; nothing when it is every day.
fn days(fields: &Fields) -> String {
    let (by_month, by_week) = (fields.day_of_month, fields.day_of_week);
    let every_day = !fields.days_are_and_ed() && (by_month.is_all() || by_week.is_all());
    let weekdays = (!by_week.is_all() && !every_day).then(|| weekdays(by_week));
    let dates = (!by_month.is_all() && !every_day).then(|| dates(by_month));
    let months = (!fields.month.is_all()).then(|| runs(fields.month.iter(), |month| name(&MONTHS, month - 1)));
    let of = months.as_deref().unwrap_or("the month");
    let within = months.as_deref().map(|months| format!(" in {months}")).unwrap_or_default();
    match (dates, weekdays) {
        (None, None) if within.is_empty() => within,
        (None, None) => format!("every day{within}"),
        (None, Some(weekdays)) => format!("on {weekdays}{within}"),
        (Some(dates), None) => format!("on the {dates} of {of}"),
        (Some(dates), Some(weekdays)) if fields.days_are_and_ed() => {
            format!("on {weekdays} if it is the {dates} of {of}")
        }
        (Some(dates), Some(weekdays)) => format!("on the {dates} of {of} or on {weekdays}{within}"),
    }
}

fn weekdays(values: Values) -> String {
    let monday_first = (1..=7).filter(|day| values.has(day % 7));
    runs(monday_first.map(|day| day as u8), |day| name(&DAYS, day))
}

fn dates(values: Values) -> String {
    runs(values.iter(), ordinal)
}

fn name(names: &[&str], index: u8) -> String {
    names.get(usize::from(index)).copied().unwrap_or_default().to_owned()
}

fn clock(hour: u8, minute: u8) -> String {
    format!("{hour:02}:{minute:02}")
}

fn ordinal(number: u8) -> String {
    let ending = match (number / 10, number % 10) {
        (1, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A list in which three or more in a row are told by their ends.
fn runs(values: impl Iterator<Item = u8>, word: impl Fn(u8) -> String) -> String {
    let values: Vec<u8> = values.collect();
    let words = values.chunk_by(|a, b| a + 1 == *b).flat_map(|run| match *run {
        [first, _, .., last] => vec![format!("{} to {}", word(first), word(last))],
        ref few => few.iter().map(|value| word(*value)).collect(),
    });
    listed(words.collect())
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: Vec<String>) -> String {
    match &*words {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => words.concat(),
    }
}
