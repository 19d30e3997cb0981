//! Days on which clocks were or will be changed, known by heart, under each rule.

use jiff::SignedDuration;
use jiff::civil::Date;
use taskplane_domain::schedule::{Cron, DstRemark, GapRule, OverlapRule, Recurrence, Zone};

use super::{at, recurrence};

/// Local times of the ticks from the beginning of one local day to the end of another.
fn ticks(recurrence: &Recurrence, [first, last]: [&str; 2]) -> Vec<String> {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(recurrence.zone.name()).unwrap();
    let day = |day: &str| day.parse::<Date>().unwrap().to_zoned(zone.clone()).unwrap();
    let from = day(first).timestamp() - SignedDuration::from_nanos(1);
    let to = day(last).tomorrow().unwrap().start_of_day().unwrap().timestamp() - SignedDuration::from_nanos(1);
    let ticks = recurrence.between(from, to, 100);
    ticks.iter().map(|tick| format!("{}{}", tick.local.strftime("%d %H:%M"), tick.offset)).collect()
}

fn ruled(cron: &str, zone: &str, gap: GapRule, overlap: OverlapRule) -> Recurrence {
    Recurrence { cron: Cron::parse(cron).unwrap(), zone: Zone::parse(zone).unwrap(), gap, overlap }
}

#[test]
fn a_time_in_the_gap_runs_at_the_first_instant_after_it_or_not_at_all() {
    use GapRule::{RunAfter, Skip};
    for (zone, day, cron, rule, expected) in [
        ("America/New_York", "2026-03-08", "30 2 * * *", RunAfter, &["08 03:00-04"][..]),
        ("America/New_York", "2026-03-08", "30 2 * * *", Skip, &[]),
        ("Europe/London", "2026-03-29", "30 1 * * *", RunAfter, &["29 02:00+01"]),
        ("Europe/London", "2026-03-29", "30 1 * * *", Skip, &[]),
        ("Europe/Berlin", "2026-03-29", "30 2 * * *", RunAfter, &["29 03:00+02"]),
        ("Europe/Berlin", "2026-03-29", "30 2 * * *", Skip, &[]),
        // Several times in one gap run once, and the first instant after it counts once too.
        ("Europe/Berlin", "2026-03-29", "0,30 2 * * *", RunAfter, &["29 03:00+02"]),
        ("Europe/Berlin", "2026-03-29", "0,30 2,3 * * *", RunAfter, &["29 03:00+02", "29 03:30+02"]),
        (
            "Europe/Berlin",
            "2026-03-29",
            "30 1-4 * * *",
            RunAfter,
            &["29 01:30+01", "29 03:00+02", "29 03:30+02", "29 04:30+02"],
        ),
        ("Europe/Berlin", "2026-03-29", "30 1-4 * * *", Skip, &["29 01:30+01", "29 03:30+02", "29 04:30+02"]),
        ("Europe/Berlin", "2026-03-29", "59 1 * * *", RunAfter, &["29 01:59+01"]),
        ("Europe/Berlin", "2026-03-29", "0 3 * * *", RunAfter, &["29 03:00+02"]),
        // Half an hour only.
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", RunAfter, &["04 02:30+11"]),
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * *", Skip, &[]),
        ("Australia/Lord_Howe", "2026-10-04", "45 2 * * *", RunAfter, &["04 02:45+11"]),
        // At midnight: the day begins at 01:00.
        ("America/Havana", "2026-03-08", "0 0 * * *", RunAfter, &["08 01:00-04"]),
        ("America/Havana", "2026-03-08", "0 0 * * *", Skip, &[]),
        ("America/Sao_Paulo", "2018-11-04", "0 0 * * *", RunAfter, &["04 01:00-02"]),
        ("America/Sao_Paulo", "2018-11-04", "0 0 * * *", Skip, &[]),
        // From central to eastern and to summer time at once: two hours, and the zone's last change outside of its rule.
        (
            "America/Indiana/Winamac",
            "2007-03-11",
            "13 1-4 * * *",
            RunAfter,
            &["11 01:13-06", "11 04:00-04", "11 04:13-04"],
        ),
        // The end of Ramadan.
        ("Africa/Casablanca", "2025-04-06", "30 2 * * *", RunAfter, &["06 03:00+01"]),
        ("Africa/Casablanca", "2025-04-06", "30 2 * * *", Skip, &[]),
    ] {
        let recurrence = ruled(cron, zone, rule, OverlapRule::First);
        assert_eq!(ticks(&recurrence, [day, day]), expected, "`{cron}` in {zone}, {rule:?}");
    }
}

