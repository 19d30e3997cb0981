//! The bytes of a chunk: a zstd frame of a version, the cap of the log, and records one after the other.
//!
//! A record is the time since the one before it (zigzag varint of microseconds), its stream (one byte), the length of its
//! content (varint) and the content. Offsets are not stored: records of a chunk follow each other without a gap.

use std::io::{Read, Write};

use bytes::{Buf, Bytes};
use jiff::Timestamp;
use taskplane_domain::log::{Landmark, LogRecord, LogStream};

use crate::LogsError;

/// A chunk is closed once it holds so much, whatever the cap.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Longer records are cut into pieces, so that a chunk is never much larger than [`CHUNK_BYTES`].
pub(crate) const PIECE_BYTES: usize = 1 << 20;
/// No chunk of ours unpacks to more.
const UNPACKED_BYTES: u64 = 4 << 20;

const VERSION: u8 = 1;
/// Fast, and text shrinks to a quarter or less.
const LEVEL: i32 = 3;

/// A chunk that is being filled, not packed yet.
#[derive(Debug)]
pub(crate) struct Draft {
    pub start: u64,
    pub end: u64,
    bytes: Vec<u8>,
    last_time: i64,
}

impl Draft {
    pub fn new(start: u64, cap: Option<u64>) -> Self {
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, cap.unwrap_or(0));
        Self { start, end: start, bytes, last_time: 0 }
    }

    /// `record` begins where the one before it ended.
    pub fn push(&mut self, record: &LogRecord) {
        debug_assert_eq!(record.offset, self.end);
        let time = record.time.as_microsecond();
        let delta = time.wrapping_sub(self.last_time);
        put_varint(&mut self.bytes, ((delta << 1) ^ (delta >> 63)).cast_unsigned());
        self.bytes.push(match record.stream {
            LogStream::Stdout => 1,
            LogStream::Stderr => 2,
            LogStream::System => 3,
        });
        put_varint(&mut self.bytes, record.content.len() as u64);
        self.bytes.extend_from_slice(&record.content);
        self.last_time = time;
        self.end = record.end();
    }

    /// Bytes before packing.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn finish(self) -> Unpacked {
        Unpacked { start: self.start, end: self.end, bytes: self.bytes.into() }
    }
}

/// A whole chunk whose bytes are known to be good, because they were made here.
#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    pub start: u64,
    pub end: u64,
    bytes: Bytes,
}

impl Unpacked {
    pub fn pack(&self) -> std::io::Result<Vec<u8>> {
        let mut encoder = zstd::Encoder::new(Vec::with_capacity(self.bytes.len() / 4), LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.write_all(&self.bytes)?;
        encoder.finish()
    }

    pub fn chunk(&self) -> Result<Chunk, LogsError> {
        Chunk::parse(self.start, self.bytes.clone()).map_err(|what| damaged(self.start, what))
    }
}

/// A chunk as read: records are taken out one by one, and share its memory.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    start: u64,
    pub cap: Option<u64>,
    records: Bytes,
}

impl Chunk {
    pub fn unpack(start: u64, packed: &[u8]) -> Result<Self, &'static str> {
        let decoder = zstd::Decoder::with_buffer(packed).map_err(|_| "not a zstd frame")?;
        let mut bytes = Vec::new();
        decoder.take(UNPACKED_BYTES + 1).read_to_end(&mut bytes).map_err(|_| "its zstd frame is broken")?;
        if bytes.len() as u64 > UNPACKED_BYTES {
            return Err("larger than any chunk is made");
        }
        Self::parse(start, bytes.into())
    }

    fn parse(start: u64, mut bytes: Bytes) -> Result<Self, &'static str> {
        if bytes.try_get_u8() != Ok(VERSION) {
            return Err("of an unknown version");
        }
        let cap = take_varint(&mut bytes).ok_or("its head is cut")?;
        Ok(Self { start, cap: (cap > 0).then_some(cap), records: bytes })
    }

    /// In the order written. Ends after the first error.
    pub fn records(&self) -> Records {
        Records { rest: self.records.clone(), start: self.start, offset: self.start, time: 0 }
    }

    /// Where the next chunk begins, and where in this one its latest line does.
    pub fn extent(&self) -> Result<(u64, Option<Landmark>), LogsError> {
        let (mut end, mut latest, mut begins_line) = (self.start, None::<Landmark>, self.start == 0);
        for record in self.records() {
            let record = record?;
            if begins_line && latest.is_none_or(|latest| record.time > latest.time) {
                latest = Some(Landmark { offset: record.offset, time: record.time });
            }
            begins_line = record.content.ends_with(b"\n");
            end = record.end();
        }
        Ok((end, latest))
    }
}

