//! One run as the backend knows it: what is true of it, and the orders it can be given.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use taskplane_domain::run::{Fate, RunKey};
use taskplane_domain::task::Condition;
use taskplane_domain::uid::RunUid;
use tokio::sync::{Notify, watch};

use crate::{Made, Observation, record, wire};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Inert,
    Running(Timestamp),
    Over(Fate),
}

pub(super) struct Run {
    pub(super) key: RunKey,
    pub(super) uid: RunUid,
    conditions: Vec<Condition>,
    pub(super) dir: PathBuf,
    /// Also rung, without a change, when there is more output.
    pub(super) phase: watch::Sender<Phase>,
    /// Rings when the shim does not do what it was told.
    pub(super) force: Notify,
    orders: Mutex<Orders>,
}

struct Orders {
    /// To the shim; none once it was let go.
    pipe: Option<File>,
    given: Given,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Nothing,
    /// Its start is recorded; nothing of the command happened before.
    Go,
    /// It is never to start.
    Never,
}

impl Run {
    pub(super) fn new(key: RunKey, made: Made, dir: PathBuf, pipe: File) -> Self {
        let Made { run: uid, conditions, guarded: _ } = made;
        let orders = Mutex::new(Orders { pipe: Some(pipe), given: Given::Nothing });
        Self { key, uid, conditions, dir, phase: watch::Sender::new(Phase::Inert), force: Notify::new(), orders }
    }

    /// One that was found when it was over.
    pub(super) fn found(key: RunKey, uid: RunUid, dir: PathBuf, fate: Fate) -> Self {
        let orders = Mutex::new(Orders { pipe: None, given: Given::Nothing });
        let conditions = Vec::new();
        Self { key, uid, conditions, dir, phase: watch::Sender::new(Phase::Over(fate)), force: Notify::new(), orders }
    }

    pub(super) fn made(&self) -> Made {
        Made { run: self.uid.clone(), conditions: self.conditions.clone(), guarded: false }
    }

    pub(super) fn observation(&self) -> Observation {
        let run = self.uid.clone();
        match &*self.phase.borrow() {
            Phase::Inert => Observation::Inert { run },
            Phase::Running(started_at) => Observation::Running { run, started_at: *started_at },
            Phase::Over(fate) => Observation::Over { run, fate: fate.clone() },
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Over(_))
    }

    /// It never started, and nobody forbade it: its Task may ask for it once more.
    pub(super) fn may_be_made_again(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Over(Fate::NeverStarted)) && self.orders().given == Given::Nothing
    }

    /// Records the go, then gives it: after a crash in between the run counts as started. Blocks for the disk.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut orders = self.orders();
        // Without a pipe nobody is there to start it: its end is on the way.
        if orders.given != Given::Nothing || orders.pipe.is_none() || self.is_over() {
            return Ok(());
        }
        if let Err(error) = record::write_synced(&self.dir, record::GO, b"") {
            let _ = fs::remove_file(self.dir.join(record::GO));
            return Err(error);
        }
        orders.given = Given::Go;
        fail::fail_point!("backend::release::after_go_marker");
        orders.give(wire::GO);
        fail::fail_point!("backend::release::after_go");
        Ok(())
    }

    /// Asks for the end; a run without its go just ends.
    pub(super) fn cancel(&self) {
        let mut orders = self.orders();
        match orders.given {
            Given::Go => orders.give(wire::CANCEL),
            Given::Nothing | Given::Never => {
                orders.given = Given::Never;
                orders.pipe = None;
            }
        }
    }

    /// Whether the command may have started.
    pub(super) fn was_released(&self) -> bool {
        self.orders().given == Given::Go
    }

    /// No time is left for asking.
    pub(super) fn kill(&self) {
        let mut orders = self.orders();
        if orders.given == Given::Go {
            orders.give(wire::KILL);
        }
    }

    /// Its working copy is too large.
    pub(super) fn outgrew(&self) {
        let mut orders = self.orders();
        if orders.given == Given::Go {
            orders.give(wire::DISK);
        }
    }

    /// Asks for the end because the executor stops.
    pub(super) fn stop(&self) {
        let mut orders = self.orders();
        match orders.given {
            Given::Go => orders.give(wire::STOP),
            Given::Nothing | Given::Never => orders.pipe = None,
        }
    }

    /// Lets go of the shim, which ends everything at once.
    pub(super) fn abandon(&self) {
        self.orders().pipe = None;
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orders {
    /// One byte, for which the pipe has room. A shim that is gone tells so by its own pipe.
    fn give(&mut self, order: u8) {
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write_all(&[order]);
        }
    }
}
