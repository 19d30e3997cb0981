//! A command from its start to its end: one loop that hears orders, deaths, output and time.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use taskplane_domain::log::LogStream;

use super::capture::{Capture, Ends};
use super::tree::{self, Hunt};
use super::{Pipes, now, tell};
use crate::confine::Confinement;
use crate::record::{self, Cause, End};
use crate::wire::{self, Launch};

const ORDERS: u64 = 0;
const SIGNALS: u64 = 1;
const OUT: u64 = 2;
const ERR: u64 = 3;

/// Output that does not stop is told of this often.
const BELL_PERIOD: Duration = Duration::from_millis(20);
const END_RETRY: Duration = Duration::from_millis(200);

pub(super) struct Run {
    epoll: Epoll,
    orders: Option<File>,
    /// Deaths of children, and what is borne.
    signals: SignalFd,
    capture: Capture,
    command: Option<Pid>,
    grace: Duration,
    confinement: Confinement,
    started_at: Option<i64>,
    deadline: Option<Instant>,
    /// Set with the first order to end, or when time is up, while the command runs.
    ending: Option<Ending>,
    /// How the command itself ended.
    end: Option<End>,
    /// The backend went away before there was an end to tell: there will be none.
    is_lost: bool,
    has_children: bool,
    hunt: Hunt,
    bell_due: bool,
    bell_rung: Instant,
}

struct Ending {
    cause: Cause,
    kill_at: Instant,
}

