//! Ends processes that lost their shim.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::process;

const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// A process that is just becoming another program shows no environment for a moment.
const CLEAN_LOOKS: u32 = 2;

/// A living process that is perhaps one of those.
pub(super) struct Candidate {
    pid: i32,
    pub(super) session: i32,
}

impl Candidate {
    pub(super) fn mark(&self) -> io::Result<Option<String>> {
        process::mark(self.pid)
    }
}

/// Kills all that match until there are none. As long as one cannot be killed, or one cannot be looked at, this does not
/// return: something may be left.
pub(super) async fn until_none(matches: impl Fn(&Candidate) -> io::Result<bool>) {
    let (mut clean, mut pause) = (0, PAUSE);
    while clean < CLEAN_LOOKS {
        clean = if matches!(strike(&matches), Ok(false)) { clean + 1 } else { 0 };
        tokio::time::sleep(pause).await;
        pause = if clean > 0 { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
    }
}

/// One look. True if there were any.
fn strike(matches: impl Fn(&Candidate) -> io::Result<bool>) -> io::Result<bool> {
    let me = std::process::id() as i32;
    let mut found = false;
    for pid in process::all()? {
        let Some(stat) = process::stat(pid)?.filter(|stat| !stat.is_dead && pid != me) else { continue };
        if matches(&Candidate { pid, session: stat.session })? {
            process::send(pid, Signal::SIGKILL);
            found = true;
        }
    }
    Ok(found)
}
