//! Values as people write them: durations, sizes, pairs, counts.

use std::time::Duration;

use jiff::civil::Date;
use jiff::fmt::friendly::SpanParser;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Lines;

/// `90s`, `2m`, `1h30m`, `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a duration; write for example 90s, 2m or 1h30m");
    let parsed: SignedDuration = SpanParser::new().parse_duration(text).map_err(|_| refused())?;
    Duration::try_from(parsed).map_err(|_| format!("`{text}` is negative"))
}

/// As [`duration`], but some time at least.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("some time is needed, for example 30s".to_owned()),
        some => Ok(some),
    }
}

/// A point in time: a duration back from `now`, or a time with its offset.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(back) = duration(text) {
        return now.checked_sub(back).map_err(|_| format!("`{text}` is too long ago"));
    }
    text.parse().map_err(|_| format!("`{text}` is neither a duration (10m) nor a time (2026-01-31T12:00:00Z)"))
}

/// A point in time with its offset, or the beginning of a day in UTC.
pub fn time(text: &str) -> Result<Timestamp, String> {
    let day = |date: Date| date.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp());
    // A date would also be read off a time without its offset, which could mean any place's.
    let date = (text.len() == "2026-01-31".len()).then(|| text.parse::<Date>().and_then(day));
    match (text.parse::<Timestamp>(), date) {
        (Ok(time), _) | (_, Some(Ok(time))) => Ok(time),
        _ => Err(format!("`{text}` is not a time; write for example 2026-01-31T12:00:00Z, or 2026-01-31")),
    }
}

/// A value, or the word that takes one away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrNone<T> {
    None,
    Some(T),
}

impl<T> OrNone<T> {
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Some(value) => Some(value),
        }
    }
}

/// `none`, or what `parse` reads.
pub fn or_none<T>(
    parse: fn(&str) -> Result<T, String>,
) -> impl Fn(&str) -> Result<OrNone<T>, String> + Clone + Send + Sync + 'static
where
    T: 'static,
{
    move |text| match text {
        "none" => Ok(OrNone::None),
        text => parse(text).map(OrNone::Some),
    }
}

/// A number that is not negative.
pub fn count(text: &str) -> Result<i32, String> {
    text.parse()
        .ok()
        .filter(|count| *count >= 0)
        .ok_or_else(|| format!("`{text}` is not a count; write 0, 1, 2…, or none"))
}

/// `KEY=VALUE`; the value may be empty and may hold further `=`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("a name is missing before `=`".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("write KEY=VALUE".to_owned()),
    }
}

/// Bytes, with K, M, G or T (also Ki…, KB…) in powers of 1024.
pub fn size(text: &str) -> Result<i64, String> {
    let refused = || format!("`{text}` is not a size; write for example 512K, 10M or 1Gi");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: i64 = number.parse().map_err(|_| refused())?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "ki" | "kb" | "kib" => 10,
        "m" | "mi" | "mb" | "mib" => 20,
        "g" | "gi" | "gb" | "gib" => 30,
        "t" | "ti" | "tb" | "tib" => 40,
        _ => return Err(refused()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is too large"))
}

/// A count of lines; `all` or a negative number means every line.
pub fn lines(text: &str) -> Result<Lines, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Lines::All);
    }
    match text.parse::<i32>() {
        Ok(count) if count < 0 => Ok(Lines::All),
        Ok(count) => Ok(Lines::Last(count)),
        Err(_) => Err("write a number, or `all`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("2m", 120), ("1h30m", 5400), ("1h 30m", 5400), ("0s", 0)] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        assert_eq!(duration("500ms").unwrap().as_millis(), 500);
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_an_example() {
        for text in ["90", "", "fast", "-5s", "1x"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("90").unwrap_err().contains("write for example 90s"));
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn since_takes_a_duration_or_a_time() {
        let now: Timestamp = "2030-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(since("10m", now).unwrap().to_string(), "2030-01-01T11:50:00Z");
        assert_eq!(since("2029-12-31T00:00:00+01:00", now).unwrap().to_string(), "2029-12-30T23:00:00Z");
        assert!(since("yesterday", now).is_err());
    }

    #[test]
    fn a_time_has_its_offset_or_is_a_day_in_utc() {
        assert_eq!(time("2026-03-29T02:00:00+01:00").unwrap().to_string(), "2026-03-29T01:00:00Z");
        assert_eq!(time("2026-03-29").unwrap().to_string(), "2026-03-29T00:00:00Z");
        for text in ["", "2026-03-29T02:00:00", "2026-03", "tomorrow", "2026-02-30"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pair_keeps_further_equal_signs() {
        assert_eq!(pair("A=b=c").unwrap(), ("A".to_owned(), "b=c".to_owned()));
        assert_eq!(pair("A=").unwrap(), ("A".to_owned(), String::new()));
        assert!(pair("A").is_err());
        assert!(pair("=b").is_err());
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("512K", 512 << 10), ("10M", 10 << 20), ("1Gi", 1 << 30), ("2gb", 2 << 30)] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "M", "-1", "1.5M", "1X", "99999999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_may_be_all() {
        assert_eq!(lines("10").unwrap(), Lines::Last(10));
        assert_eq!(lines("-1").unwrap(), Lines::All);
        assert_eq!(lines("all").unwrap(), Lines::All);
        assert!(lines("ten").is_err());
    }
}