impl Run {
    pub(super) fn start(launch: Launch, pipes: Pipes) -> io::Result<Self> {
        let Pipes { orders, signals, output } = pipes;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&orders, EpollEvent::new(EpollFlags::EPOLLIN, ORDERS))?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        let (capture, ends) = Capture::new(output, &epoll, [OUT, ERR])?;
        let mut run = Self {
            epoll,
            orders: Some(orders),
            signals,
            capture,
            command: None,
            grace: launch.grace,
            confinement: launch.confinement.clone(),
            started_at: None,
            deadline: None,
            ending: None,
            end: None,
            is_lost: false,
            has_children: false,
            hunt: Hunt::new(),
            bell_due: false,
            bell_rung: Instant::now(),
        };
        drain(&run.signals);
        let started_at = now();
        match launch.confinement.around(|| spawn(&launch, ends)) {
            Ok(command) => {
                run.command = Some(command);
                run.started_at = Some(started_at);
                // A timeout beyond what the clock can count is none.
                run.deadline = launch.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                tell(&[&[wire::STARTED], &started_at.to_le_bytes()[..]].concat());
            }
            Err(error) => {
                let message = format!("the command could not be started: {error}");
                run.end = Some(End { message, ..ended(Cause::Natural, started_at) });
            }
        }
        Ok(run)
    }

    /// Stays with the command until nothing of it is left, and records its end.
    pub(super) fn attend(mut self) -> io::Result<()> {
        loop {
            self.reap();
            let pause = if self.is_to_kill() { Some(self.hunt.strike()) } else { None };
            if !self.has_children {
                // What was written last is in the pipes already, and so are the edges that tell its order.
                self.listen(Some(Duration::ZERO))?;
                self.capture.finish();
            }
            self.bell_due |= self.capture.pump();
            if !self.has_children && (self.capture.is_done() || self.orders.is_none()) {
                break;
            }
            let heard = if self.bell_due { self.listen(Some(Duration::ZERO))? } else { false };
            if self.bell_due && (!heard || self.bell_rung.elapsed() >= BELL_PERIOD) {
                self.bell();
            }
            if !heard {
                let pause = pause.or_else(|| self.until_next());
                self.listen(pause)?;
            }
        }
        self.record()
    }

    /// Takes in who died.
    fn reap(&mut self) {
        self.has_children = loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
                Ok(WaitStatus::StillAlive) => break true,
                Ok(WaitStatus::Exited(pid, code)) => self.buried(pid, Some(code), None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.buried(pid, None, Some(signal as i32)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => break false,
            }
        };
    }

    fn buried(&mut self, pid: Pid, code: Option<i32>, signal: Option<i32>) {
        self.hunt.hurry();
        if Some(pid) != self.command {
            return;
        }
        self.command = None;
        let cause = match &self.ending {
            Some(ending) => ending.cause,
            None if self.confinement.oom_kills() > 0 => Cause::OutOfMemory,
            None => Cause::Natural,
        };
        self.end = Some(End { code, signal, started_at: self.started_at, ..ended(cause, now()) });
    }

    /// Whether the time for asking is over. A command that ended by itself leaves nothing that is worth waiting for; after
    /// an order, what it started has the grace as well.
    fn is_to_kill(&self) -> bool {
        let is_due = self.ending.as_ref().is_none_or(|ending| ending.kill_at <= Instant::now());
        self.has_children && is_due && (self.is_lost || self.ending.is_some() || self.command.is_none())
    }

    /// How long nothing happens by itself.
    fn until_next(&self) -> Option<Duration> {
        let deadline = self.deadline.filter(|_| self.ending.is_none() && self.command.is_some());
        let kill_at = self.ending.as_ref().map(|ending| ending.kill_at).filter(|_| self.has_children);
        let next = [deadline, kill_at, self.capture.retry_at()].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Waits for something to happen and takes it in. True if something did.
    fn listen(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        // Rounded up: a wait that ends early would be a busy one.
        let millis = timeout.map(|timeout| timeout.as_micros().div_ceil(1000));
        let timeout = millis.map_or(EpollTimeout::NONE, |millis| {
            EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::ZERO)
        });
        let mut events = [EpollEvent::empty(); 8];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            match event.data() {
                ORDERS => self.obey()?,
                SIGNALS => drain(&self.signals),
                OUT => self.capture.filled(LogStream::Stdout),
                _ => self.capture.filled(LogStream::Stderr),
            }
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.deadline = None;
            self.ask_to_end(Cause::Timeout);
        }
        Ok(count > 0)
    }

    fn obey(&mut self) -> io::Result<()> {
        let Some(orders) = &mut self.orders else { return Ok(()) };
        let mut order = [0];
        match orders.read(&mut order) {
            Ok(1) if order == [wire::CANCEL] => self.ask_to_end(Cause::Cancel),
            Ok(1) if order == [wire::KILL] => self.force(Cause::Cancel),
            Ok(1) if order == [wire::DISK] => self.force(Cause::DiskQuota),
            Ok(1) if order == [wire::STOP] => self.ask_to_end(Cause::Stop),
            Ok(1) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => self.abandoned()?,
        }
        Ok(())
    }

    /// An end that happened before the order was given stays what it was, and the first order counts.
    fn ask_to_end(&mut self, cause: Cause) {
        self.reap();
        if let (Some(command), None) = (self.command, &self.ending) {
            self.ending = Some(Ending { cause, kill_at: Instant::now() + self.grace });
            tree::ask(command);
        }
    }

    /// No time is left for asking.
    fn force(&mut self, cause: Cause) {
        self.ask_to_end(cause);
        if let Some(ending) = &mut self.ending {
            ending.kill_at = Instant::now();
        }
    }

    /// The backend is gone. What it had ordered, and what had ended before, is still recorded.
    fn abandoned(&mut self) -> io::Result<()> {
        if let Some(orders) = self.orders.take() {
            self.epoll.delete(&orders)?;
        }
        self.reap();
        self.is_lost = self.end.is_none() && self.ending.is_none();
        if let Some(ending) = &mut self.ending {
            ending.kill_at = Instant::now();
        }
        Ok(())
    }

    fn bell(&mut self) {
        tell(&[wire::OUTPUT]);
        self.bell_due = false;
        self.bell_rung = Instant::now();
    }

    /// Writes the end down. While there is no room for it the run is not over, unless nobody waits for it any more.
    fn record(mut self) -> io::Result<()> {
        let Some(end) = self.end.take().filter(|_| !self.is_lost) else { return Ok(()) };
        loop {
            match self.capture.sync().and_then(|()| end.write(Path::new("."))) {
                Ok(()) => return Ok(()),
                Err(error) if self.orders.is_none() => return Err(error),
                Err(_) => self.listen(Some(END_RETRY))?,
            };
        }
    }
}

/// An end of which nothing is known but when it was.
fn ended(cause: Cause, finished_at: i64) -> End {
    End { cause, code: None, signal: None, started_at: None, finished_at, message: String::new() }
}

/// Who died is found out by waiting, and the rest is not for the shim.
fn drain(signals: &SignalFd) {
    while matches!(signals.read_signal(), Ok(Some(_))) {}
}

/// Starts the command in a process group of its own, with no signal blocked.
fn spawn(launch: &Launch, ends: Ends) -> io::Result<Pid> {
    let Ends { out, err } = ends;
    let mut command = Command::new("/bin/sh");
    command
        // What begins with a dash is a command as well.
        .args(["-c", "--"])
        .arg(launch.command())
        .current_dir(record::WORK)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::from(out))
        .stderr(Stdio::from(err))
        .process_group(0);
    // A child takes over the mask of who makes it.
    let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let child = command.spawn();
    blocked.thread_set_mask()?;
    let child = child?;
    Ok(Pid::from_raw(child.id() as i32))
}
