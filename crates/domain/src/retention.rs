//! Which finished Tasks stay, and why others go.

/// Why a finished Task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its App has newer ones, as many as it keeps.
    Count,
    /// It ended too long ago.
    Age,
    /// Its App has newer failed ones, as many of those as it keeps.
    FailedCount,
    /// Somebody deleted it, or what it belongs to.
    Deleted,
}

impl Cause {
    pub const ALL: [Self; 4] = [Self::Count, Self::Age, Self::FailedCount, Self::Deleted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Age => "AGE",
            Self::FailedCount => "FAILED_COUNT",
            Self::Deleted => "DELETED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}
