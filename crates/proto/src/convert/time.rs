//! Times and durations.

use std::time::Duration;

use jiff::Timestamp;

/// Cut to what every database keeps.
pub fn micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

pub fn timestamp_to_pb(time: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    // Before 1970 jiff counts both down from zero, protobuf counts the fraction upwards.
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

/// None when it is no point in time between the years 1 and 9999, which is what the format allows.
pub fn timestamp_from_pb(time: &prost_types::Timestamp) -> Option<Timestamp> {
    const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let fine = YEARS.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    if fine { Timestamp::new(time.seconds, time.nanos).ok().map(micros) } else { None }
}

pub fn duration_to_pb(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// None when it is negative or malformed.
pub(super) fn duration_from_pb(duration: &prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(duration.seconds).ok()?, nanos))
}
