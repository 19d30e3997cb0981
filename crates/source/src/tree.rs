//! What the archive has put where so far: no name twice, nothing below a file or a link.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::error::Reason;
use crate::name::folded;

const ROOT: u32 = 0;

/// Nodes by their directory and their folded name. As many as entries are allowed, whatever the names imply.
pub(crate) struct Tree {
    nodes: HashMap<(u32, Box<[u8]>), Node>,
    max_entries: u32,
    root_listed: bool,
}

struct Node {
    name: Box<[u8]>,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// `listed` once the archive names it; until then it is implied by something below.
    Directory {
        id: u32,
        listed: bool,
    },
    File {
        size: u64,
    },
    Symlink,
}

/// What an entry is about to become.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    Directory,
    File { size: u64 },
    Symlink,
}

/// What has to be made for an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The entry's ancestors from this depth on are new; `0..existing` are there.
    pub(crate) existing: usize,
    /// False for a directory that something below it implied earlier.
    pub(crate) is_new: bool,
}

impl Tree {
    pub(crate) fn new(max_entries: u32) -> Self {
        Self { nodes: HashMap::new(), max_entries, root_listed: false }
    }

    pub(crate) fn place(&mut self, parts: &[&[u8]], leaf: Leaf) -> Result<Placed, Reason> {
        let Some((last, ancestors)) = parts.split_last() else {
            return self.place_root(leaf);
        };
        let mut parent = ROOT;
        let mut existing = ancestors.len();
        for (depth, part) in ancestors.iter().enumerate() {
            let (id, is_new) = self.descend(parent, part)?;
            if is_new {
                existing = existing.min(depth);
            }
            parent = id;
        }
        let is_new = self.settle(parent, last, leaf)?;
        Ok(Placed { existing, is_new })
    }

    /// The size of a file that an earlier entry made, found under its exact name.
    pub(crate) fn file_size(&self, parts: &[&[u8]]) -> Option<u64> {
        let (last, ancestors) = parts.split_last()?;
        let mut parent = ROOT;
        for part in ancestors {
            match self.get(parent, part)? {
                What::Directory { id, .. } => parent = id,
                What::File { .. } | What::Symlink => return None,
            }
        }
        match self.get(parent, last)? {
            What::File { size } => Some(size),
            What::Directory { .. } | What::Symlink => None,
        }
    }

    fn place_root(&mut self, leaf: Leaf) -> Result<Placed, Reason> {
        if leaf != Leaf::Directory {
            return Err(Reason::ReplacesRoot);
        }
        if std::mem::replace(&mut self.root_listed, true) {
            return Err(Reason::Duplicate);
        }
        Ok(Placed { existing: 0, is_new: false })
    }

    /// Into a directory, which is made when it is not there.
    fn descend(&mut self, parent: u32, part: &[u8]) -> Result<(u32, bool), Reason> {
        let next = self.next_id();
        match self.nodes.entry((parent, folded(part))) {
            Entry::Vacant(vacant) => {
                let id = next?;
                vacant.insert(Node { name: part.into(), what: What::Directory { id, listed: false } });
                Ok((id, true))
            }
            Entry::Occupied(there) => match there.get().what {
                _ if *there.get().name != *part => Err(Reason::CaseCollision),
                What::Directory { id, .. } => Ok((id, false)),
                What::File { .. } => Err(Reason::BelowFile),
                What::Symlink => Err(Reason::BelowSymlink),
            },
        }
    }

    /// Puts the entry itself; false when the directory was there already.
    fn settle(&mut self, parent: u32, part: &[u8], leaf: Leaf) -> Result<bool, Reason> {
        let next = self.next_id();
        match self.nodes.entry((parent, folded(part))) {
            Entry::Vacant(vacant) => {
                let id = next?;
                let what = match leaf {
                    Leaf::Directory => What::Directory { id, listed: true },
                    Leaf::File { size } => What::File { size },
                    Leaf::Symlink => What::Symlink,
                };
                vacant.insert(Node { name: part.into(), what });
                Ok(true)
            }
            Entry::Occupied(mut there) => {
                if *there.get().name != *part {
                    return Err(Reason::CaseCollision);
                }
                match &mut there.get_mut().what {
                    What::Directory { listed, .. } if leaf == Leaf::Directory && !*listed => *listed = true,
                    What::Directory { .. } | What::File { .. } | What::Symlink => {
                        return Err(Reason::Duplicate);
                    }
                }
                Ok(false)
            }
        }
    }

    fn get(&self, parent: u32, part: &[u8]) -> Option<What> {
        let node = self.nodes.get(&(parent, folded(part)))?;
        (*node.name == *part).then_some(node.what)
    }

    /// Ids count nodes from 1; the next one is there only while a node may still be added.
    fn next_id(&self) -> Result<u32, Reason> {
        match u32::try_from(self.nodes.len()) {
            Ok(count) if count < self.max_entries => Ok(count + 1),
            _ => Err(Reason::TooManyEntries(self.max_entries)),
        }
    }
}
