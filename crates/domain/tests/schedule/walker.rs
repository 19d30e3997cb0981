//! `next`, `prev`, `latest_due` and `between` say what the watched clock shows, around any change of any zone's clocks.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use taskplane_domain::schedule::{Cron, DstRemark, GapRule, OverlapRule, Recurrence, Zone};

use super::model::{Oddity, Seen, Watched};
use super::pattern::{Pattern, pattern};

/// Changes of clocks looked at, and expressions tried on each.
const CHANGES: u32 = 600;
const PATTERNS: usize = 12;

/// More ticks than there can be: an answer that does not move is caught.
const ENDLESS: usize = 10_000;

const HOUR: i64 = 3600;
/// Watched on each side of a change; ticks are compared where the clock's history of a day and more is known.
const WATCHED: i64 = 56 * HOUR;
const COMPARED: i64 = 26 * HOUR;
/// With very many ticks only the hours next to the change are gone through.
const MANY: usize = 150;
const CLOSE: i64 = 90 * 60;

fn zone_names() -> Vec<String> {
    let names: Vec<_> = TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
    assert!(names.len() > 400, "{names:?}");
    names
}

/// An instant at which the zone's clocks were, are or will be changed; any instant in a zone that never changes them.
fn change(zone: &TimeZone, pick: prop::sample::Index) -> i64 {
    let first = "1971-02-01T00:00:00Z".parse().unwrap();
    let last: Timestamp = "2037-12-31T00:00:00Z".parse().unwrap();
    let changes: Vec<_> =
        zone.following(first).map(|change| change.timestamp()).take_while(|change| *change < last).collect();
    if changes.is_empty() { 1_000_000_020 + pick.index(1000) as i64 * 60 } else { pick.get(&changes).as_second() }
}

fn rules() -> impl Strategy<Value = (GapRule, OverlapRule)> {
    let gap = prop_oneof![2 => Just(GapRule::RunAfter), 1 => Just(GapRule::Skip)];
    let overlap = prop_oneof![Just(OverlapRule::First), Just(OverlapRule::Second), Just(OverlapRule::Both)];
    (gap, overlap)
}

#[derive(Debug, Clone)]
struct Probe {
    first: i64,
    second: i64,
    nanosecond: i64,
}

fn probe() -> impl Strategy<Value = Probe> {
    let offset = || prop_oneof![-COMPARED..COMPARED, -HOUR..HOUR, (-90_i64..90).prop_map(|minutes| minutes * 60)];
    let nanosecond = prop_oneof![Just(0), 0_i64..1_000_000_000];
    (offset(), offset(), nanosecond).prop_map(|(first, second, nanosecond)| Probe { first, second, nanosecond })
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

struct Case<'a> {
    pattern: &'a Pattern,
    recurrence: Recurrence,
    at: i64,
    /// All ticks behind `at - COMPARED` and up to `at + COMPARED`.
    ticks: Vec<Seen>,
}

impl Case<'_> {
    fn check(&self, probes: &[Probe]) {
        let reach = if self.ticks.len() > MANY { CLOSE } else { COMPARED };
        self.check_runs(self.at - reach, self.at + reach);
        for probe in probes {
            self.check_probe(probe);
        }
    }

    fn check_runs(&self, from: i64, to: i64) {
        let expected: Vec<_> = self.ticks.iter().filter(|tick| from < tick.second && tick.second <= to).collect();
        let expected_seconds: Vec<_> = expected.iter().map(|tick| second(tick.second)).collect();
        let (from, to) = (second(from), second(to));

        let shown = self.recurrence.between(from, to, ENDLESS);
        let forward: Vec<_> = shown.iter().map(|tick| tick.at).collect();
        assert_eq!(forward, expected_seconds, "forward, {self}");

        let older = |tick: &Timestamp| self.recurrence.prev(*tick - SignedDuration::from_nanos(1));
        let backward =
            std::iter::successors(self.recurrence.prev(to), older).take(ENDLESS).take_while(|tick| *tick > from);
        let mut backward: Vec<_> = backward.collect();
        backward.reverse();
        assert_eq!(backward, expected_seconds, "backward, {self}");

        let remarks: Vec<_> = shown.iter().map(|tick| tick.remark.map(oddity)).collect();
        let oddities: Vec<_> = expected.iter().map(|tick| tick.oddity).collect();
        assert_eq!(remarks, oddities, "remarks, {self}");
    }

    fn check_probe(&self, probe: &Probe) {
        let edge = self.at + COMPARED;
        let instant = second(self.at + probe.first) + SignedDuration::from_nanos(probe.nanosecond);
        let later: Vec<_> = self.ticks.iter().map(|tick| second(tick.second)).filter(|tick| *tick > instant).collect();
        match (self.recurrence.next(instant), later.first()) {
            (Some(next), Some(expected)) => assert_eq!(next, *expected, "next after {instant}, {self}"),
            (next, None) => {
                assert!(next.is_none_or(|next| next > second(edge)), "next after {instant} is {next:?}, {self}")
            }
            (None, Some(expected)) => panic!("next after {instant} is none and not {expected}, {self}"),
        }
        let mark = instant.min(second(self.at + probe.second));
        let now = instant.max(second(self.at + probe.second));
        let ticks = self.ticks.iter().map(|tick| second(tick.second));
        let missed: Vec<_> = ticks.filter(|tick| mark < *tick && *tick <= now).collect();
        let due = self.recurrence.latest_due(mark, now);
        assert_eq!(due.map(|due| due.tick), missed.last().copied(), "due at {now} since {mark}, {self}");
        if let Some(due) = due {
            assert_eq!(due.superseded, missed.len() as u64 - 1, "superseded at {now} since {mark}, {self}");
        }
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Recurrence { zone, gap, overlap, .. } = &self.recurrence;
        write!(f, "`{}` in {zone} around {}, {gap:?}, {overlap:?}", self.pattern.text(), second(self.at))
    }
}

fn oddity(remark: DstRemark) -> Oddity {
    match remark {
        DstRemark::OutOfGap { .. } => Oddity::OutOfGap,
        DstRemark::FirstPass => Oddity::FirstPass,
        DstRemark::SecondPass => Oddity::SecondPass,
    }
}

#[test]
fn ticks_are_those_of_a_clock_watched_minute_by_minute() {
    let names = zone_names();
    let tries = prop::collection::vec((pattern(), rules(), prop::collection::vec(probe(), 6)), PATTERNS);
    let strategy = (prop::sample::select(names), any::<prop::sample::Index>(), tries);
    let config =
        ProptestConfig { cases: CHANGES, failure_persistence: None, max_shrink_iters: 200, ..Default::default() };
    proptest!(config, |((name, pick, tries) in strategy)| {
        let database = TimeZoneDatabase::bundled().get(&name).unwrap();
        let at = change(&database, pick);
        let watched = Watched::new(&database, at - WATCHED, at + WATCHED);
        let zone = match Zone::parse(&name) {
            Ok(zone) => zone,
            Err(_) if name == "Etc/Unknown" => return Ok(()),
            Err(error) => panic!("{name} {error}"),
        };
        for (pattern, (gap, overlap), probes) in &tries {
            let cron = Cron::parse(&pattern.text()).unwrap();
            let ticks = watched.ticks(pattern, *gap, *overlap).into_iter();
            let ticks = ticks.filter(|tick| at - COMPARED < tick.second && tick.second <= at + COMPARED).collect();
            let recurrence = Recurrence { cron, zone: zone.clone(), gap: *gap, overlap: *overlap };
            Case { pattern, recurrence, at, ticks }.check(probes);
        }
    });
}
