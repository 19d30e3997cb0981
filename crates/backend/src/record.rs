//! What a run's directory holds: the files' names, and how they are read and written.
//!
//! | File | Written by | Says |
//! |---|---|---|
//! | `journal` | backend | the run exists, under this shim; without it nothing was ever reported |
//! | `go` | backend | the command may have started; without it, it did not |
//! | `output` | shim | what the command wrote |
//! | `end` | shim | how the command ended; nothing of it is left |
//! | `work/` | all | the working copy of the App's source |
//! | `bindings/` | backend | credentials of what the App is bound to; gone as soon as the run is over |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use taskplane_domain::run::{EndCause, Fate, RunEnd, RunKey};
use taskplane_domain::task::Exit;
use taskplane_domain::uid::{RunUid, SpaceUid, TaskUid};
use uuid::Uuid;

pub(crate) const JOURNAL: &str = "journal";
pub(crate) const GO: &str = "go";
pub(crate) const OUTPUT: &str = "output";
pub(crate) const END: &str = "end";
pub(crate) const WORK: &str = "work";
pub(crate) const BINDINGS: &str = "bindings";

/// Said of a run that the executor ended because it was told to stop.
pub(crate) const STOPPED: &str = "the executor was stopped while the command ran";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    #[serde(with = "uuid_text")]
    task: Uuid,
    attempt: u32,
    #[serde(with = "uuid_text")]
    space: Uuid,
    #[serde(default)]
    pub(crate) log_cap: Option<u64>,
    run: String,
    pub(crate) shim: i32,
    /// In clock ticks after the boot.
    pub(crate) shim_started: u64,
    pub(crate) boot: String,
    /// Where its processes are, and nobody else.
    #[serde(default)]
    pub(crate) cgroups: Vec<PathBuf>,
}

impl Journal {
    pub(crate) fn new(
        key: RunKey,
        (space, log_cap): (SpaceUid, Option<u64>),
        run: &RunUid,
        (shim, shim_started): (i32, u64),
        (boot, cgroups): (String, Vec<PathBuf>),
    ) -> Self {
        let run = run.0.clone();
        Self { task: key.task.0, attempt: key.attempt, space: space.0, log_cap, run, shim, shim_started, boot, cgroups }
    }

    pub(crate) fn key(&self) -> RunKey {
        RunKey { task: TaskUid(self.task), attempt: self.attempt }
    }

    pub(crate) fn space(&self) -> SpaceUid {
        SpaceUid(self.space)
    }

    pub(crate) fn run(&self) -> RunUid {
        RunUid(self.run.clone())
    }

    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        write_synced(dir, JOURNAL, &line_of(self)?)
    }

    /// None when there is no complete one.
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        read(&dir.join(JOURNAL))
    }
}

mod uuid_text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(uuid: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(uuid)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    Natural,
    Cancel,
    Timeout,
    /// The kernel killed something of it.
    OutOfMemory,
    /// Its working copy was too large.
    DiskQuota,
    /// The executor was stopped.
    Stop,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) cause: Cause,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// Microseconds, as all times here.
    pub(crate) started_at: Option<i64>,
    pub(crate) finished_at: i64,
    pub(crate) message: String,
}

impl End {
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        write_synced(dir, END, &line_of(self)?)
    }

    fn fate(self) -> Fate {
        let cause = match self.cause {
            Cause::Natural => EndCause::Natural,
            Cause::Cancel => EndCause::Cancel,
            Cause::Timeout => EndCause::Timeout,
            Cause::OutOfMemory => EndCause::OutOfMemory,
            Cause::DiskQuota => EndCause::DiskQuota,
            Cause::Stop => return Fate::Lost { message: STOPPED.to_owned() },
        };
        Fate::Ended(RunEnd {
            cause,
            exit: Exit { code: self.code, signal: self.signal },
            started_at: self.started_at.map(time),
            finished_at: time(self.finished_at),
            message: self.message,
        })
    }
}

/// What became of a run of which nothing is left: as its files tell, or `lost` when nobody saw its end. A file that cannot be
/// read tells nothing: that is an error, and no answer.
pub(crate) fn fate(dir: &Path, lost: &str) -> io::Result<Fate> {
    Ok(match read::<End>(&dir.join(END))? {
        Some(end) => end.fate(),
        None if dir.join(GO).try_exists()? => Fate::Lost { message: lost.to_owned() },
        None => Fate::NeverStarted,
    })
}

pub(crate) fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MIN)
}

/// The file is there with all of `content`, or not at all, whatever happens; on return it will still be there after a crash.
pub(crate) fn write_synced(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let draft = dir.join(format!("{name}.draft"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, dir.join(name))?;
    sync_dir(dir)
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(content) => Ok(serde_json::from_slice(&content).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn line_of(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(cause: Cause) -> End {
        End { cause, code: Some(3), signal: None, started_at: Some(1), finished_at: 2, message: String::new() }
    }

    #[test]
    fn a_journal_is_read_as_it_was_written_and_half_a_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let key = RunKey { task: TaskUid(Uuid::from_u128(7)), attempt: 2 };
        let journal = Journal::new(
            key,
            (SpaceUid(Uuid::nil()), Some(9)),
            &RunUid("r".into()),
            (17, 18),
            ("b".into(), vec!["/c".into()]),
        );
        assert!(Journal::read(dir.path()).unwrap().is_none());
        journal.write(dir.path()).unwrap();
        assert_eq!(Journal::read(dir.path()).unwrap().as_ref(), Some(&journal));
        assert_eq!((journal.key(), journal.run()), (key, RunUid("r".into())));
        let half = &fs::read(dir.path().join(JOURNAL)).unwrap()[..20];
        fs::write(dir.path().join(JOURNAL), half).unwrap();
        assert!(Journal::read(dir.path()).unwrap().is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(END)).unwrap();
        assert!(fate(dir.path(), "gone").is_err());
    }

    #[test]
    fn the_files_tell_the_fate() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(fate(dir.path(), "gone").unwrap(), Fate::NeverStarted);
        write_synced(dir.path(), GO, b"").unwrap();
        assert_eq!(fate(dir.path(), "gone").unwrap(), Fate::Lost { message: "gone".into() });
        end(Cause::Timeout).write(dir.path()).unwrap();
        let Fate::Ended(seen) = fate(dir.path(), "gone").unwrap() else { panic!("an end was seen") };
        assert_eq!((seen.cause, seen.exit.code, seen.finished_at), (EndCause::Timeout, Some(3), time(2)));
        end(Cause::Stop).write(dir.path()).unwrap();
        assert_eq!(fate(dir.path(), "gone").unwrap(), Fate::Lost { message: STOPPED.into() });
    }
}
