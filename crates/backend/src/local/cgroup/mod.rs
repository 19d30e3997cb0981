//! A cgroup for each run, where this process may make them: it holds the run to its memory, gives it its share of the CPU,
//! and knows what belongs to it.
//!
//! Memory is a limit. CPU is a weight: a run that asked for two cores gets twice as much as one that asked for one when they
//! compete, and what nobody else wants. Both versions of cgroups are served, and a machine on which neither can be used
//! still runs everything: its Tasks say what is not enforced.

mod seat;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use taskplane_domain::quantity::{Bytes, CpuMillis, Resources};
use taskplane_domain::run::RunKey;
use taskplane_domain::task::Condition;

use crate::confine::{self, Confinement, Place};
use crate::process;
use seat::{Kind, Seat, Site};

const MEMORY: &str = "MemoryLimitEnforced";
const CPU: &str = "CpuEnforced";
const NO_CGROUP: &str = "NoCgroup";
const PROBE: &str = "probe";

const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What this machine offers to one backend.
#[derive(Debug)]
pub(super) struct Cgroups {
    /// Before a run's key; no other backend's begin so.
    prefix: String,
    sites: Vec<Site>,
    /// Why there is no site for it.
    missing: String,
    has_swap: bool,
}

/// The cgroups of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) confinement: Confinement,
    /// What could not be had.
    pub(super) conditions: Vec<Condition>,
}

impl Cgroups {
    /// Looks around, and tries whether a cgroup can be made. Blocks for the kernel.
    pub(super) fn find(house: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let has_swap = read("/proc/swaps").lines().count() > 1;
        let seats = seat::seats(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let cgroups = Self::among(seats, house, has_swap);
        if !cgroups.missing.is_empty() {
            tracing::warn!(why = cgroups.missing, "the memory of Tasks is not limited on this machine");
        }
        cgroups
    }

    fn among(mut seats: Vec<Seat>, house: &str, has_swap: bool) -> Self {
        let has_unified = seats.iter().any(Seat::has_memory);
        seats.retain(|seat| (seat.kind == Kind::Unified) == has_unified);
        let mut cgroups =
            Self { prefix: format!("taskplane-{house}."), sites: Vec::new(), missing: String::new(), has_swap };
        for seat in &seats {
            let site = seat.site(cgroups.prefix.trim_end_matches('.'));
            match site.and_then(|site| cgroups.probe(&site).map(|()| site)) {
                Ok(site) => cgroups.sites.push(site),
                Err(error) if seat.kind == Kind::Cpu => tracing::debug!(%error, "no cgroups for the CPU"),
                Err(error) => {
                    cgroups.missing = format!("a cgroup cannot be made here ({error}): run the executor as root");
                }
            }
        }
        if cgroups.missing.is_empty() && !cgroups.sites.iter().any(|site| site.kind != Kind::Cpu) {
            cgroups.missing = "this machine offers no cgroups for memory".to_owned();
        }
        cgroups
    }

    fn probe(&self, site: &Site) -> io::Result<()> {
        let probe = site.parent.join(format!("{}{PROBE}", self.prefix));
        make_anew(&probe)?;
        let tried = if site.kind == Kind::Cpu { Ok(()) } else { limit_memory(site.kind, &probe, Bytes::MAX).map(drop) };
        fs::remove_dir(&probe)?;
        tried
    }

    /// Makes the cgroups of a run. What cannot be had is said, and is no reason not to run it. Blocks for the kernel.
    pub(super) fn make(&self, key: RunKey, resources: &Resources) -> Group {
        let Resources { memory, disk: _, cpu } = *resources;
        let mut group = Group::default();
        let (mut limited, mut weighed) = (Err(self.missing.clone()), Err("there is no cgroup for it".to_owned()));
        for site in self.sites.iter().filter(|site| site.kind != Kind::Cpu || cpu.is_some()) {
            let inside = site.parent.join(format!("{}{key}", self.prefix));
            let made = make_anew(&inside).map_err(|error| format!("its cgroup could not be made: {error}"));
            if site.kind != Kind::Cpu {
                let limit =
                    |()| memory.map_or(Ok(true), |memory| limit_memory(site.kind, &inside, memory).map_err(text));
                limited = made.clone().and_then(limit);
                group.confinement.kills = Some(inside.join(kills_file(site.kind)));
            }
            if let Some(cpu) = cpu.filter(|_| site.kind != Kind::Memory) {
                weighed = made.clone().and_then(|()| weigh(site.kind, &inside, cpu).map_err(text));
            }
            if made.is_ok() {
                group.confinement.places.push(Place { inside, home: site.home.clone() });
            }
        }
        let unlimited = limited.map(|counts_swap| self.has_swap && !counts_swap);
        group.conditions.extend(memory.and_then(|_| memory_condition(unlimited)));
        if let (Some(_), Err(why)) = (cpu, weighed) {
            group.conditions.push(Condition::unmet(CPU, NO_CGROUP, format!("its CPU is as any other's: {why}")));
        }
        group
    }

    /// What an earlier incarnation left: what is found, and what its journals name.
    pub(super) fn left_behind(&self, named: Vec<PathBuf>) -> Vec<PathBuf> {
        let is_ours = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&self.prefix))
        };
        let listed = self.sites.iter().filter_map(|site| fs::read_dir(&site.parent).ok()).flatten();
        let mut found: Vec<_> = listed.flatten().map(|entry| entry.path()).chain(named).collect();
        found.retain(|path| is_ours(path) && path.is_dir());
        found.sort();
        found.dedup();
        found
    }
}

