//! The walk through an archive that judging and unpacking share.

use std::io::Read;

use crate::disk::Disk;
use crate::entry::{Entries, Entry, Kind};
use crate::error::{Reason, Refusal, SourceError};
use crate::name;
use crate::tree::{Leaf, Placed, Tree};
use crate::{Limits, Summary};

const COPY_BYTES: usize = 64 << 10;
const SET_ID_BITS: u32 = 0o6000;

pub(crate) fn walk<R: Read>(archive: R, limits: &Limits, disk: Option<&Disk>) -> Result<Summary, SourceError> {
    let entries = Entries::open(archive, limits)?;
    let tree = Tree::new(limits.max_entries);
    let mut walk = Walk { entries, tree, limits, disk, buf: vec![0; COPY_BYTES], entry_count: 0, unpacked_bytes: 0 };
    while let Some(entry) = walk.entries.next()? {
        walk.take(&entry)?;
    }
    let Walk { entries, entry_count, unpacked_bytes, .. } = walk;
    let (sha256, size_bytes) = entries.finish()?;
    if entry_count == 0 {
        return Err(Reason::Empty.into());
    }
    Ok(Summary { sha256, size_bytes, entry_count, unpacked_bytes })
}

struct Walk<'a, R> {
    entries: Entries<'a, R>,
    tree: Tree,
    limits: &'a Limits,
    disk: Option<&'a Disk>,
    buf: Vec<u8>,
    entry_count: u32,
    unpacked_bytes: u64,
}

/// An entry's name, whole and in parts.
struct Named<'n> {
    whole: &'n [u8],
    parts: Vec<&'n [u8]>,
}

impl Named<'_> {
    fn refused(&self, reason: Reason) -> Refusal {
        Refusal::entry(self.whole, reason)
    }
}

impl<R: Read> Walk<'_, R> {
    fn take(&mut self, entry: &Entry) -> Result<(), SourceError> {
        let Entry { name, kind, mode, modified } = entry;
        let parts = name::parts(name, self.limits).map_err(|reason| Refusal::entry(name, reason))?;
        // The root itself is listed by `tar -c .`; an archive of nothing else is empty all the same.
        self.entry_count += u32::from(!parts.is_empty());
        let named = Named { whole: name, parts };
        match kind {
            Kind::Directory => self.directory(&named, *mode),
            Kind::File { .. } if mode & SET_ID_BITS != 0 => Err(named.refused(Reason::SetId).into()),
            Kind::File { size } => self.file(&named, *size, *mode, *modified),
            Kind::Symlink { target } => self.symlink(&named, target),
            Kind::HardLink { target } => self.hard_link(&named, target),
        }
    }

    fn directory(&mut self, named: &Named<'_>, mode: u32) -> Result<(), SourceError> {
        let placed = self.place(named, Leaf::Directory)?;
        match self.disk {
            Some(disk) if !named.parts.is_empty() => disk.directory(&named.parts, placed.is_new, mode),
            _ => Ok(()),
        }
    }

    fn file(&mut self, named: &Named<'_>, size: u64, mode: u32, modified: Option<u64>) -> Result<(), SourceError> {
        self.place(named, Leaf::File { size })?;
        self.unpacked_bytes += size;
        let Some(disk) = self.disk else {
            return self.entries.data(size, &mut self.buf, |_| Ok(()));
        };
        let mut file = disk.file(&named.parts, mode)?;
        self.entries.data(size, &mut self.buf, |piece| file.write(piece))?;
        file.finish(modified)
    }

    fn symlink(&mut self, named: &Named<'_>, target: &[u8]) -> Result<(), SourceError> {
        let depth = named.parts.len().saturating_sub(1);
        name::stays_inside(target, depth, self.limits).map_err(|reason| named.refused(reason))?;
        self.place(named, Leaf::Symlink)?;
        self.disk.map_or(Ok(()), |disk| disk.symlink(&named.parts, target))
    }

    fn hard_link(&mut self, named: &Named<'_>, target: &[u8]) -> Result<(), SourceError> {
        let target = name::parts(target, self.limits).map_err(|_| named.refused(Reason::HardLinkTarget))?;
        let size = self.tree.file_size(&target).ok_or_else(|| named.refused(Reason::HardLinkTarget))?;
        self.entries.charge(size)?;
        self.place(named, Leaf::File { size })?;
        self.unpacked_bytes += size;
        self.disk.map_or(Ok(()), |disk| disk.hard_link(&named.parts, &target))
    }

    /// Finds the entry its place, and makes the directories that its name implies.
    fn place(&mut self, named: &Named<'_>, leaf: Leaf) -> Result<Placed, SourceError> {
        let placed = self.tree.place(&named.parts, leaf).map_err(|reason| match reason {
            Reason::TooManyEntries(_) => reason.into(),
            of_the_entry => named.refused(of_the_entry),
        })?;
        if let Some(disk) = self.disk {
            disk.ancestors(&named.parts, placed.existing)?;
        }
        Ok(placed)
    }
}
