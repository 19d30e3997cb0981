use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::*;

fn a_directory(files: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    directory
}

fn packed(root: &Path) -> Result<Vec<u8>, PackError> {
    let mut bytes = Vec::new();
    pack(root, &mut bytes).map(|()| bytes)
}

fn listing(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        format!("{:o} {}", header.mode().unwrap(), entry.path().unwrap().display())
    });
    entries.collect()
}

#[test]
fn files_are_sorted_and_keep_only_their_executable_bit() {
    let directory = a_directory(&["b/run.sh", "a.txt"]);
    fs::set_permissions(directory.path().join("b/run.sh"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(directory.path().join("a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(listing(&packed(directory.path()).unwrap()), ["644 a.txt", "755 b", "755 b/run.sh"]);
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let files = ["x/1", "x/2", "y", "z.bin"];
    let one = a_directory(&files);
    let other = a_directory(&files.map(|file| file).into_iter().rev().collect::<Vec<_>>());
    assert_eq!(packed(one.path()).unwrap(), packed(other.path()).unwrap());
}

#[test]
fn what_is_ignored_stays_at_home() {
    let directory = a_directory(&[
        ".git/config",
        ".hidden",
        "keep.log",
        "manifest.yml",
        "noise.log",
        "secret.txt",
        "sub/.DS_Store",
        "sub/manifest.yml",
        "sub/noise.log",
        "sub/tmp/x",
    ]);
    fs::write(directory.path().join(".gitignore"), "*.log\n!keep.log\n").unwrap();
    fs::write(directory.path().join(".cfignore"), "secret.txt\n").unwrap();
    fs::write(directory.path().join("sub/.gitignore"), "tmp/\n").unwrap();
    assert_eq!(
        listing(&packed(directory.path()).unwrap()),
        ["644 .hidden", "644 keep.log", "755 sub", "644 sub/manifest.yml"]
    );
}

#[test]
fn cfignore_may_take_back_what_gitignore_leaves_out() {
    let directory = a_directory(&["built.bin", "a"]);
    fs::write(directory.path().join(".gitignore"), "*.bin\n").unwrap();
    fs::write(directory.path().join(".cfignore"), "!built.bin\n").unwrap();
    assert_eq!(listing(&packed(directory.path()).unwrap()), ["644 a", "644 built.bin"]);
}

#[test]
fn links_that_stay_inside_are_kept() {
    let directory = a_directory(&["data/a", "bin/run"]);
    symlink("../data/a", directory.path().join("bin/link")).unwrap();
    symlink("not-there", directory.path().join("dangling")).unwrap();
    let bytes = packed(directory.path()).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
    let link = archive.entries().unwrap().map(Result::unwrap).find(|e| e.path().unwrap().ends_with("link")).unwrap();
    assert_eq!(link.link_name().unwrap().unwrap(), Path::new("../data/a"));
}

#[test]
fn links_that_lead_out_are_refused_by_name() {
    for target in ["/etc/passwd", "../x", "sub/../../x"] {
        let directory = a_directory(&["sub/a"]);
        symlink(target, directory.path().join("link")).unwrap();
        let error = packed(directory.path()).unwrap_err();
        assert!(matches!(&error, PackError::Escapes(path, _) if path.ends_with("link")), "{target}: {error}");
    }
}

#[test]
fn a_link_that_leads_out_through_another_link_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("outside")).unwrap();
    fs::create_dir_all(directory.path().join("root/a/b")).unwrap();
    // Counted by its parts it stays inside; followed, `up` takes it one level too far.
    symlink("../..", directory.path().join("root/a/b/up")).unwrap();
    symlink("a/b/up/../outside", directory.path().join("root/link")).unwrap();
    let error = packed(&directory.path().join("root")).unwrap_err();
    assert!(matches!(error, PackError::Escapes(..)), "{error}");
}

#[test]
fn special_files_are_refused() {
    let directory = a_directory(&["a"]);
    let _listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    assert!(matches!(packed(directory.path()), Err(PackError::Special(path)) if path.ends_with("socket")));
}

#[test]
fn an_empty_directory_is_refused() {
    let directory = a_directory(&["manifest.yml"]);
    fs::create_dir(directory.path().join("nothing")).unwrap();
    assert!(matches!(packed(directory.path()), Err(PackError::Empty(_))));
}

#[test]
fn a_file_must_be_an_archive_and_is_sent_as_it_is() {
    let directory = a_directory(&["a.zip", "a.tar", "src/a"]);
    for name in ["a.zip", "a.tar"] {
        let refused = Archive::from_path(&directory.path().join(name));
        assert!(matches!(refused, Err(PackError::NotAnArchive(_))), "{name}");
    }
    let bytes = packed(&directory.path().join("src")).unwrap();
    let path = directory.path().join("app.tgz");
    fs::write(&path, &bytes).unwrap();
    let archive = Archive::from_path(&path).unwrap();
    assert_eq!((archive.size, &archive.path), (bytes.len() as u64, &path));
    assert_eq!(archive.sha256, hex::encode(Sha256::digest(&bytes)));
}

#[test]
fn the_sum_is_that_of_the_packed_bytes() {
    let directory = a_directory(&["a"]);
    let archive = Archive::from_path(directory.path()).unwrap();
    let bytes = fs::read(&archive.path).unwrap();
    assert_eq!((archive.size, archive.sha256), (bytes.len() as u64, hex::encode(Sha256::digest(&bytes))));
}
