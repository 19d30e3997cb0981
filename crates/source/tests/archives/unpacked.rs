//! What is accepted, and what becomes of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use taskplane_source::{Limits, SourceError, check, unpack};

use crate::build::{Drip, Head, Tar, gzip, judge, record};

fn unpacked(archive: &[u8]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let summary = unpack(archive, root.path(), &Limits::default()).unwrap();
    assert_eq!(summary, judge(archive).unwrap());
    root
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_plain_archive_and_its_gzip_hold_the_same() {
    let tar = Tar::new().directory("bin").file("bin/run.sh", "echo hi\n").file("data/in.csv", "a,b\n").end();
    for archive in [tar.clone(), gzip(&tar)] {
        let root = unpacked(&archive);
        assert_eq!(fs::read_to_string(root.path().join("bin/run.sh")).unwrap(), "echo hi\n");
        assert_eq!(fs::read_to_string(root.path().join("data/in.csv")).unwrap(), "a,b\n");
        let summary = judge(&archive).unwrap();
        assert_eq!(summary.sha256[..], Sha256::digest(&archive)[..]);
        assert_eq!(summary.sha256_hex().len(), 64);
        assert_eq!(summary.size_bytes, archive.len() as u64);
        assert_eq!((summary.entry_count, summary.unpacked_bytes), (3, 12));
    }
}

#[test]
fn every_byte_is_hashed_also_behind_the_end() {
    let tar = Tar::new().file("a", "1").end();
    let padded = [tar.clone(), vec![0; 20_000]].concat();
    let behind_gzip = [gzip(&tar), vec![0; 100_000]].concat();
    for archive in [padded, behind_gzip] {
        let summary = judge(&archive).unwrap();
        assert_eq!(summary.sha256[..], Sha256::digest(&archive)[..]);
        assert_eq!(summary.size_bytes, archive.len() as u64);
    }
}

#[test]
fn a_gzip_of_several_members_is_one_archive() {
    let tar = Tar::new().file("a", &"x".repeat(3000)).file("b", "2").end();
    let archive = [gzip(&tar[..700]), gzip(b""), gzip(&tar[700..])].concat();
    let root = unpacked(&archive);
    assert_eq!(fs::read(root.path().join("a")).unwrap().len(), 3000);
    assert_eq!(judge(&archive).unwrap().sha256[..], Sha256::digest(&archive)[..]);
}

#[test]
fn it_may_come_in_pieces_of_any_size() {
    let archive = gzip(&Tar::new().file("a", &"x".repeat(3000)).file("d/b", "2").end());
    let whole = judge(&archive).unwrap();
    for step in [1, 2, 7, 511, 512, 513, 65_536] {
        assert_eq!(check(Drip::new(&archive, step), &Limits::default()).unwrap(), whole, "{step}");
    }
}

#[test]
fn git_and_gnu_and_pax_ways_of_writing_are_understood() {
    let long = "d/".repeat(100) + "file";
    let tar = Tar::new()
        .extension(b'g', &record("comment", "0123456789abcdef"))
        .directory("./")
        .extension(b'L', format!("{long}-gnu\0").as_bytes())
        .file("cut", "gnu")
        .pax("path", &format!("{long}-pax"))
        .file("cut", "pax")
        .pax("size", "2")
        .file("sized", "ok")
        .pax("mtime", "1700000000.5")
        .file("timed", "")
        .extension(b'K', format!("{long}-gnu\0").as_bytes())
        .symlink("link", "cut")
        .entry(&Head { kind: 0, ..Head::file("old-directory/", 0) }, b"")
        .entry(&Head { kind: 0, ..Head::file("old-file", 2) }, b"ab")
        .entry(&Head { kind: b'7', ..Head::file("contiguous", 1) }, b"c")
        .end();
    let root = unpacked(&tar);
    let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
    assert_eq!(read(&format!("{long}-gnu")), "gnu");
    assert_eq!(read(&format!("{long}-pax")), "pax");
    assert_eq!((read("sized"), read("link"), read("old-file")), ("ok".into(), "gnu".into(), "ab".into()));
    assert!(root.path().join("old-directory").is_dir());
}

#[test]
fn a_ustar_prefix_is_part_of_the_name() {
    let mut header = tar::Header::new_ustar();
    let long = format!("{}/name", "p".repeat(120));
    header.set_path(&long).unwrap();
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    let root = unpacked(&[header.as_bytes().to_vec(), vec![0; 1024]].concat());
    assert!(root.path().join(long).is_file());
}

#[test]
fn modes_are_kept_within_bounds_and_times_are_kept() {
    let file = |name, mode| Head { mode, ..Head::file(name, 0) };
    let tar = Tar::new()
        .entry(&file("run", 0o777), b"")
        .entry(&file("plain", 0o666), b"")
        .entry(&file("secret", 0o600), b"")
        .entry(&file("locked", 0o000), b"")
        .entry(&file("sticky", 0o1644), b"")
        .entry(&Head { kind: b'5', ..file("shared", 0o3777) }, b"")
        .file("implied/x", "")
        .entry(&Head { kind: b'5', ..file("implied", 0o700) }, b"")
        .end();
    let root = unpacked(&tar);
    let modes =
        ["run", "plain", "secret", "locked", "sticky", "shared", "implied"].map(|name| mode(&root.path().join(name)));
    assert_eq!(modes, [0o755, 0o644, 0o600, 0o600, 0o644, 0o755, 0o700]);
    let modified = fs::metadata(root.path().join("run")).unwrap().modified().unwrap();
    assert_eq!(modified, UNIX_EPOCH + Duration::from_secs(1_000_000_000));
}

#[test]
fn links_that_stay_inside_are_kept() {
    let tar = Tar::new()
        .file("lib/tool", "tool")
        .symlink("bin/tool", "../lib/./tool")
        .symlink("root", ".")
        .symlink("lib/up", "..")
        .symlink("dangling", "not/there")
        .hard_link("copy", "./lib/tool")
        .hard_link("copy-of-copy", "copy")
        .end();
    let root = unpacked(&tar);
    assert_eq!(fs::read_to_string(root.path().join("bin/tool")).unwrap(), "tool");
    assert_eq!(fs::read_link(root.path().join("dangling")).unwrap(), Path::new("not/there"));
    assert_eq!(fs::read_to_string(root.path().join("copy-of-copy")).unwrap(), "tool");
    assert_eq!(fs::metadata(root.path().join("copy")).unwrap().nlink(), 3);
    assert_eq!(judge(&tar).unwrap().unpacked_bytes, 12, "hard links count as copies");
}

#[test]
fn only_an_empty_directory_is_unpacked_into() {
    let root = tempfile::tempdir().unwrap();
    let archive = Tar::new().file("a", "1").end();
    unpack(&archive[..], root.path(), &Limits::default()).unwrap();
    let again = unpack(&archive[..], root.path(), &Limits::default());
    assert!(matches!(again, Err(SourceError::NotEmpty(_))), "{again:?}");
    let nowhere = unpack(&archive[..], &root.path().join("nowhere"), &Limits::default());
    assert!(matches!(nowhere, Err(SourceError::Write { .. })), "{nowhere:?}");
}

#[test]
fn what_the_tar_library_writes_is_accepted() {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir_all(source.path().join("a/b")).unwrap();
    fs::write(source.path().join("a/b/c"), "c").unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", source.path()).unwrap();
    let root = unpacked(&gzip(&builder.into_inner().unwrap()));
    assert_eq!(fs::read_to_string(root.path().join("a/b/c")).unwrap(), "c");
}
