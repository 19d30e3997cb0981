//! `next` and `prev` against the crates `cron` and `croner`, in a zone with DST days.

use std::hint::black_box;
use std::str::FromStr as _;
use std::time::Instant;

use chrono::DateTime;
use chrono_tz::Tz;
use jiff::Timestamp;
use taskplane_domain::schedule::{Cron, Recurrence, Zone};

const ZONE: &str = "Europe/Berlin";
/// Ours and croner's writing, and that of `cron`, which begins with seconds and counts days of the week from another day.
const EXPRESSIONS: [(&str, &str); 4] = [
    ("* * * * *", "0 * * * * *"),
    ("0 9 * * 1-5", "0 0 9 * * MON-FRI"),
    // In spring the clock jumps over it, in autumn it comes twice.
    ("30 2 * * *", "0 30 2 * * *"),
    ("0 0 29 2 *", "0 0 0 29 2 *"),
];
const INSTANTS: i64 = 512;
const ROUNDS: usize = 15;

type Answers = Vec<Option<i64>>;

pub fn measure() {
    println!("ns per call in {ZONE}, median of {ROUNDS} rounds over {INSTANTS} instants of 2024 to 2027;");
    println!(
        "behind each other crate: how many times our time it takes, and how many of its answers differ from ours\n"
    );
    println!("{:<12} {:<5} {:>9}   {:>30}   {:>30}", "expression", "", "taskplane", "cron", "croner");
    for (ours, theirs) in EXPRESSIONS {
        let own = Recurrence::new(Cron::parse(ours).unwrap(), Zone::parse(ZONE).unwrap());
        let cron = cron::Schedule::from_str(theirs).unwrap();
        let croner = croner::Cron::from_str(ours).unwrap();
        let next = [
            round(jiff_time, |at| own.next(*at).map(Timestamp::as_second)),
            round(chrono_time, |at| cron.after(at).next().map(|tick| tick.timestamp())),
            round(chrono_time, |at| croner.find_next_occurrence(at, false).ok().map(|tick| tick.timestamp())),
        ];
        line(ours, "next", &next);
        // `prev` takes an instant that is a tick itself for an answer; none of those asked about is one.
        let prev = [
            round(jiff_time, |at| own.prev(*at).map(Timestamp::as_second)),
            round(chrono_time, |at| cron.after(at).next_back().map(|tick| tick.timestamp())),
            round(chrono_time, |at| croner.find_previous_occurrence(at, false).ok().map(|tick| tick.timestamp())),
        ];
        line(ours, "prev", &prev);
    }
    println!();
}

fn line(expression: &str, what: &str, [own, cron, croner]: &[(f64, Answers); 3]) {
    let other = |(nanos, answers): &(f64, Answers)| {
        let differ = answers.iter().zip(&own.1).filter(|(theirs, ours)| theirs != ours).count();
        format!("{nanos:.0} = {:.2} x, {differ} differ", nanos / own.0)
    };
    println!("{expression:<12} {what:<5} {:>9.0}   {:>30}   {:>30}", own.0, other(cron), other(croner));
}

/// Nanoseconds per call, and the answers.
fn round<T>(time: fn(i64) -> T, ask: impl Fn(&T) -> Option<i64>) -> (f64, Answers) {
    let instants: Vec<T> = (0..INSTANTS).map(instant).map(time).collect();
    let mut rounds = Vec::new();
    let mut answers = Answers::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        answers = instants.iter().map(|at| ask(black_box(at))).collect();
        rounds.push(begun.elapsed().as_nanos() as f64 / INSTANTS as f64);
    }
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 2], answers)
}

/// Seconds since 1970, scattered over four years, and never on a full minute.
fn instant(number: i64) -> i64 {
    const BEGIN: i64 = 1_704_067_200;
    const MINUTES: i64 = 4 * 365 * 24 * 60;
    BEGIN + number * 1_000_003 % MINUTES * 60 + 1 + number % 59
}

fn jiff_time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn chrono_time(second: i64) -> DateTime<Tz> {
    DateTime::from_timestamp(second, 0).unwrap().with_timezone(&ZONE.parse().unwrap())
}
