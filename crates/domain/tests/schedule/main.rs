//! Schedules, seen from outside: against a clock walked minute by minute, on known DST days, after outages, and with bad input.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod bad_input;
mod catch_up;
mod dst_days;
mod far_dates;
mod model;
mod pattern;
mod readings;
mod walker;
mod zones;

use jiff::Timestamp;
use taskplane_domain::schedule::{Cron, Recurrence, Zone};

fn recurrence(cron: &str, zone: &str) -> Recurrence {
    Recurrence::new(Cron::parse(cron).unwrap(), Zone::parse(zone).unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
