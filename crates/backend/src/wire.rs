//! What the local backend and a shim say to each other through the shim's two pipes.
//!
//! Backend to shim: one [`Launch`], then orders of one byte. Shim to backend: tells of one byte, one of them with a time.
//! Command and environment travel here and nowhere else: not in arguments, which everybody sees, and not on a disk.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::confine::{Confinement, Place};

/// Lets the command start.
pub(crate) const GO: u8 = b'g';
/// Ends the command, gently at first.
pub(crate) const CANCEL: u8 = b'c';
/// Ends the command by force, now.
pub(crate) const KILL: u8 = b'k';
/// As KILL, because the working copy is too large.
pub(crate) const DISK: u8 = b'd';
/// As CANCEL, because the executor stops.
pub(crate) const STOP: u8 = b's';

/// The launch was read; nothing was started.
pub(crate) const READY: u8 = b'r';
/// The command started; its time follows, eight bytes of microseconds.
pub(crate) const STARTED: u8 = b's';
/// There is more output. May stand for any amount of it.
pub(crate) const OUTPUT: u8 = b'o';

/// What a shim is to run.
#[derive(PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) command: OsString,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) confinement: Confinement,
}

impl Launch {
    /// Its length, then its fields, each closed by a NUL. None when a field holds a NUL, which no command or variable can.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let timeout = self.timeout.map(|timeout| timeout.as_micros().to_string()).unwrap_or_default();
        let Confinement { places, kills } = &self.confinement;
        let mut fields = vec![OsString::from(timeout), self.grace.as_micros().to_string().into()];
        fields.extend([kills.clone().unwrap_or_default().into(), places.len().to_string().into()]);
        fields.extend(places.iter().flat_map(|Place { inside, home }| [inside.into(), home.into()]));
        fields.push(self.command.clone());
        fields.extend(self.env.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
        let mut frame = vec![0; 4];
        for field in fields {
            if field.as_bytes().contains(&0) {
                return None;
            }
            frame.extend_from_slice(field.as_bytes());
            frame.push(0);
        }
        let length = u32::try_from(frame.len() - 4).ok()?;
        frame[..4].copy_from_slice(&length.to_le_bytes());
        Some(frame)
    }

    pub(crate) fn read_from(pipe: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        pipe.read_exact(&mut length)?;
        let length = u64::from(u32::from_le_bytes(length));
        let mut body = Vec::new();
        pipe.take(length).read_to_end(&mut body)?;
        if (body.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::decode(&body).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut fields = body.strip_suffix(&[0])?.split(|byte| *byte == 0);
        let mut text = || std::str::from_utf8(fields.next()?).ok();
        let (timeout, grace, kills, count) = (text()?, text()?, text()?, text()?);
        let timeout = if timeout.is_empty() { None } else { Some(Duration::from_micros(timeout.parse().ok()?)) };
        let grace = Duration::from_micros(grace.parse().ok()?);
        let kills = Some(PathBuf::from(kills)).filter(|path| !path.as_os_str().is_empty());
        let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let mut place = || Some(Place { inside: owned(fields.next()?).into(), home: owned(fields.next()?).into() });
        let places = (0..count.parse::<u8>().ok()?).map(|_| place()).collect::<Option<_>>()?;
        let command = owned(fields.next()?);
        let mut env = Vec::new();
        while let Some(name) = fields.next() {
            env.push((owned(name), owned(fields.next()?)));
        }
        Some(Self { command, env, timeout, grace, confinement: Confinement { places, kills } })
    }

    pub(crate) fn command(&self) -> &OsStr {
        &self.command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(timeout: Option<Duration>) -> Launch {
        let env = vec![("A".into(), "".into()), ("B".into(), OsString::from_vec(vec![0xff, b'=', b'\n']))];
        let place = Place { inside: "/a/b".into(), home: "/a".into() };
        let confinement = Confinement { places: vec![place; 2], kills: timeout.map(|_| "/a/b/kills".into()) };
        Launch { command: "echo \"$A\"\n'x' -c".into(), env, timeout, grace: Duration::from_millis(200), confinement }
    }

    #[test]
    fn a_launch_arrives_as_it_was_sent() {
        for timeout in [None, Some(Duration::from_secs(3600))] {
            let frame = launch(timeout).encode().unwrap();
            let mut pipe = frame.as_slice();
            assert!(Launch::read_from(&mut pipe).unwrap() == launch(timeout));
            assert!(pipe.is_empty());
        }
    }

    #[test]
    fn a_nul_is_not_sent() {
        let bad = Launch { command: "a\0b".into(), ..launch(None) };
        assert!(bad.encode().is_none());
    }

    #[test]
    fn a_launch_that_was_cut_short_is_none() {
        let frame = launch(None).encode().unwrap();
        for length in 0..frame.len() {
            assert!(Launch::read_from(&mut &frame[..length]).is_err());
        }
    }
}
