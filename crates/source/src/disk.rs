//! What is written when an archive is unpacked. Names arrive judged: the tree has seen to it that every directory on the way is
//! one that was made here.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::error::SourceError;

const IMPLIED_DIRECTORY_MODE: u32 = 0o755;
/// Execution for all and reading for others at most; the rest is nobody's business in a working copy.
const KEPT_BITS: u32 = 0o755;
/// Times after the year 9999 are not kept.
const LATEST_SECONDS: u64 = 253_402_300_799;

pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(crate) fn open(root: &Path) -> Result<Self, SourceError> {
        let mut inside = fs::read_dir(root).map_err(|error| failed(root, error))?;
        if inside.next().is_some() {
            return Err(SourceError::NotEmpty(root.to_owned()));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Makes the directories above `parts` from depth `existing` on.
    pub(crate) fn ancestors(&self, parts: &[&[u8]], existing: usize) -> Result<(), SourceError> {
        for depth in existing..parts.len().saturating_sub(1) {
            self.make_directory(&self.path(&parts[..=depth]), IMPLIED_DIRECTORY_MODE)?;
        }
        Ok(())
    }

    /// A directory that is listed: made, or given its mode when it was implied before.
    pub(crate) fn directory(&self, parts: &[&[u8]], is_new: bool, mode: u32) -> Result<(), SourceError> {
        let path = self.path(parts);
        let mode = mode & KEPT_BITS | 0o700;
        if is_new { self.make_directory(&path, mode) } else { give_mode(&path, mode) }
    }

    /// A file to write to. It is never one that was there: `create_new` follows no link and opens nothing that exists.
    pub(crate) fn file(&self, parts: &[&[u8]], mode: u32) -> Result<NewFile, SourceError> {
        let path = self.path(parts);
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| failed(&path, error))?;
        Ok(NewFile { path, file, mode: mode & KEPT_BITS | 0o600 })
    }

    pub(crate) fn symlink(&self, parts: &[&[u8]], target: &[u8]) -> Result<(), SourceError> {
        let path = self.path(parts);
        symlink(OsStr::from_bytes(target), &path).map_err(|error| failed(&path, error))
    }

    pub(crate) fn hard_link(&self, parts: &[&[u8]], target: &[&[u8]]) -> Result<(), SourceError> {
        let path = self.path(parts);
        fs::hard_link(self.path(target), &path).map_err(|error| failed(&path, error))
    }

    fn path(&self, parts: &[&[u8]]) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(parts.iter().map(|part| OsStr::from_bytes(part)));
        path
    }

    fn make_directory(&self, path: &Path, mode: u32) -> Result<(), SourceError> {
        fs::DirBuilder::new().mode(0o700).create(path).map_err(|error| failed(path, error))?;
        give_mode(path, mode)
    }
}

/// A file while it is written.
pub(crate) struct NewFile {
    path: PathBuf,
    file: File,
    mode: u32,
}

impl NewFile {
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), SourceError> {
        self.file.write_all(data).map_err(|error| failed(&self.path, error))
    }

    /// Mode and time come last, so that neither is changed by the writing. The process's umask has no say.
    pub(crate) fn finish(self, modified: Option<u64>) -> Result<(), SourceError> {
        let set = || {
            self.file.set_permissions(Permissions::from_mode(self.mode))?;
            match modified.filter(|seconds| *seconds <= LATEST_SECONDS) {
                Some(seconds) => self.file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)),
                None => Ok(()),
            }
        };
        set().map_err(|error| failed(&self.path, error))
    }
}

fn give_mode(path: &Path, mode: u32) -> Result<(), SourceError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| failed(path, error))
}

fn failed(path: &Path, source: io::Error) -> SourceError {
    SourceError::Write { path: path.to_owned(), source }
}
