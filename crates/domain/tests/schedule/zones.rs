//! Zones come from the built-in database by any name they ever had.

use taskplane_domain::schedule::{Zone, tzdb_release};

#[test]
fn a_zone_is_kept_as_the_database_writes_it() {
    for (asked, name) in [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("AMERICA/NEW_YORK", "America/New_York"),
        ("utc", "UTC"),
        ("Etc/UTC", "Etc/UTC"),
        ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
    ] {
        let zone = Zone::parse(asked).unwrap();
        assert_eq!((zone.name(), zone.to_string()), (name, name.to_owned()));
    }
    assert_eq!(Zone::default().name(), "UTC");
}

#[test]
fn a_renamed_zone_keeps_its_old_name_and_its_clock() {
    let next = |zone| super::recurrence("0 9 * * *", zone).next(super::at("2026-06-01T12:00:00Z"));
    for (old, new) in [
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("Europe/Kiev", "Europe/Kyiv"),
        ("US/Eastern", "America/New_York"),
        ("Asia/Saigon", "Asia/Ho_Chi_Minh"),
    ] {
        assert_eq!(Zone::parse(old).unwrap().name(), old);
        assert_eq!(next(old), next(new), "{old}");
    }
}

#[test]
fn an_unknown_zone_is_refused_with_the_likely_ones() {
    let release = tzdb_release();
    for (asked, advice) in [
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("America/New York", "did you mean America/New_York"),
        ("Berlin", "did you mean Europe/Berlin"),
        ("+02:00", "want a name as Europe/Berlin"),
        ("CEST", "did you mean CET or EST"),
        ("Etc/Unknown", "want a name as Europe/Berlin"),
        ("Mars/Olympus_Mons", "want a name as Europe/Berlin"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "want a name as Europe/Berlin"),
    ] {
        let error = Zone::parse(asked).unwrap_err().to_string();
        assert_eq!(error, format!("\"{asked}\" is not in the time zone database ({release}): {advice}"));
    }
    let escaped = Zone::parse("Europe/Berlin\n").unwrap_err().to_string();
    assert!(escaped.starts_with("\"Europe/Berlin\\n\" is not in"), "{escaped}");
}

#[test]
fn no_name_and_an_endless_one_are_refused() {
    let refused = |name: &str| Zone::parse(name).unwrap_err().to_string();
    assert_eq!(refused(""), "is empty: want the name of a time zone, as in Europe/Berlin");
    assert_eq!(refused(&"x".repeat(65)), "is 65 bytes long: want the name of a time zone, as in Europe/Berlin");
}

#[test]
fn the_database_names_its_release() {
    let (year, letter) = tzdb_release().split_at(4);
    assert!(year.parse::<u16>().unwrap() >= 2026, "{year}");
    assert!(letter.len() == 1 && letter.bytes().all(|letter| letter.is_ascii_lowercase()), "{letter}");
}
