//! After a restart: ends what an earlier incarnation left running, then tells what became of its runs.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::House;
use super::cgroup;
use super::make::remove_dir;
use super::run::Run;
use super::sweep;
use crate::record::{self, Journal};
use crate::{BackendError, Recovered, local::blocking, process};

/// A shim whose backend is gone ends everything by itself, and knows better than a sweep what that is.
const SHIM_PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const CRASHED: &str = "the executor was killed while the command ran";

pub(super) async fn recover(house: &Arc<House>) -> Result<Vec<Recovered>, BackendError> {
    let found = {
        let house = house.clone();
        blocking("read the runs' directory", move || {
            house.empty_trash()?;
            find(&house)
        })
        .await?
    };
    let boot = process::boot_id().map_err(|source| BackendError::Unavailable { doing: "read the boot id", source })?;
    let shims: Vec<_> = found.iter().filter_map(|(_, journal)| journal.as_ref()).filter(|j| j.boot == boot).collect();
    await_shims(&shims).await;
    clear_cgroups(house, &shims).await?;
    // What has lost its shim is known by its mark, which no other backend's directory shares.
    sweep::until_none(|candidate| Ok(candidate.mark()?.is_some_and(|mark| house.is_ours(&mark)))).await;
    let house = house.clone();
    blocking("settle the runs of before", move || settle(&house, found)).await
}

/// Whoever is left in a run's cgroup belongs to it, whatever it has become.
async fn clear_cgroups(house: &Arc<House>, journals: &[&Journal]) -> Result<(), BackendError> {
    let named = journals.iter().flat_map(|journal| journal.cgroups.clone()).collect();
    let house = house.clone();
    let left = blocking("look for cgroups", move || Ok(house.cgroups.left_behind(named))).await?;
    cgroup::empty(&left).await;
    cgroup::remove(left).await;
    Ok(())
}

type Found = (PathBuf, Option<Journal>);

fn find(house: &House) -> io::Result<Vec<Found>> {
    fs::read_dir(house.runs_dir())?
        .map(|entry| {
            let dir = entry?.path();
            let journal = Journal::read(&dir)?.filter(|journal| house.run_dir(journal.key()) == dir);
            Ok((dir, journal))
        })
        .collect()
}

/// Waits until these shims are gone, and ends those that take too long.
async fn await_shims(shims: &[&Journal]) {
    let patience_ends = Instant::now() + SHIM_PATIENCE;
    while let Some(alive) = shims.iter().map(|journal| journal.shim).find(|_| shims.iter().any(|j| is_alive(j))) {
        if Instant::now() >= patience_ends {
            tracing::warn!(pid = alive, "shims of an earlier incarnation do not end by themselves and are killed");
            shims.iter().filter(|journal| is_alive(journal)).for_each(|j| process::send(j.shim, Signal::SIGKILL));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A process of the same number that started at another time is another process. What cannot be looked at is left to the
/// sweep.
fn is_alive(journal: &Journal) -> bool {
    process::stat(journal.shim).ok().flatten().is_some_and(|stat| !stat.is_dead && stat.started == journal.shim_started)
}

fn settle(house: &House, found: Vec<Found>) -> io::Result<Vec<Recovered>> {
    let mut recovered = Vec::new();
    for (dir, journal) in found {
        // Without a journal nobody was ever told of it.
        let Some(journal) = journal else {
            house.discard(&dir)?;
            continue;
        };
        remove_dir(&dir.join(record::BINDINGS))?;
        let (key, run, fate) = (journal.key(), journal.run(), record::fate(&dir, CRASHED)?);
        house.insert(Arc::new(Run::found(key, run.clone(), dir, fate.clone())));
        recovered.push(Recovered { key, run, space: journal.space(), log_cap: journal.log_cap, fate });
    }
    Ok(recovered)
}
