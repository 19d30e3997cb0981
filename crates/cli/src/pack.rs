//! Packs a directory as it will be pushed: the same files give the same bytes, and nothing points outside.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use ignore::WalkBuilder;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

/// Never pushed, wherever they are.
const NEVER: [&str; 8] = [".git", ".hg", ".svn", "_darcs", ".DS_Store", ".cfignore", ".gitignore", ".gitmodules"];
/// Not pushed at the top, where they tell the push what to do.
const NOT_AT_THE_TOP: [&str; 2] = ["manifest.yml", "manifest.yaml"];

/// Why a directory or file cannot be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    #[error("cannot read the files to push: {0}")]
    Walk(ignore::Error),
    #[error("there is nothing to push in {}", .0.display())]
    Empty(PathBuf),
    #[error("cannot push {}: it points out of the pushed directory, to {}", .0.display(), .1.display())]
    Escapes(PathBuf, PathBuf),
    #[error("cannot push {}: it is neither a file, a directory nor a link", .0.display())]
    Special(PathBuf),
    #[error("cannot push {}: it changed while it was read", .0.display())]
    Changed(PathBuf),
    #[error("cannot push {}: it is neither a directory nor a tar or tar.gz file", .0.display())]
    NotAnArchive(PathBuf),
    #[error("cannot write the archive: {0}")]
    Write(#[source] io::Error),
}

/// An archive on disk, ready to be sent.
#[derive(Debug)]
pub struct Archive {
    pub path: PathBuf,
    /// Hex.
    pub sha256: String,
    pub size: u64,
    /// Keeps the file that was made for the push, and removes it in the end.
    _made: Option<NamedTempFile>,
}

impl Archive {
    /// From a directory, which is packed, or from an archive file, which goes as it is.
    pub fn from_path(path: &Path) -> Result<Self, PackError> {
        let unreadable = |error| PackError::Unreadable(path.to_path_buf(), error);
        let kind = fs::metadata(path).map_err(unreadable)?;
        if kind.is_file() {
            return Self::from_file(path);
        }
        if !kind.is_dir() {
            return Err(PackError::NotAnArchive(path.to_path_buf()));
        }
        let mut file = NamedTempFile::new().map_err(PackError::Write)?;
        let mut sink = Counting::new(file.as_file_mut());
        pack(path, &mut sink)?;
        let (sha256, size) = sink.finish();
        Ok(Self { path: file.path().to_path_buf(), sha256, size, _made: Some(file) })
    }

    fn from_file(path: &Path) -> Result<Self, PackError> {
        let unreadable = |error| PackError::Unreadable(path.to_path_buf(), error);
        let mut file = File::open(path).map_err(unreadable)?;
        let mut head = Vec::with_capacity(512);
        Read::by_ref(&mut file).take(512).read_to_end(&mut head).map_err(unreadable)?;
        let gzip = head.starts_with(&[0x1f, 0x8b]);
        // The magic of ustar and GNU tar; older archives have none and are known by their name.
        let tar =
            head.get(257..262) == Some(b"ustar") || (head.len() == 512 && path.extension() == Some("tar".as_ref()));
        if !(gzip || tar) {
            return Err(PackError::NotAnArchive(path.to_path_buf()));
        }
        let mut sink = Counting::new(io::sink());
        sink.write_all(&head).and_then(|()| io::copy(&mut file, &mut sink)).map_err(unreadable)?;
        let (sha256, size) = sink.finish();
        Ok(Self { path: path.to_path_buf(), sha256, size, _made: None })
    }
}

/// Writes `root` as tar.gz. Order, owners, times and modes do not depend on this machine.
pub fn pack(root: &Path, sink: &mut impl Write) -> Result<(), PackError> {
    let entries = entries(root)?;
    let real_root = fs::canonicalize(root).map_err(|error| PackError::Unreadable(root.to_path_buf(), error))?;
    let mut builder = Builder::new(GzEncoder::new(sink, Compression::default()));
    let mut something = false;
    for entry in &entries {
        let path = root.join(entry);
        let unreadable = |error| PackError::Unreadable(path.clone(), error);
        let kind = fs::symlink_metadata(&path).map_err(unreadable)?;
        if kind.is_dir() {
            let mut header = header(EntryType::Directory, 0o755, 0);
            builder.append_data(&mut header, entry, io::empty()).map_err(PackError::Write)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(unreadable)?;
            if leaves(entry, &target) || fs::canonicalize(&path).is_ok_and(|real| !real.starts_with(&real_root)) {
                return Err(PackError::Escapes(path, target));
            }
            let mut header = header(EntryType::Symlink, 0o777, 0);
            builder.append_link(&mut header, entry, &target).map_err(PackError::Write)?;
            something = true;
        } else if kind.is_file() {
            append_file(&mut builder, entry, &path)?;
            something = true;
        } else {
            return Err(PackError::Special(path));
        }
    }
    if !something {
        return Err(PackError::Empty(root.to_path_buf()));
    }
    builder.into_inner().and_then(GzEncoder::finish).map_err(PackError::Write)?;
    Ok(())
}

fn append_file(builder: &mut Builder<impl Write>, entry: &Path, path: &Path) -> Result<(), PackError> {
    let unreadable = |error| PackError::Unreadable(path.to_path_buf(), error);
    let file = File::open(path).map_err(unreadable)?;
    let kind = file.metadata().map_err(unreadable)?;
    let executable = kind.permissions().mode() & 0o111 != 0;
    let mut header = header(EntryType::Regular, if executable { 0o755 } else { 0o644 }, kind.len());
    let mut content = Exactly { file: file.take(kind.len()), missing: kind.len() };
    builder.append_data(&mut header, entry, &mut content).map_err(PackError::Write)?;
    // A file that became shorter would shift everything behind it.
    if content.missing == 0 { Ok(()) } else { Err(PackError::Changed(path.to_path_buf())) }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// What is pushed, relative to `root` and sorted.
fn entries(root: &Path) -> Result<Vec<PathBuf>, PackError> {
    let walk = WalkBuilder::new(root)
        .standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .add_custom_ignore_filename(".cfignore")
        .follow_links(false)
        .filter_entry(|entry| {
            let name = entry.file_name().to_str().unwrap_or_default();
            match entry.depth() {
                0 => true,
                1 => !NEVER.contains(&name) && !NOT_AT_THE_TOP.contains(&name),
                _ => !NEVER.contains(&name),
            }
        })
        .build();
    let mut entries = Vec::new();
    for entry in walk {
        let entry = entry.map_err(PackError::Walk)?;
        if let Ok(relative) = entry.path().strip_prefix(root)
            && !relative.as_os_str().is_empty()
        {
            entries.push(relative.to_path_buf());
        }
    }
    entries.sort();
    Ok(entries)
}

/// Whether a link at `entry` would leave the root on its way to `target`.
fn leaves(entry: &Path, target: &Path) -> bool {
    let mut depth = entry.components().count() - 1;
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

/// Counts down what a file still owes.
struct Exactly {
    file: io::Take<File>,
    missing: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.missing -= count as u64;
        Ok(count)
    }
}

/// Passes bytes on and takes their sum.
struct Counting<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Counting<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    fn finish(self) -> (String, u64) {
        (hex::encode(self.hash.finalize()), self.size)
    }
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
