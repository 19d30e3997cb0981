//! However rare the times and however restless the zone, a walk is short.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

use super::super::cron::Cron;
use super::super::range::{EARLIEST, LATEST};
use super::super::recurrence::{GapRule, OverlapRule, Recurrence};
use super::super::zone::Zone;
use super::{STEPS_MAX, Walk};

/// Steps of the longer one of `next` and `prev`.
fn steps(recurrence: &Recurrence, at: Timestamp) -> u32 {
    let (mut forward, mut backward) = (Walk::new(recurrence), Walk::new(recurrence));
    forward.next(at.as_second());
    backward.prev(at.as_second());
    forward.steps.max(backward.steps)
}

fn zones() -> impl Iterator<Item = Zone> {
    let names: Vec<_> = TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
    names.into_iter().filter_map(|name| Zone::parse(&name).ok())
}

/// The rules that ask most of the calendar.
fn restless(cron: &str, zone: Zone) -> Recurrence {
    let cron = Cron::parse(cron).unwrap();
    Recurrence { cron, zone, gap: GapRule::RunAfter, overlap: OverlapRule::Both }
}

#[test]
fn a_leap_day_on_a_sunday_is_found_within_bounds_in_every_zone() {
    let mut most = 0;
    for zone in zones() {
        // Once in 28 years, 40 around a century: the rarest there is.
        let rarest = restless("0 0 29 2 */7", zone.clone());
        for year in (1971..2100).step_by(16) {
            let at = jiff::civil::date(year, 6, 15).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
            let taken = steps(&rarest, at);
            assert!(taken <= STEPS_MAX, "{taken} steps from {at} in {zone}");
            most = most.max(taken);
        }
        let (first, last) = (steps(&rarest, EARLIEST), steps(&rarest, LATEST));
        most = most.max(first).max(last);
    }
    assert!((50..=STEPS_MAX).contains(&most), "{most}");
}

#[test]
fn a_daily_time_takes_a_handful_of_steps_in_every_zone() {
    for zone in zones() {
        for cron in ["30 2 * * *", "*/5 * * * *", "0 0 1 * *"] {
            let daily = restless(cron, zone.clone());
            for second in (EARLIEST.as_second()..LATEST.as_second()).step_by(86_400 * 997) {
                let at = Timestamp::from_second(second).unwrap();
                let taken = steps(&daily, at);
                assert!(taken <= 8, "{taken} steps for `{cron}` from {at} in {zone}");
            }
        }
    }
}

#[test]
fn what_never_comes_takes_no_step() {
    for zone in zones().take(50) {
        let never = restless("0 0 30 2 *", zone);
        assert_eq!(steps(&never, EARLIEST), 0);
        assert_eq!(steps(&never, LATEST), 0);
    }
}
