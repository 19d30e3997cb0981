use proptest::prelude::*;

use super::*;

/// A log as the kubelet has it: times to the nanosecond, almost in order.
#[derive(Debug, Clone)]
struct Kept(Vec<(Timestamp, Vec<u8>)>);

fn start() -> Timestamp {
    "2026-01-01T00:00:00.5Z".parse().unwrap()
}

impl Kept {
    /// What is asked for since a second is every line that is not earlier.
    fn read(&self, since: Option<&str>) -> Vec<u8> {
        let since: Option<Timestamp> = since.map(|text| text.parse().unwrap());
        let lines = self.0.iter().filter(|(time, _)| since.is_none_or(|since| *time >= since));
        lines.flat_map(|(time, content)| [format!("{time:.9} ").as_bytes(), content].concat()).collect()
    }

    fn content(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(_, content)| content.clone()).collect()
    }
}

fn pieces(mut text: &[u8], most: usize) -> Vec<Bytes> {
    let mut all = Vec::new();
    while !text.is_empty() {
        let line = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
        let piece = line.min(most.max(48));
        all.push(Bytes::copy_from_slice(&text[..piece]));
        text = &text[piece..];
    }
    all
}

fn kept() -> impl Strategy<Value = Kept> {
    // Steps in microseconds, some back; ties within one microsecond; lines that are empty, long, or hold no text.
    let step = prop_oneof![Just(0i64), 1i64..2_000_000, -300i64..0, Just(1_000_000)];
    let content = prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>().prop_filter("a line", |byte| *byte != b'\n'), 0..40),
        Just(vec![b'x'; 900]),
    ];
    proptest::collection::vec((step, 0i64..1000, content), 1..60).prop_map(|lines| {
        let mut at = start();
        let lines = lines.into_iter().map(|(step, nanos, mut content)| {
            at += SignedDuration::from_micros(step);
            content.push(b'\n');
            (at + SignedDuration::from_nanos(nanos), content)
        });
        Kept(lines.collect())
    })
}

fn told(records: &[LogRecord]) -> Vec<u8> {
    records.iter().flat_map(|record| record.content.to_vec()).collect()
}

fn follow_each_other(records: &[LogRecord], from: u64) {
    let mut at = from;
    for record in records {
        assert_eq!(record.offset, at, "{record:?}");
        at = record.end();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn cut_anywhere_and_begun_again_any_number_of_times_it_is_told_without_gap_or_repeat(
        kept in kept(),
        cuts in proptest::collection::vec(0usize..4000, 0..6),
        most in 48usize..2000,
    ) {
        let (mut landmarks, mut records) = (Landmarks::default(), Vec::new());
        let mut reading = Reading::new(0, 0, None);
        for cut in cuts.into_iter().map(Some).chain([None]) {
            let text = kept.read(reading.since().as_deref());
            // A connection that is cut ends in the middle of anything.
            let upto = cut.map_or(text.len(), |cut| cut.min(text.len()));
            for piece in pieces(&text[..upto], most) {
                records.extend(reading.take(piece, &mut landmarks));
            }
            reading = Reading::after(0, reading.told(), &landmarks);
        }
        follow_each_other(&records, 0);
        prop_assert_eq!(told(&records), kept.content());
    }

    #[test]
    fn whoever_knows_only_what_is_archived_goes_on_without_gap_or_repeat(
        kept in kept(),
        archived in 0usize..3000,
    ) {
        let (mut landmarks, mut first) = (Landmarks::default(), Vec::new());
        let mut reading = Reading::new(0, 0, None);
        for piece in pieces(&kept.read(None), 65536) {
            first.extend(reading.take(piece, &mut landmarks));
        }
        let content = kept.content();
        let archived = archived.min(content.len());
        // As the archive finds it: the latest line that begins before its end.
        let mut landmark: Option<Landmark> = None;
        for record in first.iter().filter(|record| record.offset < archived as u64) {
            if landmark.is_none_or(|known| record.time > known.time) {
                landmark = Some(Landmark { offset: record.offset, time: record.time });
            }
        }
        let mut reading = Reading::new(0, archived as u64, landmark);
        let mut rest = Vec::new();
        for piece in pieces(&kept.read(reading.since().as_deref()), 65536) {
            rest.extend(reading.take(piece, &mut Landmarks::default()));
        }
        follow_each_other(&rest, archived as u64);
        prop_assert_eq!(told(&rest), content[archived..].to_vec());
    }
}

#[test]
fn what_the_node_cleared_away_is_said_to_be_missing_and_nothing_is_told_twice() {
    let line = |second: i64, text: &str| {
        let time = start() + SignedDuration::from_secs(second);
        Bytes::from(format!("{time:.9} {text}\n"))
    };
    let mut landmarks = Landmarks::default();
    let mut reading = Reading::new(0, 0, None);
    let mut records: Vec<_> =
        [line(0, "one"), line(1, "two")].into_iter().flat_map(|line| reading.take(line, &mut landmarks)).collect();
    let mut reading = Reading::after(0, reading.told(), &landmarks);
    records.extend(reading.take(line(60, "far later"), &mut landmarks));
    follow_each_other(&records, 0);
    assert_eq!(String::from_utf8(told(&records)).unwrap(), format!("one\ntwo\n{LOST}far later\n"));
    assert_eq!(records[2].stream, LogStream::System);
}

#[test]
fn landmarks_do_not_grow_with_the_log() {
    let mut landmarks = Landmarks::default();
    for second in 0..10_000 {
        landmarks.note(Landmark { offset: second * 100, time: start() + SignedDuration::from_secs(second as i64) });
    }
    assert!(landmarks.known.len() <= LANDMARKS);
    assert_eq!(landmarks.before(u64::MAX).unwrap().offset, 999_900);
    assert!(landmarks.before(0).is_some());
}
