//! Stays with one shim: hears what it tells, and settles what became of the run when it is gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use taskplane_domain::quantity::Bytes;
use taskplane_domain::run::Fate;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use super::blocking;
use super::make::{Tells, remove_dir};
use super::run::{Phase, Run};
use super::{House, cgroup, disk, sweep};
use crate::{record, wire};

const KILLED: &str = "its supervisor was killed while the command ran";

const RETRY: Duration = Duration::from_secs(1);

/// A run's shim, from the backend's side.
pub(super) struct Shim {
    pub(super) child: Child,
    pub(super) tells: Tells,
    pub(super) cgroups: Vec<PathBuf>,
    pub(super) disk: Option<Bytes>,
}

pub(super) async fn supervise(house: Arc<House>, run: Arc<Run>, mut shim: Shim) {
    loop {
        let tell = tokio::select! {
            tell = shim.tells.read_u8() => tell,
            // It was asked, and does not even end what it runs: a stopped one hears nothing. Its end is heard as any other.
            () = run.force.notified() => {
                tracing::warn!(run = %run.key, "a shim does not do what it was told, and is killed");
                let _ = shim.child.start_kill();
                continue;
            }
        };
        let Ok(tell) = tell else { break };
        match tell {
            wire::STARTED => {
                let Ok(at) = shim.tells.read_i64_le().await else { break };
                run.phase.send_replace(Phase::Running(record::time(at)));
                if let Some(quota) = shim.disk.take() {
                    house.tracker.spawn(disk::watch(run.clone(), quota));
                }
                house.changed(run.key);
            }
            // Wakes those who wait for output; the phase stays.
            _ => run.phase.send_modify(|_| ()),
        }
    }
    let fate = settle(&house, &run, &shim).await;
    // From here on its process id may mean another process.
    if let Err(error) = shim.child.wait().await {
        tracing::warn!(run = %run.key, %error, "a shim's end could not be awaited");
    }
    let cgroups = std::mem::take(&mut shim.cgroups);
    cgroup::remove(cgroups).await;
    run.abandon();
    forget_bindings(&run).await;
    run.phase.send_replace(Phase::Over(fate));
    house.changed(run.key);
}

/// Nobody needs the credentials any more, and the directory may stay a while for its output.
async fn forget_bindings(run: &Run) {
    let dir = run.dir.join(record::BINDINGS);
    if let Err(error) = blocking("remove the credentials of the run", move || remove_dir(&dir)).await {
        tracing::warn!(run = %run.key, %error, "the credentials of a run could not be removed");
    }
}

async fn settle(house: &House, run: &Run, shim: &Shim) -> Fate {
    let lost = if house.is_stopping() { record::STOPPED } else { KILLED };
    let fate = loop {
        match record::fate(&run.dir, lost) {
            // Its directory was emptied by somebody: it was let go all the same, and must not start again.
            Ok(Fate::NeverStarted) if run.was_released() => break Fate::Lost { message: lost.to_owned() },
            Ok(fate) => break fate,
            // Too many open files, say. A guess could start the command twice, so the run is not over before this is read.
            Err(error) => tracing::warn!(run = %run.key, %error, "a run's end cannot be read yet"),
        }
        tokio::time::sleep(RETRY).await;
    };
    if matches!(fate, Fate::Lost { .. }) {
        // A shim that ended in order left nothing. One that was killed did: what is in the run's cgroup, what carries its
        // mark, and what stayed in the session, whose number is the shim's until the shim is waited for.
        cgroup::empty(&shim.cgroups).await;
        let session = shim.child.id().and_then(|pid| i32::try_from(pid).ok());
        let mark = house.mark(run.key);
        sweep::until_none(|candidate| {
            Ok(session == Some(candidate.session) || candidate.mark()?.as_deref() == Some(&mark))
        })
        .await;
    }
    fate
}
