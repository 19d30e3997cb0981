//! Putting one output together from several readings of a log that knows times and no positions.
//!
//! The kubelet gives each line its time and can be asked for what was written since a second. So a reading that begins anew
//! begins a little before a *landmark*: a line that is later than every line before it, whose offset is known. What comes before
//! it in the reading is passed over; it is the first line that is not earlier. From there on positions are counted, whatever
//! the times are, since lines of stdout and stderr may stand in the log a little out of order; and what lies before the position
//! that was reached is not told again.
//!
//! The node keeps a log only so long as it is not too large. A reading whose first line is later than the landmark has lost
//! what was between, and says so.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp, Unit};
use taskplane_domain::log::{Landmark, LogRecord, LogStream};

/// How far before a landmark a reading begins: lines may be out of order by that much.
const BEFORE: SignedDuration = SignedDuration::from_secs(2);
/// Landmarks are no nearer to each other than this.
const APART: u64 = 64 * 1024;
const APART_IN_TIME: Duration = Duration::from_millis(500);
/// More are not kept; the older they are, the fewer.
const LANDMARKS: usize = 256;
const LOST: &str = "[taskplane] output is missing here: the node had cleared it away before it was read\n";

/// What is known of one container's output, over all its readings.
#[derive(Debug, Clone, Default)]
pub(super) struct Landmarks {
    known: BTreeMap<u64, Timestamp>,
}

impl Landmarks {
    pub fn note(&mut self, landmark: Landmark) {
        self.known.insert(landmark.offset, landmark.time);
        if self.known.len() > LANDMARKS {
            let mut odd = false;
            let newest = self.known.keys().next_back().copied();
            self.known.retain(|offset, _| {
                odd = !odd;
                odd || Some(*offset) == newest
            });
        }
    }

    /// The latest at or before `offset`.
    pub fn before(&self, offset: u64) -> Option<Landmark> {
        let (offset, time) = self.known.range(..=offset).next_back()?;
        Some(Landmark { offset: *offset, time: *time })
    }

    fn is_far(&self, offset: u64, time: Timestamp) -> bool {
        self.known.iter().next_back().is_none_or(|(known, at)| {
            let later =
                time.duration_since(*at) > SignedDuration::try_from(APART_IN_TIME).unwrap_or(SignedDuration::ZERO);
            offset > *known && (offset - known >= APART || later)
        })
    }
}

/// One reading.
pub(super) struct Reading {
    /// Lines before it are passed over; none: from the first line on.
    landmark: Option<Landmark>,
    /// Nothing before is told.
    told: u64,
    /// Where the next line begins; none: the landmark did not come yet.
    at: Option<u64>,
    /// The latest time of all lines.
    latest: Option<Timestamp>,
    /// Within a line that came in pieces: its time.
    within: Option<Timestamp>,
}

impl Reading {
    /// From `from` on, of a container whose output begins at `base`.
    pub fn new(base: u64, from: u64, landmark: Option<Landmark>) -> Self {
        let at = landmark.is_none().then_some(base);
        Self { landmark, told: from.max(base), at, latest: None, within: None }
    }

    /// Going on after `told`, from the nearest landmark before it.
    pub fn after(base: u64, told: u64, landmarks: &Landmarks) -> Self {
        Self::new(base, told, landmarks.before(told).filter(|landmark| landmark.offset >= base))
    }

    /// What to ask the kubelet for: `sinceTime`. It knows whole seconds.
    pub fn since(&self) -> Option<String> {
        let since = self.landmark?.time.checked_sub(BEFORE).ok()?;
        let since = Timestamp::from_second(since.as_second()).ok()?;
        Some(format!("{since:.0}"))
    }

    /// Up to where everything was told.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Takes in a piece of the log: a whole line, or a part of one when that is long.
    pub fn take(&mut self, piece: Bytes, landmarks: &mut Landmarks) -> Vec<LogRecord> {
        let (time, content, begins) = match self.within {
            Some(time) => (time, piece, false),
            None => {
                // What has no time is the kubelet's own word, or was cut off: neither is there when the log is read again.
                let (Some(time), content) = apart(piece) else { return Vec::new() };
                (time, content, true)
            }
        };
        self.within = (!content.ends_with(b"\n")).then_some(time);
        let mut records = Vec::new();
        let offset = match (self.at, self.landmark) {
            (Some(at), _) => at,
            (None, Some(landmark)) if begins && time >= landmark.time => {
                if time > landmark.time {
                    records.push(self.lost(time));
                    self.told
                } else {
                    landmark.offset
                }
            }
            // Before the landmark.
            (None, _) => return records,
        };
        if begins {
            if self.latest.is_none_or(|latest| time > latest) && landmarks.is_far(offset, time) {
                landmarks.note(Landmark { offset, time });
            }
            self.latest = self.latest.max(Some(time));
        }
        let record = LogRecord { offset, time, stream: LogStream::Stdout, content };
        self.at = Some(record.end());
        records.extend(self.untold(record));
        records
    }

    fn lost(&mut self, time: Timestamp) -> LogRecord {
        let content = Bytes::from_static(LOST.as_bytes());
        let record = LogRecord { offset: self.told, time, stream: LogStream::System, content };
        self.told = record.end();
        record
    }

    fn untold(&mut self, mut record: LogRecord) -> Option<LogRecord> {
        let known = self.told.saturating_sub(record.offset);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        if known >= record.content.len() {
            return None;
        }
        record.content = record.content.slice(known..);
        record.offset += known as u64;
        self.told = record.end();
        Some(record)
    }
}

/// `2026-01-01T00:00:00.123456789Z content`, with the time as archives keep it.
fn apart(line: Bytes) -> (Option<Timestamp>, Bytes) {
    let Some(space) = line.iter().take(40).position(|byte| *byte == b' ') else { return (None, line) };
    let time = std::str::from_utf8(&line[..space]).ok().and_then(|text| text.parse::<Timestamp>().ok());
    match time.and_then(|time| {
        time.round(jiff::TimestampRound::new().smallest(Unit::Microsecond).mode(jiff::RoundMode::Floor)).ok()
    }) {
        Some(time) => (Some(time), line.slice(space + 1..)),
        None => (None, line),
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
