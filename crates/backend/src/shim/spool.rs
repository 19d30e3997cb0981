//! The spool: a run's output on disk. When there is no room output waits, and the command with it; none is dropped.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use taskplane_domain::log::LogStream;

use crate::spool;

const RETRY: Duration = Duration::from_millis(200);

pub(super) struct Spool {
    file: File,
    /// What is still to be written of the last frame.
    pending: Vec<u8>,
    retry_at: Option<Instant>,
}

impl Spool {
    /// `file` is opened for appending.
    pub(super) fn new(file: File) -> Self {
        Self { file, pending: Vec::new(), retry_at: None }
    }

    /// Everything taken so far is in the file.
    pub(super) fn is_free(&self) -> bool {
        self.pending.is_empty()
    }

    /// When to try again, if the last try failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Only when it is free.
    pub(super) fn add(&mut self, time: i64, stream: LogStream, content: &[u8]) {
        self.pending = spool::frame(time, stream, content);
        self.flush();
    }

    /// Writes what is pending, unless it is too early for another try.
    pub(super) fn retry(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.retry_at = None;
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(written) if written > 0 => {
                    self.pending.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.retry_at = Some(Instant::now() + RETRY);
                    return;
                }
            }
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
