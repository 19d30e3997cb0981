//! Expressions made up at random, that know by themselves what they match: nothing here asks the code under test.

use jiff::civil::DateTime;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Item {
    Star,
    StarStep(i8),
    One(i8),
    Run(i8, i8),
    RunStep(i8, i8, i8),
}

#[derive(Debug, Clone)]
struct Field {
    least: i8,
    items: Vec<Item>,
}

#[derive(Debug, Clone)]
pub struct Pattern {
    minute: Field,
    hour: Field,
    day_of_month: Field,
    month: Field,
    day_of_week: Field,
}

impl Item {
    fn matches(&self, least: i8, value: i8) -> bool {
        match *self {
            Self::Star => true,
            Self::StarStep(step) => (value - least) % step == 0,
            Self::One(one) => value == one,
            Self::Run(first, last) => first <= value && value <= last,
            Self::RunStep(first, last, step) => first <= value && value <= last && (value - first) % step == 0,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Star => "*".to_owned(),
            Self::StarStep(step) => format!("*/{step}"),
            Self::One(one) => one.to_string(),
            Self::Run(first, last) => format!("{first}-{last}"),
            Self::RunStep(first, last, step) => format!("{first}-{last}/{step}"),
        }
    }
}

impl Field {
    fn matches(&self, value: i8) -> bool {
        self.items.iter().any(|item| item.matches(self.least, value))
    }

    fn star(&self) -> bool {
        self.text().starts_with('*')
    }

    fn text(&self) -> String {
        let items: Vec<_> = self.items.iter().map(Item::text).collect();
        items.join(",")
    }
}

impl Pattern {
    pub fn text(&self) -> String {
        let fields = [&self.minute, &self.hour, &self.day_of_month, &self.month, &self.day_of_week];
        fields.map(Field::text).join(" ")
    }

    pub fn elapsed(&self) -> bool {
        self.minute.star() || self.hour.star()
    }

    /// Whether a clock that shows `wall` (whole minutes only) shows a time of this pattern.
    pub fn matches(&self, wall: DateTime) -> bool {
        wall.second() == 0 && self.minute.matches(wall.minute()) && self.hour.matches(wall.hour()) && self.has_day(wall)
    }

    pub fn has_day(&self, day: DateTime) -> bool {
        let weekday = day.weekday().to_sunday_zero_offset();
        let by_month = self.day_of_month.matches(day.day());
        let by_week = self.day_of_week.matches(weekday) || (weekday == 0 && self.day_of_week.matches(7));
        let both = self.day_of_month.star() || self.day_of_week.star();
        self.month.matches(day.month()) && if both { by_month && by_week } else { by_month || by_week }
    }

    /// The times of day, in minutes.
    pub fn minutes_of_day(&self) -> Vec<i64> {
        (0..24 * 60).filter(|at| self.hour.matches((at / 60) as i8) && self.minute.matches((at % 60) as i8)).collect()
    }
}

fn item(least: i8, most: i8) -> impl Strategy<Value = Item> + Clone {
    let run = (least..=most, least..=most).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let step = 1..=most;
    prop_oneof![
        1 => Just(Item::Star),
        2 => step.clone().prop_map(Item::StarStep),
        4 => (least..=most).prop_map(Item::One),
        2 => run.clone().prop_map(|(first, last)| Item::Run(first, last)),
        1 => (run, step).prop_map(|((first, last), step)| Item::RunStep(first, last, step)),
    ]
}

fn field(least: i8, most: i8) -> impl Strategy<Value = Field> + Clone {
    let items = prop_oneof![3 => Just(1_usize), 2 => Just(2), 1 => Just(4)]
        .prop_flat_map(move |count| prop::collection::vec(item(least, most), count));
    items.prop_map(move |items| Field { least, items })
}

fn star(least: i8) -> impl Strategy<Value = Field> + Clone {
    Just(Field { least, items: vec![Item::Star] })
}

/// Any expression; the days are open more often than not, and the hours lean to those in which clocks are changed.
pub fn pattern() -> impl Strategy<Value = Pattern> {
    let night = prop::collection::vec((0_i8..4).prop_map(Item::One), 1..3);
    let hour = prop_oneof![field(0, 23), night.prop_map(|items| Field { least: 0, items })];
    let day_of_month = prop_oneof![3 => star(1), 1 => field(1, 31)];
    let month = prop_oneof![5 => star(1), 1 => field(1, 12)];
    let day_of_week = prop_oneof![3 => star(0), 1 => field(0, 7)];
    (field(0, 59), hour, day_of_month, month, day_of_week).prop_map(assemble)
}

/// Few times on rare days.
pub fn rare_pattern() -> impl Strategy<Value = Pattern> {
    let late = prop::collection::vec((28_i8..=31).prop_map(Item::One), 1..3);
    let day_of_month =
        prop_oneof![2 => late.prop_map(|items| Field { least: 1, items }), 1 => field(1, 31), 1 => star(1)];
    let month =
        prop_oneof![1 => (1_i8..=12).prop_map(|m| Field { least: 1, items: vec![Item::One(m)] }), 1 => field(1, 12)];
    (field(0, 59), field(0, 23), day_of_month, month, field(0, 7)).prop_map(assemble)
}

fn assemble((minute, hour, day_of_month, month, day_of_week): (Field, Field, Field, Field, Field)) -> Pattern {
    Pattern { minute, hour, day_of_month, month, day_of_week }
}
