//! An App's source archive: judged while it streams in, unpacked safely.
//!
//! [`check`] reads an upload once, keeps none of it, and says what it is or why it is refused. [`unpack`] reads it by the very
//! same rules and writes it out, so what was accepted once can always be unpacked. Both take any [`Read`]: a file, a pipe, a
//! channel that is fed chunk by chunk.
//!
//! What is accepted is a tar (v7, ustar, GNU with long names, PAX), as it is or gzip'd in one or several members, that holds
//! regular files, directories, and links that stay inside. Everything else is refused by name, see [`Reason`]. The archive is
//! read here block by block, not by a tar library's iterator, because such libraries read on where writer and reader could
//! disagree, buffer whole extension headers, and stop before the last byte.

mod contents;
mod disk;
mod entry;
mod error;
mod name;
mod pax;
mod tree;
mod walk;

use std::io::Read;
use std::path::Path;

pub use error::{Reason, Refusal, SourceError};

/// How much of an archive is borne. A file system's own limit of 255 bytes for one part of a name always holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the upload, compressed or not.
    pub max_archive_bytes: u64,
    /// Bytes of the uncompressed archive, headers included; a hard link counts as a copy.
    pub max_unpacked_bytes: u64,
    /// Entries, and directories that are only implied by the names of others.
    pub max_entries: u32,
    /// Parts of one name.
    pub max_depth: u16,
    /// Bytes of one name or link target. The default leaves room for the path of the directory that is unpacked into, which
    /// the system counts against its 4096 as well.
    pub max_path_bytes: usize,
    /// Uncompressed bytes per uploaded byte, judged once 64 MiB have come out.
    pub max_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_archive_bytes: 1 << 30,
            max_unpacked_bytes: 4 << 30,
            max_entries: 100_000,
            max_depth: 256,
            max_path_bytes: 3072,
            max_ratio: 1000,
        }
    }
}

/// What an accepted archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Of the bytes as they were uploaded, to the last one.
    pub sha256: [u8; 32],
    /// Bytes of the upload.
    pub size_bytes: u64,
    /// Files, directories and links that were listed.
    pub entry_count: u32,
    /// Bytes in files, a hard link counted as a copy.
    pub unpacked_bytes: u64,
}

impl Summary {
    /// The checksum in lower-case hexadecimal.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        hex::encode(self.sha256)
    }
}

/// Reads a whole archive and judges it. On `Ok` every byte was read, also those after the archive's end.
pub fn check<R: Read>(archive: R, limits: &Limits) -> Result<Summary, SourceError> {
    walk::walk(archive, limits, None)
}

/// Unpacks an archive into a directory that exists and is empty, by the rules of [`check`]. Files belong to the current user
/// and are always readable and writable by it; no bit beyond `0755` is kept. After an error the directory holds what had been
/// written until then, and is the caller's to remove.
pub fn unpack<R: Read>(archive: R, into: &Path, limits: &Limits) -> Result<Summary, SourceError> {
    let disk = disk::Disk::open(into)?;
    walk::walk(archive, limits, Some(&disk))
}
