//! Whatever the bytes: no panic, one verdict, nothing outside the root.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use taskplane_source::{Limits, SourceError, check, unpack};

use crate::build::{Head, Tar, gzip};

fn small() -> Limits {
    Limits { max_archive_bytes: 1 << 20, max_unpacked_bytes: 1 << 20, max_entries: 12, ..Limits::default() }
}

/// Judged and unpacked alike; whatever was written lies inside the root, and links lead nowhere else.
fn hold(archive: &[u8]) {
    let judged = check(archive, &small());
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("x"), "untouched").unwrap();
    match (judged, unpack(archive, &root, &small())) {
        (Ok(judged), Ok(unpacked)) => assert_eq!(judged, unpacked),
        (Err(SourceError::Refused(judged)), Err(SourceError::Refused(unpacked))) => assert_eq!(judged, unpacked),
        (judged, unpacked) => panic!("{judged:?}, but unpacked {unpacked:?}"),
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
    assert_eq!(fs::read_to_string(outside.path().join("x")).unwrap(), "untouched");
    inside(&root, &root.canonicalize().unwrap());
}

fn inside(directory: &Path, root: &PathBuf) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            inside(&path, root);
        } else if let Ok(target) = path.canonicalize() {
            assert!(target.starts_with(root), "{} leads to {}", path.display(), target.display());
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "A", "..", ".", "", "root", "x"]);
    prop_oneof![
        9 => prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 1..4).prop_map(|parts| parts.join("/")),
        3 => prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/")),
        1 => prop::collection::vec(any::<char>(), 1..20).prop_map(String::from_iter),
    ]
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => name(),
        2 => (0_usize..4, name()).prop_map(|(climbs, name)| "../".repeat(climbs) + &name),
        1 => Just("/etc/passwd".to_owned()),
    ]
}

fn tar() -> impl Strategy<Value = Tar> {
    let kind = prop_oneof![
        12 => prop::sample::select(b"0051122".to_vec()),
        1 => any::<u8>(),
    ];
    let extension = prop_oneof![
        8 => Just(None),
        1 => name().prop_map(|name| Some((b'L', name.into_bytes()))),
        1 => (prop::sample::select(vec!["path", "linkpath", "size", "comment"]), name())
            .prop_map(|(key, value)| Some((b'x', crate::build::record(key, &value)))),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| Some((b'x', bytes))),
    ];
    let data = prop::collection::vec(any::<u8>(), 0..600);
    let entry = (extension, kind, name(), target(), data, prop_oneof![9 => Just(0o644), 1 => 0_u32..0o7777]);
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        entries.into_iter().fold(Tar::new(), |tar, (extension, kind, name, link, data, mode)| {
            let tar = extension.map_or(tar.clone(), |(kind, text)| tar.extension(kind, &text));
            let data = if kind == b'0' { &data[..] } else { b"" };
            let name = &name.as_bytes()[..name.len().min(100)];
            let link = &link.as_bytes()[..link.len().min(100)];
            tar.entry(&Head { name, kind, size: data.len() as u64, mode, link }, data)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        hold(&bytes);
        hold(&gzip(&bytes));
        hold(&[&b"\x1f\x8b\x08\0"[..], &bytes].concat());
    }

    #[test]
    fn arbitrary_entries_never_leave_the_root(tar in tar(), zipped in any::<bool>()) {
        let archive = tar.end();
        hold(&if zipped { gzip(&archive) } else { archive });
    }

    #[test]
    fn damaged_archives_are_judged_as_they_are_unpacked(
        tar in tar(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        zipped in any::<bool>(),
    ) {
        let mut archive = tar.end();
        if zipped {
            archive = gzip(&archive);
        }
        hold(&archive[..cut.index(archive.len() + 1)]);
        for (place, byte) in damage {
            let place = place.index(archive.len());
            archive[place] = byte;
        }
        hold(&archive);
    }
}

#[test]
fn the_generator_also_makes_archives_that_are_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let archives = (0..200).map(|_| tar().new_tree(&mut runner).unwrap().current().end());
    let accepted = archives.filter(|archive| check(&archive[..], &small()).is_ok()).count();
    assert!(accepted > 20, "only {accepted} of 200 archives were accepted: the generator tells little");
}
