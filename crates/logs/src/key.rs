//! Whose output: one attempt of one Task, and where its objects stand.

use std::fmt;

use object_store::path::Path;
use taskplane_domain::uid::{SpaceUid, TaskUid};

/// One attempt of one Task. All parts are numbers, so no name can lead elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey {
    pub space: SpaceUid,
    pub task: TaskUid,
    /// From 1.
    pub attempt: u32,
}

impl LogKey {
    pub(crate) fn prefix(&self) -> Path {
        Path::from(self.to_string())
    }

    /// 20 digits hold any `u64`, and make names sort as numbers.
    pub(crate) fn chunk(&self, start: u64) -> Path {
        self.prefix().join(format!("{start:020}"))
    }

    pub(crate) fn sealed(&self) -> Path {
        self.prefix().join("sealed")
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", task_prefix(self.space, self.task), self.attempt)
    }
}

pub(crate) fn space_prefix(space: SpaceUid) -> String {
    format!("logs/{space}")
}

pub(crate) fn task_prefix(space: SpaceUid, task: TaskUid) -> String {
    format!("logs/{space}/{task}")
}

/// The offset a chunk is named by; `None` for what is no chunk.
pub(crate) fn chunk_start(path: &Path) -> Option<u64> {
    path.filename().filter(|name| name.len() == 20).and_then(|name| name.parse().ok())
}
