//! Reads a run's output from its spool while it is written.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use taskplane_domain::log::LogRecord;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::run::{Phase, Run};
use crate::spool::{self, Frame};
use crate::{BackendError, record};

const READ: usize = 256 * 1024;

/// Everything from `offset` on, line by line. When following it ends when the run is over and all was read.
pub(super) fn read(run: Arc<Run>, offset: u64, follow: bool) -> BoxStream<'static, Result<LogRecord, BackendError>> {
    let reader = Reader {
        phase: run.phase.subscribe(),
        run,
        file: None,
        bytes: BytesMut::new(),
        at: 0,
        from: offset,
        follow,
        lines: VecDeque::new(),
    };
    let step = |reader: Option<Reader>| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(record) => record.map(|record| (Ok(record), Some(reader))),
            // It was removed before it was looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some((Err(BackendError::Absent), None)),
            Err(source) => Some((Err(BackendError::Unavailable { doing: "read the run's output", source }), None)),
        }
    };
    stream::unfold(Some(reader), step).boxed()
}

struct Reader {
    run: Arc<Run>,
    phase: watch::Receiver<Phase>,
    file: Option<File>,
    /// Read and not yet taken apart.
    bytes: BytesMut,
    /// Offset in the output of what comes next.
    at: u64,
    /// Nothing before this is told.
    from: u64,
    follow: bool,
    lines: VecDeque<LogRecord>,
}

impl Reader {
    async fn next(&mut self) -> io::Result<Option<LogRecord>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            if let Some(frame) = spool::take(&mut self.bytes).map_err(io::Error::other)? {
                self.take_apart(frame);
                continue;
            }
            // Looked at before the file is: what is written later rings again.
            let is_over = matches!(&*self.phase.borrow_and_update(), Phase::Over(_));
            if self.read_on().await? > 0 {
                continue;
            }
            if is_over || !self.follow || self.phase.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    async fn read_on(&mut self) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = File::open(self.run.dir.join(record::OUTPUT)).await?;
                file.set_max_buf_size(READ);
                none.insert(file)
            }
        };
        self.bytes.reserve(READ);
        file.read_buf(&mut self.bytes).await
    }

    fn take_apart(&mut self, frame: Frame) {
        let Frame { time, stream, mut content } = frame;
        let begin = self.at;
        self.at += content.len() as u64;
        let skipped = self.from.saturating_sub(begin);
        if skipped >= content.len() as u64 {
            return;
        }
        let mut offset = begin + skipped;
        content = content.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
        while !content.is_empty() {
            let line: Bytes =
                content.split_to(content.iter().position(|byte| *byte == b'\n').map_or(content.len(), |at| at + 1));
            let length = line.len() as u64;
            self.lines.push_back(LogRecord { offset, time: record::time(time), stream, content: line });
            offset += length;
        }
    }
}
