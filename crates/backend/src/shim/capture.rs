//! Reads what the command writes, in the order in which it wrote it.
//!
//! Standard output and standard error are two pipes, and two pipes have no common order. They get one here: each pipe holds
//! one write and no more (packet mode, one page), so a writer cannot run ahead of the reader on either, and edge-triggered
//! epoll lists the two in the order in which they were filled. One read per edge, in that order, is the order of the writes.
//! The price is a change of processes per write, and nothing else: a pipe stays what programs expect.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::unistd;
use taskplane_domain::log::LogStream;

use super::now;
use super::spool::Spool;
use crate::spool::CONTENT_MAX;

/// The system makes it one page.
const ONE_PAGE: i32 = 1;

pub(super) struct Capture {
    out: Option<OwnedFd>,
    err: Option<OwnedFd>,
    /// Where to read next, in the order of the writes.
    due: VecDeque<LogStream>,
    buffer: Box<[u8]>,
    spool: Spool,
    /// Nobody can write any more.
    is_last: bool,
}

/// The command's ends of the two pipes.
pub(super) struct Ends {
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
}

impl Capture {
    /// Each stream gets its own value of `tokens` in what `epoll` tells.
    pub(super) fn new(output: File, epoll: &Epoll, tokens: [u64; 2]) -> io::Result<(Self, Ends)> {
        let (out, out_end) = pipe(epoll, tokens[0])?;
        let (err, err_end) = pipe(epoll, tokens[1])?;
        let capture = Self {
            out: Some(out),
            err: Some(err),
            due: VecDeque::new(),
            buffer: vec![0; CONTENT_MAX].into(),
            spool: Spool::new(output),
            is_last: false,
        };
        Ok((capture, Ends { out: out_end, err: err_end }))
    }

    /// There was a write to `stream`.
    pub(super) fn filled(&mut self, stream: LogStream) {
        self.due.push_back(stream);
    }

    /// All writers are gone: what is in the pipes now is the rest.
    pub(super) fn finish(&mut self) {
        if !self.is_last {
            self.is_last = true;
            self.due.extend([LogStream::Stdout, LogStream::Stderr]);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_last && self.due.is_empty() && self.spool.is_free()
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.spool.retry_at()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.spool.sync()
    }

    /// Moves what there is, as far as the disk takes it. True if there was anything.
    pub(super) fn pump(&mut self) -> bool {
        self.spool.retry(Instant::now());
        let mut moved = false;
        while self.spool.is_free() {
            let Some(stream) = self.due.pop_front() else { break };
            moved |= self.read_once(stream);
        }
        moved
    }

    fn read_once(&mut self, stream: LogStream) -> bool {
        let pipe = match stream {
            LogStream::Stdout => &mut self.out,
            LogStream::Stderr | LogStream::System => &mut self.err,
        };
        let Some(fd) = pipe else { return false };
        match unistd::read(fd, &mut self.buffer) {
            Ok(0) => {
                *pipe = None;
                false
            }
            Ok(length) => {
                self.spool.add(now(), stream, &self.buffer[..length]);
                if self.is_last {
                    self.due.push_back(stream);
                }
                true
            }
            Err(Errno::EINTR) => {
                self.due.push_front(stream);
                false
            }
            // An edge whose write went along with an earlier one.
            Err(_) => false,
        }
    }
}

fn pipe(epoll: &Epoll, token: u64) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_DIRECT)?;
    fcntl(&read, FcntlArg::F_SETPIPE_SZ(ONE_PAGE))?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    epoll.add(&read, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, token))?;
    Ok((read, write))
}
