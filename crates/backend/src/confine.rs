//! The cgroups that a run is confined to, as its shim uses them: the command is started inside, the shim stays outside.
//!
//! A shim that were inside would be killed along with what it watches over, and nobody would tell of the end. So it goes in
//! for the moment in which it starts the command, which hence is inside from its first instruction, and comes out again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const PROCS: &str = "cgroup.procs";

/// Empty where runs are not confined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Confinement {
    /// One for each hierarchy.
    pub(crate) places: Vec<Place>,
    /// Where the kernel counts what it killed for memory.
    pub(crate) kills: Option<PathBuf>,
}

/// A cgroup's directory, and the one that the shim is at home in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) inside: PathBuf,
    pub(crate) home: PathBuf,
}

impl Confinement {
    /// What `start` starts is inside.
    pub(crate) fn around<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let entered = self.places.iter().try_for_each(|place| {
            enter(&place.inside)
                .map_err(|error| io::Error::new(error.kind(), format!("its cgroup could not be entered: {error}")))
        });
        let started = entered.and_then(|()| start());
        // A shim that cannot get out stays where it is: it works as well there, unless the kernel kills all there is.
        self.places.iter().for_each(|place| drop(enter(&place.home)));
        started
    }

    /// At the end, when nobody is inside. The backend does it where this cannot: below it there may be others.
    pub(crate) fn dissolve(&self) {
        self.places.iter().for_each(|place| drop(fs::remove_dir(&place.inside)));
    }

    /// How many processes of the run the kernel has killed for memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let counts = self.kills.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        counts.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }
}

/// Moves this process, and with it what it starts from now on.
fn enter(cgroup: &Path) -> io::Result<()> {
    write(cgroup, PROCS, "0")
}

/// Writes to a file of a cgroup, which is never made by that.
pub(crate) fn write(cgroup: &Path, file: &str, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).open(cgroup.join(file))?;
    file.write_all(text.as_bytes())
}

/// The processes in a cgroup.
pub(crate) fn procs(cgroup: &Path) -> io::Result<Vec<i32>> {
    let list = fs::read_to_string(cgroup.join(PROCS))?;
    Ok(list.lines().filter_map(|pid| pid.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(dir: &Path, name: &str) -> PathBuf {
        let cgroup = dir.join(name);
        fs::create_dir(&cgroup).unwrap();
        fs::write(cgroup.join(PROCS), "").unwrap();
        cgroup
    }

    #[test]
    fn what_is_started_is_started_inside_and_the_starter_comes_out_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { inside: cgroup(dir.path(), "inside"), home: cgroup(dir.path(), "home") };
        let written = |cgroup: &Path| fs::read_to_string(cgroup.join(PROCS)).unwrap();
        let confinement = Confinement { places: vec![place.clone()], kills: None };
        let seen = confinement.around(|| Ok((written(&place.inside), written(&place.home)))).unwrap();
        assert_eq!(seen, ("0".into(), String::new()));
        assert_eq!(written(&place.home), "0");
    }

    #[test]
    fn nothing_is_started_outside_of_a_cgroup_that_cannot_be_entered() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { inside: dir.path().join("gone"), home: cgroup(dir.path(), "home") };
        let started: io::Result<()> =
            Confinement { places: vec![place], kills: None }.around(|| panic!("it was started"));
        assert!(started.unwrap_err().to_string().starts_with("its cgroup could not be entered"));
    }

    #[test]
    fn kills_are_counted_in_the_files_of_either_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts");
        let confinement = Confinement { places: Vec::new(), kills: Some(path.clone()) };
        assert_eq!(confinement.oom_kills(), 0);
        for (text, count) in [
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", 2),
            ("low 0\nhigh 0\nmax 7\noom 1\noom_kill 3\noom_group_kill 1\n", 3),
            ("oom_kill_disable 0\nunder_oom 0\n", 0),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(confinement.oom_kills(), count, "{text}");
        }
    }
}
