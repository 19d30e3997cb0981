//! Why an archive is refused, in one line that names the entry.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Characters of an entry's name that a message shows.
const SHOWN_CHARS: usize = 120;

/// What can go wrong with an archive. Only `Refused` is the sender's fault.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the archive could not be read")]
    Read(#[source] io::Error),
    #[error("{} could not be written", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
}

/// An archive that is not accepted: the reason, and the entry it is about when there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    entry: Option<String>,
    reason: Reason,
}

impl Refusal {
    /// About one entry.
    pub(crate) fn entry(name: &[u8], reason: Reason) -> Self {
        Self { entry: Some(shown(name)), reason }
    }

    /// The entry's name, escaped and cut short so that it can stand in a message.
    #[must_use]
    pub fn entry_name(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// About the archive as a whole.
impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { entry: None, reason }
    }
}

impl From<Reason> for SourceError {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "archive entry \"{entry}\" {}", self.reason),
            None => write!(f, "the archive {}", self.reason),
        }
    }
}

impl std::error::Error for Refusal {}

/// Each reads on after "the archive" or "archive entry x".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("is neither a tar nor a gzip'd tar")]
    NotAnArchive,
    #[error("is empty")]
    Empty,
    #[error("is cut short")]
    Truncated,
    #[error("is damaged: its gzip stream does not decode")]
    CorruptGzip,
    #[error("is followed by bytes that do not belong to it")]
    TrailingJunk,
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("unpacks to more than {0} bytes")]
    UnpacksTooLarge(u64),
    #[error("unpacks to more than {0} times its size")]
    Bomb(u64),
    #[error("holds more than {0} entries")]
    TooManyEntries(u32),
    #[error("has a malformed header: {0}")]
    Malformed(&'static str),
    #[error("has sizes that contradict each other: {ustar} in its header, {pax} in its PAX record")]
    SizeMismatch { ustar: u64, pax: u64 },
    #[error("has an empty name")]
    EmptyName,
    #[error("has a NUL byte in its name")]
    NulInName,
    #[error("has an absolute name")]
    AbsoluteName,
    #[error("has \"..\" in its name")]
    ParentInName,
    #[error("has a name longer than {0} bytes")]
    NameTooLong(usize),
    #[error("has a name with a part longer than {0} bytes")]
    PartTooLong(usize),
    #[error("lies deeper than {0} directories")]
    TooDeep(u16),
    #[error("takes the place of the archive's root")]
    ReplacesRoot,
    #[error("lies below a file")]
    BelowFile,
    #[error("would be written through a symbolic link")]
    BelowSymlink,
    #[error("is there twice")]
    Duplicate,
    #[error("differs only in case from another entry")]
    CaseCollision,
    #[error("is a symbolic link that may lead out of the archive")]
    LinkEscapes,
    #[error("is a symbolic link without a target")]
    LinkWithoutTarget,
    #[error("is a hard link to something that is not an earlier file of the archive")]
    HardLinkTarget,
    #[error("carries data although it is no file")]
    UnexpectedData,
    #[error("is a device or a named pipe")]
    SpecialFile,
    #[error("is a sparse file")]
    Sparse,
    #[error("has the unsupported type {0:?}")]
    UnsupportedType(char),
    #[error("has the set-user-id or set-group-id bit")]
    SetId,
}

/// A name as one harmless line: never raw, never long.
fn shown(name: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(name);
    let mut chars = lossy.chars();
    let mut line: String = chars.by_ref().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}
