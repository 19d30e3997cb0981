//! Task output: bytes as the command wrote them, with time and stream.

use bytes::Bytes;
use jiff::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    Stdout,
    Stderr,
    /// Written by the platform: where a capped log was cut.
    System,
}

/// A piece of output: at most one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Position of its first byte in all output of the attempt, stdout and stderr counted together.
    pub offset: u64,
    pub time: Timestamp,
    pub stream: LogStream,
    /// With its line feed, if it has one.
    pub content: Bytes,
}

impl LogRecord {
    /// Where the next record begins.
    pub fn end(&self) -> u64 {
        self.offset + self.content.len() as u64
    }
}

/// A line of an attempt's output that can be found again by when it was written: later than everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landmark {
    /// Of its first byte.
    pub offset: u64,
    /// To the microsecond.
    pub time: Timestamp,
}