pub(crate) struct Records {
    rest: Bytes,
    start: u64,
    offset: u64,
    time: i64,
}

impl Records {
    fn take(&mut self) -> Option<LogRecord> {
        let zigzag = take_varint(&mut self.rest)?;
        self.time = self.time.wrapping_add((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        let stream = match self.rest.try_get_u8().ok()? {
            1 => LogStream::Stdout,
            2 => LogStream::Stderr,
            3 => LogStream::System,
            _ => return None,
        };
        let length = usize::try_from(take_varint(&mut self.rest)?).ok()?;
        if length > self.rest.len() {
            return None;
        }
        let content = self.rest.split_to(length);
        let time = Timestamp::from_microsecond(self.time).ok()?;
        let record = LogRecord { offset: self.offset, time, stream, content };
        self.offset = record.end();
        Some(record)
    }
}

impl Iterator for Records {
    type Item = Result<LogRecord, LogsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.take();
        if record.is_none() {
            self.rest.clear();
        }
        Some(record.ok_or_else(|| damaged(self.start, "a record is broken")))
    }
}

/// What is left of `record` from `position` on; `None` when nothing is.
pub(crate) fn from_position(mut record: LogRecord, position: u64) -> Option<LogRecord> {
    if record.end() <= position {
        return None;
    }
    if record.offset < position {
        let seen = usize::try_from(position - record.offset).unwrap_or(usize::MAX);
        record.content.advance(seen);
        record.offset = position;
    }
    Some(record)
}

fn damaged(start: u64, what: &'static str) -> LogsError {
    LogsError::Damaged { object: format!("{start:020}"), what }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut Bytes) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_as_it_was_written() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(take_varint(&mut bytes.into()), Some(value));
        }
    }

    #[test]
    fn times_may_go_back_and_lie_before_the_epoch() {
        let mut draft = Draft::new(7, None);
        let mut offset = 7;
        let times = [5, -3, i64::from(u32::MAX), 0].map(|at| Timestamp::from_microsecond(at).unwrap());
        for time in times {
            let record = LogRecord { offset, time, stream: LogStream::Stderr, content: Bytes::from_static(b"x") };
            offset = record.end();
            draft.push(&record);
        }
        let read = draft.finish().chunk().unwrap();
        assert_eq!(read.records().map(|record| record.unwrap().time).collect::<Vec<_>>(), times);
        assert_eq!(read.extent().unwrap().0, 11);
    }

    #[test]
    fn a_chunk_cut_anywhere_is_an_error_and_no_panic() {
        let mut draft = Draft::new(0, Some(9));
        let content = Bytes::from_static(b"some line\n");
        draft.push(&LogRecord { offset: 0, time: Timestamp::UNIX_EPOCH, stream: LogStream::Stdout, content });
        let whole = draft.finish();
        let packed = whole.pack().unwrap();
        for cut in 0..packed.len() {
            assert!(Chunk::unpack(0, &packed[..cut]).is_err(), "cut at {cut}");
        }
        for cut in 3..whole.bytes.len() {
            let read = Chunk::parse(0, whole.bytes.slice(..cut)).unwrap();
            assert!(read.extent().is_err(), "cut at {cut}");
        }
    }
}
