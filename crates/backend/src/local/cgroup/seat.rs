//! Where this process sits among the machine's cgroups, and where those of its runs can be made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::confine::{self, procs};

const CONTROLLERS: &str = "cgroup.controllers";
const SUBTREE: &str = "cgroup.subtree_control";

/// The hierarchies that matter here: the one of version 2, or two of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unified,
    Memory,
    Cpu,
}

/// This process's own cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) kind: Kind,
    pub(super) own: PathBuf,
    /// Where the hierarchy begins, as this process sees it.
    pub(super) top: PathBuf,
}

/// A seat from which cgroups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) kind: Kind,
    /// The cgroups of runs are made in this one.
    pub(super) parent: PathBuf,
    /// This process, and each shim, is in this one.
    pub(super) home: PathBuf,
}

/// Reads what `/proc/self/cgroup` and `/proc/self/mountinfo` say.
pub(super) fn seats(memberships: &str, mounts: &str) -> Vec<Seat> {
    memberships.lines().filter_map(|line| seat(line, mounts)).collect()
}

fn seat(membership: &str, mounts: &str) -> Option<Seat> {
    let mut parts = membership.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let named = |name: &str| controllers.split(',').any(|controller| controller == name);
    let (kind, controller) = match () {
        () if controllers.is_empty() => (Kind::Unified, None),
        () if named("memory") => (Kind::Memory, Some("memory")),
        () if named("cpu") => (Kind::Cpu, Some("cpu")),
        () => return None,
    };
    let (root, top) = mounts.lines().find_map(|line| mount(line, controller))?;
    // A mount may begin further down than the path does, as in a container.
    let below = Path::new(path).strip_prefix(root).ok()?;
    let is_outside = below.components().any(|part| part == std::path::Component::ParentDir);
    (!is_outside).then(|| Seat { kind, own: top.join(below), top: top.to_owned() })
}

/// Which part of a hierarchy is mounted where, if this line tells of the one with that controller.
fn mount<'a>(line: &'a str, controller: Option<&str>) -> Option<(&'a Path, &'a Path)> {
    let (fields, rest) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(3);
    let (root, top) = (fields.next()?, fields.next()?);
    let mut rest = rest.split(' ');
    let (kind, options) = (rest.next()?, rest.nth(1)?);
    let fits = match controller {
        None => kind == "cgroup2",
        Some(controller) => kind == "cgroup" && options.split(',').any(|option| option == controller),
    };
    fits.then(|| (Path::new(root), Path::new(top)))
}

impl Seat {
    /// Whether version 2 limits memory here; it does not where version 1 has that controller.
    pub(super) fn has_memory(&self) -> bool {
        self.kind == Kind::Unified && lists(&self.own, CONTROLLERS, "memory")
    }

    /// Where the cgroups of runs can be made. In version 2 those who have processes have no children with limits, so either
    /// this process has its cgroup for itself and moves into a part of it, called `name`, or they are made beside it.
    pub(super) fn site(&self, name: &str) -> io::Result<Site> {
        let Self { kind, own, top } = self;
        let site = |parent: &Path, home: &Path| Site { kind: *kind, parent: parent.to_owned(), home: home.to_owned() };
        if *kind != Kind::Unified || lists(own, SUBTREE, "memory") {
            return Ok(site(own, own));
        }
        let me = std::process::id();
        if procs(own)? == [me.cast_signed()] {
            let home = own.join(name);
            make_dir(&home)?;
            confine::write(&home, "cgroup.procs", &me.to_string())?;
            match share(own) {
                Ok(()) => return Ok(site(own, &home)),
                Err(error) => {
                    confine::write(own, "cgroup.procs", &me.to_string())?;
                    fs::remove_dir(&home)?;
                    tracing::debug!(%error, "a cgroup's controllers cannot be handed down");
                }
            }
        }
        match own.parent().filter(|_| own != top) {
            Some(parent) if lists(parent, SUBTREE, "memory") => Ok(site(parent, own)),
            _ => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "other processes share this server's cgroup, which has no other above it: give it one of its own",
            )),
        }
    }
}