#[test]
fn a_time_in_the_overlap_runs_in_the_first_pass_the_second_or_both() {
    for (zone, day, cron, first, second) in [
        ("America/New_York", "2026-11-01", "30 1 * * *", "01 01:30-04", "01 01:30-05"),
        ("Europe/London", "2026-10-25", "30 1 * * *", "25 01:30+01", "25 01:30+00"),
        ("Europe/Berlin", "2026-10-25", "30 2 * * *", "25 02:30+02", "25 02:30+01"),
        ("Europe/Berlin", "2026-10-25", "0 2 * * *", "25 02:00+02", "25 02:00+01"),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * *", "05 01:45+11", "05 01:45+10:30"),
        ("America/Havana", "2025-11-02", "0 0 * * *", "02 00:00-04", "02 00:00-05"),
        ("Africa/Casablanca", "2025-02-23", "30 2 * * *", "23 02:30+01", "23 02:30+00"),
    ] {
        for (rule, expected) in [
            (OverlapRule::First, vec![first]),
            (OverlapRule::Second, vec![second]),
            (OverlapRule::Both, vec![first, second]),
        ] {
            let recurrence = ruled(cron, zone, GapRule::RunAfter, rule);
            assert_eq!(ticks(&recurrence, [day, day]), expected, "`{cron}` in {zone}, {rule:?}");
        }
    }
}

#[test]
fn several_times_in_the_overlap_stay_in_order() {
    let passes =
        |overlap| ticks(&ruled("0,30 2 * * *", "Europe/Berlin", GapRule::RunAfter, overlap), ["2026-10-25"; 2]);
    assert_eq!(passes(OverlapRule::First), ["25 02:00+02", "25 02:30+02"]);
    assert_eq!(passes(OverlapRule::Second), ["25 02:00+01", "25 02:30+01"]);
    assert_eq!(passes(OverlapRule::Both), ["25 02:00+02", "25 02:30+02", "25 02:00+01", "25 02:30+01"]);
}

#[test]
fn a_day_that_ends_twice_is_one_day_to_a_nightly_job() {
    // São Paulo put 00:00 back to 23:00 of the day before.
    let days = ["2018-02-17", "2018-02-18"];
    let passes = |overlap| ticks(&ruled("30 23 * * *", "America/Sao_Paulo", GapRule::RunAfter, overlap), days);
    assert_eq!(passes(OverlapRule::First), ["17 23:30-02", "18 23:30-03"]);
    assert_eq!(passes(OverlapRule::Second), ["17 23:30-03", "18 23:30-03"]);
    assert_eq!(passes(OverlapRule::Both), ["17 23:30-02", "17 23:30-03", "18 23:30-03"]);
}

