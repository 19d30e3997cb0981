//! After an outage the newest missed tick runs and the others are counted, whatever the rhythm.

use jiff::Timestamp;
use taskplane_domain::schedule::{Due, EARLIEST, LATEST};

use super::{at, recurrence};

fn due(cron: &str, mark: &str, now: &str) -> Option<(String, u64)> {
    let due = recurrence(cron, "UTC").latest_due(at(mark), at(now));
    due.map(|Due { tick, superseded }| (tick.to_string(), superseded))
}

/// 2026-01-08 is a Thursday.
#[test]
fn an_uneven_schedule_is_not_given_an_invented_time() {
    let found = due("30 6,10,14 * * 1-5", "2026-01-08T14:30:00Z", "2026-01-11T12:00:00Z");
    assert_eq!(found, Some(("2026-01-09T14:30:00Z".to_owned(), 2)));
}

#[test]
fn weekdays_recovered_on_a_sunday_run_for_the_latest_friday() {
    let found = due("0 9 * * 1-5", "2026-01-02T09:00:00Z", "2026-01-11T15:00:00Z");
    assert_eq!(found, Some(("2026-01-09T09:00:00Z".to_owned(), 4)));
}

#[test]
fn thirty_days_of_minutes_are_one_run() {
    let found = due("* * * * *", "2026-01-01T00:00:00Z", "2026-01-31T00:00:30Z");
    assert_eq!(found, Some(("2026-01-31T00:00:00Z".to_owned(), 30 * 24 * 60 - 1)));
}

#[test]
fn the_minutes_of_the_whole_range_are_counted_exactly() {
    let minutely = recurrence("* * * * *", "America/New_York").latest_due(Timestamp::MIN, Timestamp::MAX).unwrap();
    assert_eq!(minutely.tick, at("2099-12-31T23:59:00Z"));
    let minutes = (LATEST.as_second() + 1 - EARLIEST.as_second()) / 60;
    assert_eq!(minutely.superseded, minutes as u64 - 1);
}

#[test]
fn nothing_before_the_mark_is_due() {
    // A schedule that is attached at noon owes nothing for the morning, a resumed one nothing for its pause.
    assert_eq!(due("0 9 * * *", "2026-01-08T12:00:00Z", "2026-01-08T12:00:01Z"), None);
    assert_eq!(due("0 9 * * *", "2026-01-08T09:00:00Z", "2026-01-08T09:00:00Z"), None);
    assert_eq!(due("0 9 * * *", "2026-01-08T09:00:00Z", "2026-01-09T08:59:59.999Z"), None);
    let on_time = due("0 9 * * *", "2026-01-08T09:00:00Z", "2026-01-09T09:00:00Z");
    assert_eq!(on_time, Some(("2026-01-09T09:00:00Z".to_owned(), 0)));
}

#[test]
fn a_clock_that_went_back_owes_nothing() {
    assert_eq!(due("* * * * *", "2026-01-08T12:00:00Z", "2026-01-08T11:00:00Z"), None);
}

#[test]
fn an_outage_over_a_dst_day_counts_what_its_rules_say() {
    let mut nightly = recurrence("0,30 2 * * *", "Europe/Berlin");
    let (mark, now) = (at("2026-10-24T12:00:00Z"), at("2026-10-25T12:00:00Z"));
    assert_eq!(nightly.latest_due(mark, now), Some(Due { tick: at("2026-10-25T00:30:00Z"), superseded: 1 }));
    nightly.overlap = taskplane_domain::schedule::OverlapRule::Both;
    assert_eq!(nightly.latest_due(mark, now), Some(Due { tick: at("2026-10-25T01:30:00Z"), superseded: 3 }));
    let (mark, now) = (at("2026-03-28T12:00:00Z"), at("2026-03-29T12:00:00Z"));
    assert_eq!(nightly.latest_due(mark, now), Some(Due { tick: at("2026-03-29T01:00:00Z"), superseded: 0 }));
}
