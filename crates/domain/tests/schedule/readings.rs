//! The human reading of expressions.

use taskplane_domain::schedule::Cron;

#[test]
fn an_expression_reads_as_a_person_would_say_it() {
    for (text, reading) in [
        ("* * * * *", "every minute"),
        ("*/10 * * * *", "every 10 minutes"),
        ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("0 9 * * 1-5", "at 09:00 on Monday to Friday"),
        ("30 6,10,14 * * 1-5", "at 06:30, 10:30 and 14:30 on Monday to Friday"),
        ("0 9 * * *", "at 09:00 every day"),
        ("@hourly", "every hour, on the hour"),
        ("5 * * * *", "every hour, at minute 5"),
        ("0,30 * * * *", "every 30 minutes"),
        ("5,35 * * * *", "at minutes 5 and 35 of every hour"),
        ("0 */2 * * *", "every 2 hours, on the hour"),
        ("15 */2 * * 0", "every 2 hours, at minute 15 on Sunday"),
        ("0 9-17 * * 1-5", "every hour from 09:00 to 17:00 on Monday to Friday"),
        ("*/15 9-17 * * *", "every 15 minutes from 09:00 to 17:45"),
        ("*/5 3 * * *", "every 5 minutes from 03:00 to 03:55"),
        ("* 3 * * 6,7", "every minute from 03:00 to 03:59 on Saturday and Sunday"),
        ("*/10 */2 * * *", "every 10 minutes of every 2nd hour"),
        ("1-3,20 8,9,10,15 * * *", "at minutes 1 to 3 and 20 of the hours 8 to 10 and 15 every day"),
        ("0 0 1 * *", "at 00:00 on the 1st of the month"),
        ("0 0 1,15 * *", "at 00:00 on the 1st and 15th of the month"),
        ("@yearly", "at 00:00 on the 1st of January"),
        ("0 12 22-24 6-8 *", "at 12:00 on the 22nd to 24th of June to August"),
        ("0 12 * 6-8 *", "at 12:00 every day in June to August"),
        ("0 12 * DEC SAT", "at 12:00 on Saturday in December"),
        ("0 0 13 * 5", "at 00:00 on the 13th of the month or on Friday"),
        ("0 0 1-31 * 5", "at 00:00 every day"),
        ("0 0 */10 * 1", "at 00:00 on Monday if it is the 1st, 11th, 21st and 31st of the month"),
        ("0 0 30 2 *", "never: the calendar has no such day"),
    ] {
        assert_eq!(Cron::parse(text).unwrap().describe(), reading, "{text}");
    }
}

#[test]
fn a_recurrence_names_its_zone() {
    assert_eq!(
        super::recurrence("0 9 * * MON-FRI", "europe/berlin").describe(),
        "at 09:00 on Monday to Friday (Europe/Berlin)"
    );
}
