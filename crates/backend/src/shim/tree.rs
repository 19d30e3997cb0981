//! Everything that descends from the shim, as one thing to signal.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::process;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Asks the command's group, and all that left it, to end. Stopped ones are woken to hear it.
pub(super) fn ask(command: Pid) {
    let group = command.as_raw();
    let strays = process::descendants(std::process::id() as i32)
        .into_iter()
        .filter(|pid| process::stat(*pid).ok().flatten().is_some_and(|stat| stat.group != group));
    // One signal each: to some programs a second one means haste.
    for target in strays.chain([-group]) {
        process::send(target, Signal::SIGTERM);
        process::send(target, Signal::SIGCONT);
    }
}

/// Kills all there are, again and again until none is left.
pub(super) struct Hunt {
    pause: Duration,
}

impl Hunt {
    pub(super) fn new() -> Self {
        Self { pause: FIRST_PAUSE }
    }

    /// One pass. Each process is stopped before its children are listed, so that it makes no more of them meanwhile. What
    /// slips through is a child of the shim by the next pass. Returns how long to wait for the dead before that.
    pub(super) fn strike(&mut self) -> Duration {
        let mut found = process::children(std::process::id() as i32);
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            process::send(pid, Signal::SIGSTOP);
            found.extend(process::children(pid));
            next += 1;
        }
        for pid in found {
            process::send(pid, Signal::SIGKILL);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    /// Something died: the next pass may find what it left.
    pub(super) fn hurry(&mut self) {
        self.pause = FIRST_PAUSE;
    }
}
