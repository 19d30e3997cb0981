//! The form of a run's output on disk: frames of a time, a stream, a length and the bytes that one write brought.

use bytes::{Buf, Bytes, BytesMut};
use taskplane_domain::log::LogStream;

const HEAD: usize = 8 + 1 + 4;
/// Longer ones are not written.
pub(crate) const CONTENT_MAX: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Microseconds.
    pub(crate) time: i64,
    pub(crate) stream: LogStream,
    pub(crate) content: Bytes,
}

pub(crate) fn frame(time: i64, stream: LogStream, content: &[u8]) -> Vec<u8> {
    debug_assert!(content.len() <= CONTENT_MAX);
    let mut bytes = Vec::with_capacity(HEAD + content.len());
    bytes.extend_from_slice(&time.to_le_bytes());
    bytes.push(match stream {
        LogStream::Stdout => 1,
        LogStream::Stderr => 2,
        LogStream::System => 3,
    });
    bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or_default().to_le_bytes());
    bytes.extend_from_slice(content);
    bytes
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the spool is damaged")]
pub(crate) struct Damaged;

/// Takes the next frame off, if all of it is there.
pub(crate) fn take(bytes: &mut BytesMut) -> Result<Option<Frame>, Damaged> {
    let Some(mut head) = bytes.get(..HEAD) else { return Ok(None) };
    let time = head.get_i64_le();
    let stream = match head.get_u8() {
        1 => LogStream::Stdout,
        2 => LogStream::Stderr,
        3 => LogStream::System,
        _ => return Err(Damaged),
    };
    let length = head.get_u32_le() as usize;
    if length > CONTENT_MAX {
        return Err(Damaged);
    }
    if bytes.len() < HEAD + length {
        return Ok(None);
    }
    bytes.advance(HEAD);
    Ok(Some(Frame { time, stream, content: bytes.split_to(length).freeze() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written_and_not_before_they_are_whole() {
        let whole = [frame(-1, LogStream::Stdout, b"a\n\xff"), frame(i64::MAX, LogStream::Stderr, b"")].concat();
        let mut bytes = BytesMut::new();
        let mut seen = Vec::new();
        for byte in whole {
            bytes.extend_from_slice(&[byte]);
            seen.extend(take(&mut bytes).unwrap());
        }
        assert!(bytes.is_empty());
        let first = Frame { time: -1, stream: LogStream::Stdout, content: Bytes::from_static(b"a\n\xff") };
        assert_eq!(seen, [first, Frame { time: i64::MAX, stream: LogStream::Stderr, content: Bytes::new() }]);
    }

    #[test]
    fn nonsense_is_no_frame() {
        let mut bad = BytesMut::from(&frame(0, LogStream::Stdout, b"a")[..]);
        bad[8] = 9;
        assert_eq!(take(&mut bad), Err(Damaged));
        let mut long = BytesMut::from(&frame(0, LogStream::Stdout, b"a")[..]);
        long[12] = 0xff;
        assert_eq!(take(&mut long), Err(Damaged));
    }
}
