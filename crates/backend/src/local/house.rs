//! The backend's directory and what it knows: the runs, by name.
//!
//! `runs/` holds a directory for each run, `trash/` what is about to be removed, and `id` the name of the whole, which is
//! also the lock that keeps a second backend out.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use taskplane_domain::run::RunKey;
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use super::LocalConfig;
use super::cgroup::Cgroups;
use super::env::Inherited;
use super::make::remove_dir;
use super::run::Run;
use super::turns::Turns;
use crate::{process, record};

const RUNS: &str = "runs";
const TRASH: &str = "trash";
const ID: &str = "id";
/// Hints that a slow listener may be behind; it is told of none it missed.
const CHANGES: usize = 4096;

pub(super) struct House {
    pub(super) config: LocalConfig,
    pub(super) inherited: Inherited,
    pub(super) turns: Turns,
    pub(super) cgroups: Cgroups,
    pub(super) tracker: TaskTracker,
    changes: broadcast::Sender<RunKey>,
    id: String,
    runs: Mutex<HashMap<RunKey, Arc<Run>>>,
    stopping: AtomicBool,
}

impl House {
    /// The house, and the lock that is held as long as it is lived in.
    pub(super) fn open(config: LocalConfig) -> io::Result<(Self, File)> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(config.root.join(RUNS))?;
        builder.create(config.root.join(TRASH))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(config.root.join(ID))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process has this directory")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        let mut id = String::new();
        lock.read_to_string(&mut id)?;
        if id.is_empty() {
            id = process::fresh_id()?;
            lock.write_all(id.as_bytes())?;
            lock.sync_all()?;
            record::sync_dir(&config.root)?;
        }
        let LocalConfig { path, lang, tmpdir, .. } = config.clone();
        let house = Self {
            config,
            inherited: Inherited { path, lang, tmpdir },
            turns: Turns::default(),
            cgroups: Cgroups::find(&id),
            tracker: TaskTracker::new(),
            changes: broadcast::Sender::new(CHANGES),
            id,
            runs: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        Ok((house, lock))
    }

    pub(super) fn runs_dir(&self) -> PathBuf {
        self.config.root.join(RUNS)
    }

    pub(super) fn run_dir(&self, key: RunKey) -> PathBuf {
        self.runs_dir().join(key.to_string())
    }

    /// What each process of a run carries.
    pub(super) fn mark(&self, key: RunKey) -> String {
        format!("{key}@{}", self.id)
    }

    pub(super) fn is_ours(&self, mark: &str) -> bool {
        mark.rsplit_once('@').is_some_and(|(_, id)| id == self.id)
    }

    pub(super) fn find(&self, key: RunKey) -> Option<Arc<Run>> {
        self.runs().get(&key).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Run>> {
        self.runs().values().cloned().collect()
    }

    pub(super) fn insert(&self, run: Arc<Run>) {
        self.runs().insert(run.key, run);
    }

    /// Forgets a run, with all it left on disk. Blocks for the disk.
    pub(super) fn forget(&self, run: &Run) -> io::Result<()> {
        self.discard(&run.dir)?;
        self.runs().remove(&run.key);
        Ok(())
    }

    /// Removes a run's directory. It is gone at once or not at all: half a directory would tell something untrue after a crash.
    pub(super) fn discard(&self, dir: &Path) -> io::Result<()> {
        let trash = self.config.root.join(TRASH).join(process::fresh_id()?);
        match fs::rename(dir, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        record::sync_dir(&self.runs_dir())?;
        // The run is forgotten already; what cannot be removed now is tried again at the next start.
        if let Err(error) = remove_dir(&trash) {
            tracing::warn!(%error, "a run's directory could not be removed");
        }
        Ok(())
    }

    /// Removes what an earlier incarnation did not get to.
    pub(super) fn empty_trash(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.config.root.join(TRASH))? {
            if let Err(error) = remove_dir(&entry?.path()) {
                tracing::warn!(%error, "a run's directory could not be removed");
            }
        }
        Ok(())
    }

    pub(super) fn changed(&self, key: RunKey) {
        // Nobody listens: nobody is told.
        let _ = self.changes.send(key);
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<RunKey> {
        self.changes.subscribe()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<RunKey, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