/// Lets a cgroup's children have limits. CPU may be missing; its share is then not given.
fn share(cgroup: &Path) -> io::Result<()> {
    confine::write(cgroup, SUBTREE, "+memory")?;
    if let Err(error) = confine::write(cgroup, SUBTREE, "+cpu") {
        tracing::debug!(%error, "a cgroup's share of the CPU cannot be handed down");
    }
    Ok(())
}

fn lists(cgroup: &Path, file: &str, controller: &str) -> bool {
    let list = fs::read_to_string(cgroup.join(file)).unwrap_or_default();
    list.split_ascii_whitespace().any(|name| name == controller)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 20 0:22 / /sys/fs/cgroup rw shared:1 - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/unified rw shared:2 - cgroup2 cgroup2 rw
27 25 0:24 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory
28 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
";

    fn seat(kind: Kind, own: &str, top: &str) -> Seat {
        Seat { kind, own: own.into(), top: top.into() }
    }

    #[test]
    fn a_process_sits_in_each_hierarchy() {
        assert_eq!(
            seats("9:name=systemd:/\n4:memory:/some/where\n3:cpuset:/\n1:cpu,cpuacct:/\n0::/unit\n", HYBRID),
            [
                seat(Kind::Memory, "/sys/fs/cgroup/memory/some/where", "/sys/fs/cgroup/memory"),
                seat(Kind::Cpu, "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
                seat(Kind::Unified, "/sys/fs/cgroup/unified/unit", "/sys/fs/cgroup/unified"),
            ]
        );
    }

    #[test]
    fn a_container_sees_the_part_that_is_mounted() {
        let mounts = "26 25 0:23 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let top = "/sys/fs/cgroup";
        assert_eq!(seats("0::/docker/abc", mounts), [seat(Kind::Unified, "/sys/fs/cgroup", top)]);
        assert_eq!(seats("0::/docker/abc/init", mounts), [seat(Kind::Unified, "/sys/fs/cgroup/init", top)]);
        for outside in ["0::/docker/other", "0::/../other", "4:memory:/", "", "nonsense"] {
            assert_eq!(seats(outside, mounts), [], "{outside}");
        }
        assert_eq!(seats("0::/../other", "26 25 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"), []);
    }

    /// A directory with the files of a cgroup of version 2.
    fn unified(dir: &Path, procs: &str, subtree: &str) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("cgroup.procs"), procs).unwrap();
        fs::write(dir.join(CONTROLLERS), "cpu io memory pids\n").unwrap();
        fs::write(dir.join(SUBTREE), subtree).unwrap();
    }

    fn site_of(own: &Path, top: &Path) -> io::Result<(PathBuf, PathBuf)> {
        let seat = Seat { kind: Kind::Unified, own: own.to_owned(), top: top.to_owned() };
        assert!(seat.has_memory());
        seat.site("server").map(|site| (site.parent, site.home))
    }

    #[test]
    fn version_2_takes_its_own_cgroup_where_that_may_have_children_and_else_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let (top, own) = (dir.path(), dir.path().join("unit"));
        unified(top, "1\n", "cpu memory\n");
        unified(&own, "1\n2\n", "");
        assert_eq!(site_of(&own, top).unwrap(), (top.to_owned(), own.clone()), "it is shared");
        unified(&own, "1\n2\n", "cpu memory\n");
        assert_eq!(site_of(&own, top).unwrap(), (own.clone(), own.clone()), "it hands down already");
        unified(top, "1\n2\n", "");
        let error = site_of(top, top).unwrap_err();
        assert!(error.to_string().contains("give it one of its own"), "{error}");
    }

    #[test]
    fn version_2_moves_into_a_part_of_a_cgroup_that_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (own, me) = (dir.path(), std::process::id().to_string());
        unified(own, &format!("{me}\n"), "");
        unified(&own.join("server"), "", "");
        assert_eq!(site_of(own, own).unwrap(), (own.to_owned(), own.join("server")));
        assert_eq!(fs::read_to_string(own.join("server/cgroup.procs")).unwrap(), me);
        let asked = fs::read_to_string(own.join(SUBTREE)).unwrap();
        assert_eq!(asked, "+cpuory", "both were written, one over the other");
    }
}
