//! Where runs run: one trait, and a backend that makes local processes.
//!
//! A backend is told to make a run, to let it go, to end it and to forget it. It decides nothing about Tasks: what a run's
//! end means is the domain's to say, and every order can be given again without harm.

mod confine;
pub mod local;
mod process;
mod record;
pub mod shim;
mod spool;
#[cfg(feature = "tekton")]
pub mod tekton;
mod told;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use taskplane_domain::log::{Landmark, LogRecord};
use taskplane_domain::run::{Fate, RunKey, RunSpec};
use taskplane_domain::task::{Condition, Reason, Wait};
use taskplane_domain::uid::{RunUid, SpaceUid};

/// Where runs run.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What kind of place this is.
    fn traits(&self) -> Traits;

    /// Settles what an earlier incarnation left behind: whatever of it still runs is ended first, then its fate is told.
    /// Called once, before anything else. The runs stay known, with their output, until [`Backend::remove`].
    async fn recover(&self) -> Result<Vec<Recovered>, BackendError>;

    /// Makes the run, inert: nothing of the command happens before [`Backend::release`]. The same run again is the same run.
    async fn ensure(&self, spec: &RunSpec) -> Result<Made, BackendError>;

    /// Lets the command start. To be called only once the control plane has recorded the run.
    async fn release(&self, run: &RunKey) -> Result<(), BackendError>;

    /// The truth, now.
    async fn observe(&self, run: &RunKey) -> Result<Observation, BackendError>;

    /// What is not as the spec asks for, and showed only after the run was made.
    async fn remarks(&self, _run: &RunKey) -> Vec<Condition> {
        Vec::new()
    }

    /// Asks for the end, gently and after `grace` by force; the backend's own grace when none is given. A later, shorter one
    /// counts. Returns at once; [`Observation::Over`] tells when nothing is left. A run that is still inert never starts
    /// after this.
    async fn cancel(&self, run: &RunKey, grace: Option<Duration>) -> Result<(), BackendError>;

    /// A run that is over was told, and its output is archived. `terminated`: it was ended by order.
    async fn archived(&self, _run: &RunKey, _terminated: bool) -> Result<(), BackendError> {
        Ok(())
    }

    /// Forgets a run that is over, with its output and its working copy.
    async fn remove(&self, run: &RunKey) -> Result<(), BackendError>;

    /// Which run to look at next. A hint: it may repeat itself, and may be lost.
    fn changes(&self) -> BoxStream<'static, RunKey>;

    /// Everything the run wrote from `offset` on. When following as it comes, until the run is over and all was read; else
    /// what is there.
    fn output(&self, run: &RunKey, offset: u64, follow: bool) -> BoxStream<'static, Result<LogRecord, BackendError>>;

    /// The same for whoever goes on with what another began: `landmark` is the latest line that is known to lie before
    /// `offset`. A backend that counts what was written by itself has no need of it.
    fn output_after(
        &self,
        run: &RunKey,
        offset: u64,
        _landmark: Option<Landmark>,
        follow: bool,
    ) -> BoxStream<'static, Result<LogRecord, BackendError>> {
        self.output(run, offset, follow)
    }

    /// Ends everything that runs, within the grace: the process is about to go.
    async fn shutdown(&self);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Runs outlive this process and can be taken over by another one.
    pub adoptable: bool,
    pub runs_images: bool,
    /// Runs that are over can be looked at for as long as their Tasks are kept; else they go as soon as they are archived.
    pub keeps: bool,
}

/// A run that was made, or was there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub run: RunUid,
    /// What will not be as the spec asks for.
    pub conditions: Vec<Condition>,
    /// Its command starts only once its guard was given the start ticket.
    pub guarded: bool,
}

/// A run that was found at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub key: RunKey,
    pub run: RunUid,
    /// Where its log belongs.
    pub space: SpaceUid,
    pub log_cap: Option<u64>,
    pub fate: Fate,
}

/// What is known of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    Absent,
    Inert {
        run: RunUid,
    },
    /// It has its go, and its command cannot start yet.
    Waiting {
        run: RunUid,
        wait: Wait,
    },
    Running {
        run: RunUid,
        started_at: Timestamp,
    },
    Over {
        run: RunUid,
        fate: Fate,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// This run cannot be made; asking again changes nothing.
    #[error("{message}")]
    NotMade { reason: Reason, message: String },
    #[error("there is no such run")]
    Absent,
    /// Try again later.
    #[error("{doing}: {source}")]
    Unavailable { doing: &'static str, source: std::io::Error },
}
