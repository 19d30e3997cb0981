//! Reading what is archived of one attempt's output, chunk by chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use taskplane_domain::log::{LogRecord, LogStream};

use crate::chunk::{Chunk, from_position};
use crate::{LogKey, LogsError, Objects};

/// A log as far as it is archived, now. To follow it, ask [`LogReader::sealed`] *first*, then read: when it was sealed, that
/// was all. Keep the reader while following: it remembers how far it came, and looks only for what is new.
#[derive(Debug, Clone)]
pub struct LogReader {
    objects: Objects,
    key: LogKey,
    /// An offset at which a chunk that was read ended.
    boundary: Arc<AtomicU64>,
}

impl LogReader {
    pub(crate) fn new(objects: Objects, key: LogKey) -> Self {
        Self { objects, key, boundary: Arc::default() }
    }

    /// Where the output ends, once no more will come.
    pub async fn sealed(&self) -> Result<Option<u64>, LogsError> {
        let location = self.key.sealed();
        let Some(bytes) = self.objects.get(&location).await? else {
            return Ok(None);
        };
        let end = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        end.map(Some).ok_or_else(|| LogsError::Damaged { object: location.to_string(), what: "no number" })
    }

    /// Where what is archived ends.
    pub async fn end(&self) -> Result<u64, LogsError> {
        Ok(self.objects.extent(&self.key).await?.end)
    }

    /// Everything from `from` on, the first record cut to begin there. One chunk at a time is in memory.
    ///
    /// Where a cap left a gap comes one record of [`LogStream::System`] that says so. It takes no room in the output; its
    /// offset is chosen so that it *ends* where the output goes on, and whoever resumes at [`LogRecord::end`] misses nothing.
    pub fn read(&self, from: u64) -> impl Stream<Item = Result<LogRecord, LogsError>> + Send + 'static {
        let Self { objects, key, boundary } = self.clone();
        async_stream::try_stream! {
            let starts = match from > 0 && from == boundary.load(Ordering::Relaxed) {
                true => objects.chunk_starts_from(&key, from).await?,
                false => objects.chunk_starts(&key).await?,
            };
            let mut position = from;
            for start in &starts[containing(&starts, from)..] {
                // Cut since it was listed: the next one shows the gap.
                let Some(chunk) = objects.chunk(&key, *start).await? else { continue };
                let mut end = *start;
                for record in chunk.records() {
                    let record = record?;
                    end = record.end();
                    let Some(record) = from_position(record, position) else { continue };
                    if record.offset > position {
                        yield gap(position, &record, chunk.cap);
                    }
                    position = record.end();
                    yield record;
                }
                boundary.store(end, Ordering::Relaxed);
            }
        }
    }

    /// From where on only the last `lines` lines remain, a last one without line feed counted too. Lines of stdout and stderr
    /// count alike, in the order they ended.
    pub async fn tail_offset(&self, lines: usize) -> Result<u64, LogsError> {
        let starts = self.objects.chunk_starts(&self.key).await?;
        let mut found = 0;
        let mut offset = None;
        // Streams of which a record was seen: a piece before it belongs to a line that is counted.
        let mut seen = Vec::with_capacity(3);
        for start in starts.iter().rev() {
            let Some(chunk) = self.objects.chunk(&self.key, *start).await? else {
                continue;
            };
            for piece in pieces(&chunk)?.iter().rev() {
                if piece.ends_line || !seen.contains(&piece.stream) {
                    found += 1;
                }
                if found > lines {
                    return Ok(offset.unwrap_or(piece.end));
                }
                if !seen.contains(&piece.stream) {
                    seen.push(piece.stream);
                }
                offset = Some(piece.offset);
            }
        }
        Ok(0)
    }

    /// From where on no record of `since` or later is missed; it is near there, and the caller drops what is earlier. Reads a
    /// few chunks, however long the log.
    pub async fn since_offset(&self, since: Timestamp) -> Result<u64, LogsError> {
        let starts = self.objects.chunk_starts(&self.key).await?;
        let (mut early, mut late) = (0, starts.len());
        while early < late {
            let middle = early + (late - early) / 2;
            if self.begins_before(starts[middle], since).await? {
                early = middle + 1;
            } else {
                late = middle;
            }
        }
        // The chunk before the first that begins late enough may end late enough.
        Ok(early.checked_sub(1).map_or(0, |index| starts[index]))
    }

    /// A chunk that was cut since it was listed is an old one.
    async fn begins_before(&self, start: u64, since: Timestamp) -> Result<bool, LogsError> {
        let Some(chunk) = self.objects.chunk(&self.key, start).await? else {
            return Ok(true);
        };
        let first = chunk.records().next().transpose()?;
        Ok(first.is_none_or(|record| record.time < since))
    }
}

/// The last chunk that begins at or before `from`, else the first.
fn containing(starts: &[u64], from: u64) -> usize {
    starts.partition_point(|start| *start <= from).saturating_sub(1)
}

fn gap(position: u64, next: &LogRecord, cap: Option<u64>) -> LogRecord {
    let missing = next.offset - position;
    let content = match cap {
        Some(cap) => format!("[… {missing} bytes of output were cut here: the space keeps at most {cap} bytes …]\n"),
        None => format!("[… {missing} bytes of output are missing here …]\n"),
    };
    let offset = next.offset.saturating_sub(content.len() as u64);
    LogRecord { offset, time: next.time, stream: LogStream::System, content: Bytes::from(content) }
}

struct Piece {
    offset: u64,
    end: u64,
    stream: LogStream,
    ends_line: bool,
}

fn pieces(chunk: &Chunk) -> Result<Vec<Piece>, LogsError> {
    let piece = |record: LogRecord| Piece {
        offset: record.offset,
        end: record.end(),
        stream: record.stream,
        ends_line: record.content.ends_with(b"\n"),
    };
    chunk.records().map(|record| record.map(piece)).collect()
}