#[test]
fn a_star_in_minute_or_hour_follows_elapsed_time_whatever_the_rules() {
    for (cron, gap_day, overlap_day) in [
        (
            "*/30 * * * *",
            &["01:00+01", "01:30+01", "03:00+02", "03:30+02"][..],
            &["02:00+02", "02:30+02", "02:00+01", "02:30+01"][..],
        ),
        ("0 * * * *", &["01:00+01", "03:00+02"], &["02:00+02", "02:00+01"]),
        ("*/30 2 * * *", &[], &["02:00+02", "02:30+02", "02:00+01", "02:30+01"]),
    ] {
        for gap in [GapRule::RunAfter, GapRule::Skip] {
            for overlap in [OverlapRule::First, OverlapRule::Second, OverlapRule::Both] {
                let recurrence = ruled(cron, "Europe/Berlin", gap, overlap);
                let shown = |from: &str, to: &str| {
                    let ticks = recurrence.between(at(from), at(to), 100);
                    let time = |tick: &taskplane_domain::schedule::Tick| {
                        format!("{}{}", tick.local.strftime("%H:%M"), tick.offset)
                    };
                    ticks.iter().map(time).collect::<Vec<_>>()
                };
                let spring = shown("2026-03-28T23:59:59Z", "2026-03-29T01:59:59Z");
                assert_eq!(spring, gap_day, "`{cron}`, {gap:?}");
                let autumn = shown("2026-10-24T23:59:59Z", "2026-10-25T01:59:59Z");
                assert_eq!(autumn, overlap_day, "`{cron}`, {overlap:?}");
            }
        }
    }
}

#[test]
fn a_restart_on_such_a_day_loses_and_repeats_nothing() {
    let half_hours = recurrence("*/30 * * * *", "Europe/Berlin");
    assert_eq!(half_hours.next(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T01:00:00Z")));
    let hours = recurrence("13 1-4 * * *", "America/Indiana/Winamac");
    assert_eq!(hours.prev(at("2007-03-11T08:12:59Z")), Some(at("2007-03-11T08:00:00Z")));
    let nightly = recurrence("30 2 * * *", "Europe/Berlin");
    assert_eq!(nightly.next(at("2026-10-25T01:10:00Z")), Some(at("2026-10-26T01:30:00Z")));
    assert_eq!(nightly.prev(at("2026-10-25T01:30:00Z")), Some(at("2026-10-25T00:30:00Z")));
}

#[test]
fn a_lost_day_runs_at_its_end() {
    // Samoa went over the date line: 2011-12-30 did not happen.
    let days = ["2011-12-29", "2011-12-31"];
    let noon = |gap| ticks(&ruled("0 12 * * *", "Pacific/Apia", gap, OverlapRule::First), days);
    assert_eq!(noon(GapRule::RunAfter), ["29 12:00-10", "31 00:00+14", "31 12:00+14"]);
    assert_eq!(noon(GapRule::Skip), ["29 12:00-10", "31 12:00+14"]);
}

#[test]
fn a_zone_that_gave_up_dst_keeps_still() {
    let nightly = recurrence("0 0 * * *", "America/Sao_Paulo");
    let ticks = nightly.between(at("2019-10-01T00:00:00Z"), at("2020-03-31T23:59:59Z"), 1000);
    assert_eq!(ticks.len(), 183);
    assert!(ticks.iter().all(|tick| tick.remark.is_none() && tick.offset.seconds() == -3 * 3600));
}

#[test]
fn a_preview_says_what_is_odd_about_a_tick() {
    let mut nightly = recurrence("15,45 2 * * *", "Europe/Berlin");
    let spring = nightly.upcoming(at("2026-03-29T00:00:00Z"), 2);
    assert_eq!(spring[0].remark, Some(DstRemark::OutOfGap { meant: "2026-03-29T02:15".parse().unwrap() }));
    assert_eq!(
        spring[0].to_string(),
        "2026-03-29T01:00:00Z = 2026-03-29T03:00:00+02 (moved out of the gap: 2026-03-29 02:15 does not exist)"
    );
    assert_eq!(spring[1].to_string(), "2026-03-30T00:15:00Z = 2026-03-30T02:15:00+02");

    nightly.overlap = OverlapRule::Both;
    let autumn = nightly.between(at("2026-10-25T00:00:00Z"), at("2026-10-25T02:00:00Z"), 10);
    let remarks: Vec<_> = autumn.iter().map(|tick| tick.remark.unwrap().to_string()).collect();
    let (first, second) = ("first pass of the overlap", "second pass of the overlap");
    assert_eq!(remarks, [first, first, second, second]);
}
