//! What is no expression is refused with a message that points at the field; nothing that is typed makes it panic.

use proptest::prelude::*;
use taskplane_domain::schedule::{Cron, EARLIEST, LATEST, Recurrence, Zone};

fn refused(text: &str) -> String {
    match Cron::parse(text) {
        Ok(cron) => panic!("`{text}` is accepted as `{cron}`"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    const FIVE: &str = "want five (minute, hour, day of month, month, day of week)";
    const MORE: &str = "unix cron has neither a seconds nor a year field";
    const MACROS: &str = "want five fields, or @yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly";
    let table = [
        ("", "is empty: want five fields (minute, hour, day of month, month, day of week)".to_owned()),
        (" \t ", "is empty: want five fields (minute, hour, day of month, month, day of week)".to_owned()),
        ("* * * *", format!("has 4 fields: {FIVE}")),
        ("daily", format!("has 1 field: {FIVE}")),
        ("0 */5 * * * *", format!("has 6 fields: {FIVE}; {MORE}")),
        ("0 0 12 * * ? 2030", format!("has 7 fields: {FIVE}; {MORE}")),
        (
            "TZ=Europe/Berlin 0 9 * * *",
            "\"TZ=Europe/Berlin\" is not part of the expression: the time zone is a setting of its own, write the five \
             fields only"
                .to_owned(),
        ),
        (
            "CRON_TZ=UTC 0 9 * * *",
            "\"CRON_TZ=UTC\" is not part of the expression: the time zone is a setting of its own, write the five \
             fields only"
                .to_owned(),
        ),
        (
            "@every 1s",
            "\"@every\" is no unix cron: for a steady rhythm write a step, as in */10 * * * *".to_owned(),
        ),
        ("@reboot", format!("\"@reboot\" is no time: {MACROS}")),
        ("@fortnightly", format!("\"@fortnightly\" is no time: {MACROS}")),
        ("@daily 5", "\"@daily\" stands alone: remove what follows it".to_owned()),
    ];
    for (text, message) in table {
        assert_eq!(refused(text), message, "{text}");
    }
    let endless = "1,".repeat(10_000) + "1 * * * *";
    assert_eq!(refused(&endless), "is 20009 bytes long: want at most 1024");
}

#[test]
fn a_bad_field_is_named_counted_and_quoted() {
    const MINUTE: &str = "want *, numbers from 0 to 59, ranges as 10-20, steps as */5, and lists of these";
    const HOUR: &str = "want *, numbers from 0 to 23, ranges as 9-17, steps as */2, and lists of these";
    const DAY: &str = "want *, numbers from 1 to 31, ranges as 1-7, steps as */2, and lists of these";
    const MONTH: &str = "want *, numbers from 1 to 12, JAN to DEC, ranges as 1-6, steps as */3, and lists of these";
    const WEEK: &str = "want *, numbers from 0 to 7, SUN to SAT, ranges as MON-FRI, steps as */2, and lists of these";
    const OTHER: &str = "is not unix cron: L, W and # belong to another dialect";
    let table = [
        ("60 * * * *", "1 (minute): \"60\" is out of range: want 0 to 59".to_owned()),
        ("0-60 * * * *", "1 (minute): \"0-60\" is out of range: want 0 to 59".to_owned()),
        (
            "99999999999999999999 * * * *",
            "1 (minute): \"99999999999999999999\" is out of range: want 0 to 59".to_owned(),
        ),
        ("0 24 * * *", "2 (hour): \"24\" is out of range: want 0 to 23".to_owned()),
        ("0 0 0 * *", "3 (day of month): \"0\" is out of range: want 1 to 31".to_owned()),
        ("0 0 32 * *", "3 (day of month): \"32\" is out of range: want 1 to 31".to_owned()),
        ("0 0 1 13 *", "4 (month): \"13\" is out of range: want 1 to 12".to_owned()),
        ("0 0 * * 8", "5 (day of week): \"8\" is out of range: want 0 to 7".to_owned()),
        ("50-10 * * * *", "1 (minute): \"50-10\" runs backwards: write 50-59,0-10".to_owned()),
        ("0 22-0 * * *", "2 (hour): \"22-0\" runs backwards: write 22-23,0".to_owned()),
        ("0 0 * NOV-FEB *", "4 (month): \"NOV-FEB\" runs backwards: write 11-12,1-2".to_owned()),
        ("0 0 * * 5-1", "5 (day of week): \"5-1\" runs backwards: write 5-7,1".to_owned()),
        ("0 0 * * 6-0", "5 (day of week): \"6-0\" runs backwards: write 6-7".to_owned()),
        ("0 0 * * sat-tue", "5 (day of week): \"sat-tue\" runs backwards: write 6-7,1-2".to_owned()),
        ("*/0 * * * *", "1 (minute): \"*/0\" has a step out of range: want 1 to 59".to_owned()),
        ("*/100 * * * *", "1 (minute): \"*/100\" has a step out of range: want 1 to 59".to_owned()),
        ("0 */24 * * *", "2 (hour): \"*/24\" has a step out of range: want 1 to 23".to_owned()),
        ("5/15 * * * *", "1 (minute): \"5/15\" has a step but no range: write 5-59/15, or 5 alone".to_owned()),
        ("0 0 * JAN/2 *", "4 (month): \"JAN/2\" has a step but no range: write 1-12/2, or 1 alone".to_owned()),
        ("1, * * * *", "1 (minute): \"1,\" has an empty item: remove the stray comma".to_owned()),
        (", * * * *", "1 (minute): \",\" has an empty item: remove the stray comma".to_owned()),
        ("0 1,,2 * * *", "2 (hour): \"1,,2\" has an empty item: remove the stray comma".to_owned()),
        ("-1 * * * *", format!("1 (minute): \"-1\" is not understood: {MINUTE}")),
        ("1.5 * * * *", format!("1 (minute): \"1.5\" is not understood: {MINUTE}")),
        ("1- * * * *", format!("1 (minute): \"1-\" is not understood: {MINUTE}")),
        ("1-2-3 * * * *", format!("1 (minute): \"1-2-3\" is not understood: {MINUTE}")),
        ("*-5 * * * *", format!("1 (minute): \"*-5\" is not understood: {MINUTE}")),
        ("**/5 * * * *", format!("1 (minute): \"**/5\" is not understood: {MINUTE}")),
        ("*/ * * * *", format!("1 (minute): \"*/\" is not understood: {MINUTE}")),
        ("*/5/5 * * * *", format!("1 (minute): \"*/5/5\" is not understood: {MINUTE}")),
        ("/5 * * * *", format!("1 (minute): \"/5\" is not understood: {MINUTE}")),
        ("+5 * * * *", format!("1 (minute): \"+5\" is not understood: {MINUTE}")),
        ("0 ١ * * *", format!("2 (hour): \"\\u{{661}}\" is not understood: {HOUR}")),
        ("0 0 H * *", format!("3 (day of month): \"H\" is not understood: {DAY}")),
        ("0 0 * FOO *", format!("4 (month): \"FOO\" is not understood: {MONTH}")),
        ("0 0 * * +MON", format!("5 (day of week): \"+MON\" is not understood: {WEEK}")),
        ("0 0 1MON * *", format!("3 (day of month): \"1MON\" is not understood: {DAY}")),
        ("0 0 * * TU", format!("5 (day of week): \"TU\" is not understood: {WEEK}")),
        ("0 0 L * *", format!("3 (day of month): \"L\" {OTHER}")),
        ("0 0 LW * *", format!("3 (day of month): \"LW\" {OTHER}")),
        ("0 0 L-3 * *", format!("3 (day of month): \"L-3\" {OTHER}")),
        ("0 0 15W * *", format!("3 (day of month): \"15W\" {OTHER}")),
        ("0 0 * * 5L", format!("5 (day of week): \"5L\" {OTHER}")),
        ("0 0 * * friL", format!("5 (day of week): \"friL\" {OTHER}")),
        ("0 0 * * 5#2", format!("5 (day of week): \"5#2\" {OTHER}")),
        ("JAN 0 * * *", "1 (minute): \"JAN\" is the name of a month: it belongs into field 4 (month)".to_owned()),
        (
            "0 0 * MON *",
            "4 (month): \"MON\" is the name of a day of week: it belongs into field 5 (day of week)".to_owned(),
        ),
        ("0 0 * * monday", "5 (day of week): \"monday\" is not a name: want its first three letters, MON".to_owned()),
        ("0 0 * September *", "4 (month): \"September\" is not a name: want its first three letters, SEP".to_owned()),
        (
            "* * * * \"><script>alert(document.cookie)</script><p",
            format!("5 (day of week): \"\\\"><script>alert(document.cookie)</scrip…\" is not understood: {WEEK}"),
        ),
    ];
    for (text, message) in table {
        assert_eq!(refused(text), format!("field {message}"), "{text}");
    }
}

#[test]
fn names_macros_and_blanks_may_be_written_in_any_way() {
    for (text, plain) in [
        ("0 0 * * sun", "0 0 * * 0"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * 0-7", "0 0 * * *"),
        ("0 0 * * FRI-Sun", "0 0 * * 0,5,6"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * SUN-MON", "0 0 * * 0,1"),
        ("0 0 * * MON-5/2", "0 0 * * 1,3,5"),
        ("0 0 1 jAn,Dec *", "0 0 1 1,12 *"),
        ("  00\t09  *  *  1-5 ", "0 9 * * 1-5"),
        ("? ? ? ? ?", "* * * * *"),
        ("?/15 * * * *", "0,15,30,45 * * * *"),
        ("5,* * * * *", "* * * * *"),
        ("3-3/5 * * * *", "3 * * * *"),
        ("1-30/7,59 * * * *", "1,8,15,22,29,59 * * * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@Annually", "0 0 1 1 *"),
        ("@MONTHLY", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        (" @daily ", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ] {
        let ticks = |text: &str| {
            let recurrence = Recurrence::new(Cron::parse(text).unwrap(), Zone::utc());
            let ticks = recurrence.upcoming(super::at("2026-02-26T11:11:11Z"), 70);
            ticks.into_iter().map(|tick| tick.at).collect::<Vec<_>>()
        };
        assert_eq!(ticks(text), ticks(plain), "{text}");
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!(Cron::parse(text).unwrap().to_string(), words.join(" "));
    }
}

/// Pieces that look like cron, glued together in any order.
fn nearly_cron() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "*",
        "?",
        "0",
        "5",
        "7",
        "12",
        "31",
        "59",
        "60",
        "-",
        "/",
        ",",
        " ",
        " ",
        " ",
        " * ",
        "*/2",
        "1-5",
        "MON",
        "jan",
        "SUN",
        "L",
        "W",
        "#",
        "@daily",
        "@",
        "TZ=UTC ",
        "\t",
        "\n",
        "٣",
        "\u{0}",
        "é",
        "99999999999",
        "+",
        ".",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn five_words() -> impl Strategy<Value = String> {
    prop::collection::vec("[0-9*,/-]{1,4}", 5).prop_map(|words| words.join(" "))
}

#[test]
fn whatever_is_typed_is_read_or_refused_and_reads_back_alike() {
    let text = prop_oneof![nearly_cron(), five_words(), any::<String>(), "\\PC{0,40}"];
    let zone = Zone::parse("America/Sao_Paulo").unwrap();
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() };
    proptest!(config, |(text in text, second in -377_705_000_000_i64..253_402_000_000)| {
        match Cron::parse(&text) {
            Err(error) => prop_assert!(error.to_string().len() < 400, "{}", error),
            Ok(cron) => {
                let again = Cron::parse(&cron.to_string()).unwrap();
                prop_assert_eq!(again.to_string(), cron.to_string());
                prop_assert_eq!(&again, &cron);
                let recurrence = Recurrence::new(cron, zone.clone());
                let at = jiff::Timestamp::from_second(second).unwrap();
                let (next, prev) = (recurrence.next(at), recurrence.prev(at));
                prop_assert!(next.is_none_or(|next| next > at && (EARLIEST..=LATEST).contains(&next)));
                prop_assert!(prev.is_none_or(|prev| prev <= at && (EARLIEST..=LATEST).contains(&prev)));
                prop_assert!(!recurrence.describe().is_empty());
                prop_assert_eq!(recurrence.cron.is_never(), recurrence.next(EARLIEST).is_none());
            }
        }
    });
}
