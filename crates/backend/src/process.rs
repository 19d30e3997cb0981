//! Processes as the kernel tells of them: parents, sessions, and the mark that each process of a run carries.

use std::fs;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// The variable that marks every process of a run: `<run key>@<id of the backend's directory>`.
pub(crate) const MARK: &str = "TASKPLANE_RUN";

/// A line of `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) is_dead: bool,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// In clock ticks after the boot.
    pub(crate) started: u64,
}

/// None when there is no such process any more.
pub(crate) fn stat(pid: i32) -> io::Result<Option<Stat>> {
    let line = of_process(fs::read(format!("/proc/{pid}/stat")))?;
    Ok(line.and_then(|line| parse(&String::from_utf8_lossy(&line))))
}

fn parse(line: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses, and may hold anything.
    let mut fields = line.rsplit_once(") ")?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat { is_dead: matches!(state, "Z" | "X"), parent, group, session, started })
}

/// What was read of a process: none when it is gone, or not ours to look into.
fn of_process<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::ENOENT | Errno::ESRCH | Errno::EACCES | Errno::EPERM => Ok(None),
            _ => Err(error),
        },
    }
}

/// All processes there are, as far as one look can tell.
pub(crate) fn all() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// The children of a process, dead ones included. Complete only when it is stopped.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok())),
            // A kernel without this file still tells each process's parent.
            Err(error) if error.kind() == io::ErrorKind::NotFound && thread.path().exists() => {
                return children_by_parent(pid);
            }
            Err(_) => {}
        }
    }
    children
}

fn children_by_parent(pid: i32) -> Vec<i32> {
    let is_child = |child: &i32| stat(*child).ok().flatten().is_some_and(|stat| stat.parent == pid);
    all().unwrap_or_default().into_iter().filter(is_child).collect()
}

/// All below a process, parents before their children.
pub(crate) fn descendants(pid: i32) -> Vec<i32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children(*pid));
        next += 1;
    }
    found
}

/// The mark a process was started with.
pub(crate) fn mark(pid: i32) -> io::Result<Option<String>> {
    let environ = of_process(fs::read(format!("/proc/{pid}/environ")))?.unwrap_or_default();
    let is_mark = |var: &[u8]| var.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
    Ok(environ.split(|byte| *byte == 0).find_map(is_mark).and_then(|value| String::from_utf8(value).ok()))
}

/// A signal to a process that may be gone already, or is not ours to signal.
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = signal::kill(Pid::from_raw(pid), signal);
}

/// Names this boot of the machine: process ids mean nothing after another one.
pub(crate) fn boot_id() -> io::Result<String> {
    read_line("/proc/sys/kernel/random/boot_id")
}

/// A name that no one had before.
pub(crate) fn fresh_id() -> io::Result<String> {
    read_line("/proc/sys/kernel/random/uuid")
}

fn read_line(path: &str) -> io::Result<String> {
    Ok(fs::read_to_string(PathBuf::from(path))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_found_with_its_mark_parent_and_start() {
        let mut child = Command::new("/bin/cat")
            .env(MARK, "t-x-1@here")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its environment is there once it has answered.
        io::Write::write_all(child.stdin.as_mut().unwrap(), b"x").unwrap();
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let (me, pid) = (std::process::id() as i32, child.id() as i32);
        let seen = stat(pid).unwrap().unwrap();
        assert_eq!((seen.parent, seen.is_dead), (me, false));
        assert!(seen.started >= stat(me).unwrap().unwrap().started);
        assert_eq!(mark(pid).unwrap().as_deref(), Some("t-x-1@here"));
        assert!(children(me).contains(&pid) && children_by_parent(me).contains(&pid) && descendants(me).contains(&pid));
        assert!(all().unwrap().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(stat(pid).unwrap().is_none_or(|now| now.started != seen.started));
    }

    #[test]
    fn a_programs_name_may_be_anything() {
        let line = String::from_utf8_lossy(b"7 (a) b\xff) (c) S 1 7 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9");
        let seen = parse(&line).unwrap();
        assert_eq!((seen.parent, seen.group, seen.session, seen.started), (1, 7, 6, 4242));
    }

    #[test]
    fn ids_are_fresh_and_boots_are_not() {
        assert_ne!(fresh_id().unwrap(), fresh_id().unwrap());
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
