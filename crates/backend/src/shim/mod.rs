//! The shim: one small process above each run, so that nothing of a run outlives it and its end is seen even while nobody
//! looks.
//!
//! It leads a session of its own and is the reaper of all that its command leaves behind, daemons included. It reads what it
//! is to run from its standard input, waits for the go, and from then on holds the command to its orders. When its input
//! closes the backend is gone, and the shim ends everything at once.

mod capture;
mod run;
mod spool;
mod tree;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::process::ExitCode;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd;

use crate::record;
use crate::wire::{self, Launch};

/// Signals that must not end a shim: its command would be left to itself. The last comes from a limit on file sizes, and the
/// failed write says the same.
const BORNE: [Signal; 5] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGXFSZ];

/// All that `taskplane-shim` does. Its working directory is the run's.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    match unistd::setsid() {
        // It leads a group already: someone started it by hand.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => return Err(error.into()),
    }
    prctl::set_child_subreaper(true)?;
    let signals = SigSet::from_iter(BORNE.into_iter().chain([Signal::SIGCHLD]));
    signals.thread_block()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;

    // Unbuffered, so that no order is read along with the launch.
    let mut orders = unbuffered_stdin()?;
    let launch = Launch::read_from(&mut orders)?;
    let output = OpenOptions::new().append(true).open(record::OUTPUT)?;
    fcntl(io::stdout(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    tell(&[wire::READY]);
    let mut order = [0];
    let confinement = launch.confinement.clone();
    let done = match orders.read(&mut order) {
        Ok(1) if order == [wire::GO] => {
            run::Run::start(launch, Pipes { orders, signals, output }).and_then(run::Run::attend)
        }
        // Cancelled, or the backend is gone: the command never starts.
        read => read.map(drop),
    };
    confinement.dissolve();
    done
}

/// What a shim hears and writes.
struct Pipes {
    orders: File,
    signals: SignalFd,
    output: File,
}

fn unbuffered_stdin() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// Tells the backend something, if it can hear: the shim waits for nobody.
fn tell(bytes: &[u8]) {
    let _ = unistd::write(io::stdout(), bytes);
}

/// The time, in microseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "a shim is where output and ends happen, and its process has no other clock"
)]
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
