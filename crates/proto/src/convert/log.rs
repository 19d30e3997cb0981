//! Output on its way from an executor.

use jiff::Timestamp;
use taskplane_domain::log::{LogRecord, LogStream};

use crate::internal::v1 as pb;
use crate::v1;

pub fn log_record_to_pb(record: &LogRecord) -> pb::LogRecord {
    let LogRecord { offset, time, stream, content } = record;
    let stream = match stream {
        LogStream::Stdout => v1::LogStream::Stdout,
        LogStream::Stderr => v1::LogStream::Stderr,
        LogStream::System => v1::LogStream::System,
    };
    pb::LogRecord {
        offset: *offset,
        time_micros: time.as_microsecond(),
        stream: (stream as i32).cast_unsigned(),
        content: content.clone(),
    }
}

/// None for what no executor of ours sends.
pub fn log_record_from_pb(record: pb::LogRecord) -> Option<LogRecord> {
    let pb::LogRecord { offset, time_micros, stream, content } = record;
    let stream = match v1::LogStream::try_from(stream.cast_signed()).ok()? {
        v1::LogStream::Unspecified => return None,
        v1::LogStream::Stdout => LogStream::Stdout,
        v1::LogStream::Stderr => LogStream::Stderr,
        v1::LogStream::System => LogStream::System,
    };
    Some(LogRecord { offset, time: Timestamp::from_microsecond(time_micros).ok()?, stream, content })
}