fn text(error: io::Error) -> String {
    error.to_string()
}

/// What is to be said of a limit that may leave swap out, or could not be set.
fn memory_condition(leaves_swap: Result<bool, String>) -> Option<Condition> {
    let (reason, message) = match leaves_swap {
        Ok(false) => return None,
        Ok(true) => ("SwapNotCounted", "what is swapped out is not limited: this kernel does not count it".to_owned()),
        Err(why) => (NO_CGROUP, format!("its memory is not limited: {why}")),
    };
    Some(Condition::unmet(MEMORY, reason, message))
}

impl Group {
    pub(super) fn dirs(&self) -> Vec<PathBuf> {
        self.confinement.places.iter().map(|place| place.inside.clone()).collect()
    }
}

/// Kills all in these cgroups, however it hides, until there is nobody.
pub(super) async fn empty(cgroups: &[PathBuf]) {
    let mut pause = PAUSE;
    while cgroups.iter().map(|cgroup| strike(cgroup)).sum::<usize>() > 0 {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One pass over a cgroup and those below it; returns how many there were.
fn strike(cgroup: &Path) -> usize {
    let found = confine::procs(cgroup).unwrap_or_default();
    // The kernel kills all at once, where it can.
    if !found.is_empty() && confine::write(cgroup, "cgroup.kill", "1").is_err() {
        found.iter().for_each(|pid| process::send(*pid, Signal::SIGKILL));
    }
    found.len() + children(cgroup).iter().map(|child| strike(child)).sum::<usize>()
}

/// Removes cgroups in which nobody is. What cannot be removed now is tried again at the next start.
pub(super) async fn remove(cgroups: Vec<PathBuf>) {
    let removing = tokio::task::spawn_blocking(move || {
        for cgroup in cgroups {
            if let Err(error) = remove_tree(&cgroup) {
                tracing::warn!(%error, cgroup = %cgroup.display(), "a run's cgroup could not be removed");
            }
        }
    });
    if let Err(error) = removing.await {
        tracing::warn!(%error, "a run's cgroup could not be removed");
    }
}

/// A command may have made cgroups of its own in there.
fn remove_tree(cgroup: &Path) -> io::Result<()> {
    children(cgroup).iter().try_for_each(|child| remove_tree(child))?;
    match fs::remove_dir(cgroup) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Without what one of this name has counted before.
fn make_anew(cgroup: &Path) -> io::Result<()> {
    remove_tree(cgroup)?;
    fs::create_dir(cgroup)
}

fn kills_file(kind: Kind) -> &'static str {
    if kind == Kind::Unified { "memory.events" } else { "memory.oom_control" }
}

/// True if what is swapped out counts as well.
fn limit_memory(kind: Kind, cgroup: &Path, limit: Bytes) -> io::Result<bool> {
    let bytes = limit.get().to_string();
    if kind == Kind::Unified {
        confine::write(cgroup, "memory.max", &bytes)?;
        // What belongs together ends together. A kernel that does not know of it kills what is largest.
        let _ = confine::write(cgroup, "memory.oom.group", "1");
        Ok(confine::write(cgroup, "memory.swap.max", "0").is_ok())
    } else {
        confine::write(cgroup, "memory.limit_in_bytes", &bytes)?;
        Ok(confine::write(cgroup, "memory.memsw.limit_in_bytes", &bytes).is_ok())
    }
}

/// One core weighs as much as a cgroup of which nothing was said.
fn weigh(kind: Kind, cgroup: &Path, cpu: CpuMillis) -> io::Result<()> {
    if kind == Kind::Unified {
        confine::write(cgroup, "cpu.weight", &(cpu.get() / 10).clamp(1, 10_000).to_string())
    } else {
        confine::write(cgroup, "cpu.shares", &(cpu.get() * 1024 / 1000).clamp(2, 262_144).to_string())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
