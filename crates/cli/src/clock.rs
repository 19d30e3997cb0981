//! The one place that reads the clock, and how times and durations are shown.

use std::time::UNIX_EPOCH;

use jiff::{SignedDuration, Timestamp};

/// Now; a clock set before 1970 reads as 1970.
pub fn now() -> Timestamp {
    let since = UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::UNIX_EPOCH.checked_add(since).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub fn from_wire(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

pub fn to_wire(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// How long ago something was, or how long it took, in at most two units as kubectl shows it.
pub fn human(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        small => format!("{big}{big_unit}{small}{small_unit}"),
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if days < 730 {
        format!("{days}d")
    } else {
        two(days / 365, "y", days % 365, "d")
    }
}

/// A point in time as it was sent, in UTC.
pub fn shown(time: Option<prost_types::Timestamp>) -> Option<String> {
    Some(from_wire(time?)?.to_string())
}

/// How long it is until then; what is due already says so.
pub fn until(time: Option<prost_types::Timestamp>, now: Timestamp) -> Option<String> {
    let left = from_wire(time?)?.duration_since(now);
    Some(if left.is_positive() { format!("in {}", human(left)) } else { "now".to_owned() })
}

/// A duration to its last digit, as it can be typed.
pub fn exact(duration: prost_types::Duration) -> Option<String> {
    let span = SignedDuration::from_secs(duration.seconds);
    let span = span.checked_add(SignedDuration::from_nanos(i64::from(duration.nanos)))?;
    Some(format!("{span:#}"))
}

/// The time between two points, where the second may still lie ahead and the first may be unknown.
pub fn between(
    start: Option<prost_types::Timestamp>,
    end: Option<prost_types::Timestamp>,
    now: Timestamp,
) -> Option<String> {
    let start = from_wire(start?)?;
    let end = end.and_then(from_wire).unwrap_or(now);
    Some(human(end.duration_since(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        for (seconds, shown) in [
            (-3, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (301, "5m1s"),
            (3600, "60m"),
            (3 * 3600 + 60, "3h1m"),
            (30 * 3600, "30h"),
            (50 * 3600, "2d2h"),
            (100 * 86_400, "100d"),
            (800 * 86_400, "2y70d"),
        ] {
            assert_eq!(human(SignedDuration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn what_lies_ahead_says_how_far() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let now = Timestamp::from_second(100).unwrap();
        assert_eq!(until(at(145), now).as_deref(), Some("in 45s"));
        assert_eq!(until(at(99), now).as_deref(), Some("now"));
        assert_eq!(until(None, now), None);
        assert_eq!(shown(at(145)).as_deref(), Some("1970-01-01T00:02:25Z"));
    }

    #[test]
    fn an_exact_duration_reads_as_it_can_be_typed() {
        let exact = |seconds, nanos| super::exact(prost_types::Duration { seconds, nanos }).unwrap();
        assert_eq!(exact(90, 0), "1m 30s");
        assert_eq!(exact(3600, 500_000_000), "1h 500ms");
    }

    #[test]
    fn something_without_an_end_lasts_until_now() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let now = Timestamp::from_second(100).unwrap();
        assert_eq!(between(at(40), None, now).as_deref(), Some("60s"));
        assert_eq!(between(at(40), at(50), now).as_deref(), Some("10s"));
        assert_eq!(between(None, at(50), now), None);
    }
}
