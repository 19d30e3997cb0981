use std::collections::BTreeMap;

use super::*;
use taskplane_domain::uid::TaskUid;
use uuid::Uuid;

fn resources(memory: Option<&str>, cpu: Option<&str>) -> Resources {
    let memory = memory.map(|text| text.parse().unwrap());
    Resources { memory, disk: None, cpu: cpu.map(|text| text.parse().unwrap()) }
}

/// Empty files, as a new cgroup has them.
fn cgroup(dir: &Path, files: &[&str]) {
    files.iter().for_each(|file| fs::write(dir.join(file), "").unwrap());
}

fn written(dir: &Path) -> BTreeMap<String, String> {
    let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()));
    let all = fs::read_dir(dir).unwrap().map(|entry| read(entry.unwrap()));
    all.map(|(name, text)| (name, text.unwrap())).filter(|(_, text)| !text.is_empty()).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn version_2_limits_memory_without_swap_and_ends_all_together() {
    let dir = tempfile::tempdir().unwrap();
    cgroup(dir.path(), &["memory.max", "memory.oom.group"]);
    assert!(!limit_memory(Kind::Unified, dir.path(), "64Mi".parse().unwrap()).unwrap(), "swap is not counted");
    cgroup(dir.path(), &["memory.swap.max", "cpu.weight"]);
    assert!(limit_memory(Kind::Unified, dir.path(), "64Mi".parse().unwrap()).unwrap());
    weigh(Kind::Unified, dir.path(), "1.5".parse().unwrap()).unwrap();
    let all = [("memory.max", "67108864"), ("memory.oom.group", "1"), ("memory.swap.max", "0"), ("cpu.weight", "150")];
    assert_eq!(written(dir.path()), map(&all));
    assert_eq!(kills_file(Kind::Unified), "memory.events");
}

#[test]
fn version_1_limits_memory_and_then_memory_with_swap() {
    let dir = tempfile::tempdir().unwrap();
    cgroup(dir.path(), &["memory.limit_in_bytes"]);
    assert!(!limit_memory(Kind::Memory, dir.path(), "64Mi".parse().unwrap()).unwrap(), "swap is not counted");
    cgroup(dir.path(), &["memory.memsw.limit_in_bytes", "cpu.shares"]);
    assert!(limit_memory(Kind::Memory, dir.path(), "64Mi".parse().unwrap()).unwrap());
    weigh(Kind::Cpu, dir.path(), "1.5".parse().unwrap()).unwrap();
    let all =
        [("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "67108864"), ("cpu.shares", "1536")];
    assert_eq!(written(dir.path()), map(&all));
}

#[test]
fn one_core_weighs_as_much_as_what_said_nothing_and_all_weights_are_in_bounds() {
    let dir = tempfile::tempdir().unwrap();
    for (cpu, weight, shares) in
        [("1", "100", "1024"), ("500m", "50", "512"), ("1m", "1", "2"), ("1024", "10000", "262144")]
    {
        cgroup(dir.path(), &["cpu.weight", "cpu.shares"]);
        weigh(Kind::Unified, dir.path(), cpu.parse().unwrap()).unwrap();
        weigh(Kind::Cpu, dir.path(), cpu.parse().unwrap()).unwrap();
        assert_eq!(written(dir.path()), map(&[("cpu.weight", weight), ("cpu.shares", shares)]), "{cpu}");
    }
}

fn none(has_swap: bool) -> Cgroups {
    Cgroups::among(Vec::new(), "house", has_swap)
}

fn reasons(group: &Group) -> Vec<(&str, &str)> {
    group.conditions.iter().map(|condition| (condition.kind.as_str(), condition.reason.as_str())).collect()
}

#[test]
fn a_machine_without_cgroups_says_so_of_what_was_asked_for_and_of_nothing_else() {
    let key = RunKey { task: TaskUid(Uuid::nil()), attempt: 1 };
    let make = |memory, cpu| none(true).make(key, &resources(memory, cpu));
    assert_eq!(reasons(&make(None, None)), []);
    assert_eq!(reasons(&make(Some("64Mi"), None)), [("MemoryLimitEnforced", "NoCgroup")]);
    let both = make(Some("64Mi"), Some("1"));
    assert_eq!(reasons(&both), [("MemoryLimitEnforced", "NoCgroup"), ("CpuEnforced", "NoCgroup")]);
    assert_eq!(both.conditions[0].message, "its memory is not limited: this machine offers no cgroups for memory");
    assert_eq!(both.confinement, Confinement::default());
    Condition::check(&both.conditions).unwrap();
}

#[test]
fn where_no_cgroup_can_be_made_the_reason_is_told() {
    let seat = Seat { kind: Kind::Memory, own: "/proc/none".into(), top: "/proc".into() };
    let cgroups = Cgroups::among(vec![seat], "house", false);
    assert!(cgroups.sites.is_empty());
    assert!(cgroups.missing.starts_with("a cgroup cannot be made here (") && cgroups.missing.ends_with("as root"));
}

#[test]
fn only_this_houses_cgroups_are_ours() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site { kind: Kind::Memory, parent: dir.path().to_owned(), home: dir.path().to_owned() };
    let cgroups = Cgroups { sites: vec![site], ..none(false) };
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["taskplane-house.t-1-1", "taskplane-house2.t-1-1", "taskplane-house", "other"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::create_dir(elsewhere.path().join(name)).unwrap();
    }
    let named = vec![elsewhere.path().join("taskplane-house.t-1-1"), elsewhere.path().join("other"), "/proc".into()];
    let mut expected = [dir.path().join("taskplane-house.t-1-1"), elsewhere.path().join("taskplane-house.t-1-1")];
    expected.sort();
    assert_eq!(cgroups.left_behind(named), expected);
}

#[test]
fn all_in_a_cgroup_and_below_are_killed_until_there_is_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("below");
    fs::create_dir(&below).unwrap();
    let mut children: Vec<_> =
        (0..2).map(|_| std::process::Command::new("sleep").arg("1000").spawn().unwrap()).collect();
    fs::write(dir.path().join("cgroup.procs"), format!("{}\n", children[0].id())).unwrap();
    fs::write(below.join("cgroup.procs"), format!("{}\n", children[1].id())).unwrap();
    assert_eq!(strike(dir.path()), 2);
    for child in &mut children {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
    // Version 2 has the kernel do it.
    fs::write(below.join("cgroup.kill"), "").unwrap();
    fs::write(dir.path().join("cgroup.procs"), "").unwrap();
    assert_eq!(strike(dir.path()), 1);
    assert_eq!(fs::read_to_string(below.join("cgroup.kill")).unwrap(), "1");
}
