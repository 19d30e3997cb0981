//! Rare days are found however far away they are, and what never comes is said at once.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use taskplane_domain::schedule::{Cron, EARLIEST, LATEST, Recurrence, Zone};

use super::model::{leaf_forward, shown};
use super::pattern::rare_pattern;
use super::{at, recurrence};

#[test]
fn rare_days_are_those_of_a_calendar_leafed_through() {
    let config = ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() };
    proptest!(config, |(pattern in rare_pattern(), day in 365_i64..36_000, second in 0_i64..86_400)| {
        let recurrence = Recurrence::new(Cron::parse(&pattern.text()).unwrap(), Zone::utc());
        let after = shown(day * 86_400 + second);
        let expected = leaf_forward(&pattern, after).map(|time| time.to_zoned(TimeZone::UTC).unwrap().timestamp());
        let after = after.to_zoned(TimeZone::UTC).unwrap().timestamp();
        let next = recurrence.next(after);
        prop_assert_eq!(next, expected.filter(|tick| *tick <= LATEST), "{} after {}", pattern.text(), after);
        if let Some(next) = next {
            prop_assert_eq!(recurrence.prev(next), Some(next));
            let before = recurrence.prev(next - SignedDuration::from_nanos(1));
            prop_assert!(before.is_none_or(|before| before <= after), "{} has {:?} before {}", pattern.text(), before, next);
        }
    });
}

#[test]
fn a_leap_day_comes_every_four_years_but_for_centuries() {
    let leap = recurrence("0 0 29 2 *", "Europe/Berlin");
    let ticks = leap.between(at("2026-01-01T00:00:00Z"), LATEST, 3);
    let days: Vec<_> = ticks.iter().map(|tick| tick.local.to_string()).collect();
    assert_eq!(days, ["2028-02-29T00:00:00", "2032-02-29T00:00:00", "2036-02-29T00:00:00"]);
    assert_eq!(leap.next(at("2096-03-01T00:00:00Z")), None);
}

#[test]
fn a_day_that_no_month_has_never_comes() {
    for text in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * 30-31 2 */2"] {
        let never = recurrence(text, "America/New_York");
        assert!(never.cron.is_never(), "{text}");
        assert_eq!(never.next(EARLIEST), None, "{text}");
        assert_eq!(never.prev(LATEST), None, "{text}");
        assert_eq!(never.latest_due(EARLIEST, LATEST), None, "{text}");
        assert_eq!(never.upcoming(EARLIEST, 10), [], "{text}");
        assert_eq!(never.cron.describe(), "never: the calendar has no such day");
    }
}

#[test]
fn either_day_field_will_do_when_both_are_restricted() {
    let mondays_in_february = recurrence("0 0 30 2 1", "UTC");
    assert!(!mondays_in_february.cron.is_never());
    assert_eq!(mondays_in_february.next(at("2026-01-15T00:00:00Z")), Some(at("2026-02-02T00:00:00Z")));

    let thirteenth_or_friday = recurrence("0 0 13 * 5", "UTC").between(at("2026-01-01T00:00:00Z"), LATEST, 4);
    let days: Vec<_> = thirteenth_or_friday.iter().map(|tick| tick.local.date().to_string()).collect();
    assert_eq!(days, ["2026-01-02", "2026-01-09", "2026-01-13", "2026-01-16"]);
}

#[test]
fn both_day_fields_must_fit_when_one_begins_with_a_star() {
    for text in ["0 0 */2 * 1", "0 0 ?/2 * MON"] {
        let odd_mondays = recurrence(text, "UTC").between(at("2026-01-01T00:00:00Z"), LATEST, 3);
        let days: Vec<_> = odd_mondays.iter().map(|tick| tick.local.date().to_string()).collect();
        assert_eq!(days, ["2026-01-05", "2026-01-19", "2026-02-09"], "{text}");
    }
}

#[test]
fn nothing_is_due_outside_of_the_range() {
    let minutely = recurrence("* * * * *", "Asia/Kolkata");
    assert_eq!(minutely.next(jiff::Timestamp::MIN), Some(EARLIEST));
    assert_eq!(minutely.next(jiff::Timestamp::MAX), None);
    assert_eq!(minutely.next(LATEST), None);
    assert_eq!(minutely.next(at("2099-12-31T23:59:00Z")), None);
    assert_eq!(minutely.prev(EARLIEST), Some(EARLIEST));
    assert_eq!(minutely.prev(at("1970-12-31T23:59:59.999Z")), None);
    assert_eq!(minutely.prev(jiff::Timestamp::MIN), None);
    assert_eq!(minutely.prev(jiff::Timestamp::MAX), Some(at("2099-12-31T23:59:00Z")));
    assert_eq!(minutely.prev(at("9999-01-01T00:00:00Z")), Some(at("2099-12-31T23:59:00Z")));
}
