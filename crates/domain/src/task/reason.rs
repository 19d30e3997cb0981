//! Why an attempt did not succeed, and what kind of why that is.

/// A closed set: each has one class, and clients may rely on the spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    ExitCode,
    Signalled,
    TimedOut,
    OutOfMemory,
    DiskQuotaExceeded,
    Cancelled,
    Lost,
    StartFailed,
    SourceUnavailable,
    SourceInvalid,
    InvalidSpec,
    StartDeadline,
}

/// Whose fault it is, and hence whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The command's own doing.
    User,
    /// Ours, or the machines': another try may go well.
    Infrastructure,
    /// It would end like this every time.
    Configuration,
    /// Nobody knows how it ended; the command may have run.
    Unknown,
}

impl Reason {
    pub const ALL: [Self; 12] = [
        Self::ExitCode,
        Self::Signalled,
        Self::TimedOut,
        Self::OutOfMemory,
        Self::DiskQuotaExceeded,
        Self::Cancelled,
        Self::Lost,
        Self::StartFailed,
        Self::SourceUnavailable,
        Self::SourceInvalid,
        Self::InvalidSpec,
        Self::StartDeadline,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExitCode => "EXIT_CODE",
            Self::Signalled => "SIGNALLED",
            Self::TimedOut => "TIMED_OUT",
            Self::OutOfMemory => "OUT_OF_MEMORY",
            Self::DiskQuotaExceeded => "DISK_QUOTA_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::Lost => "LOST",
            Self::StartFailed => "START_FAILED",
            Self::SourceUnavailable => "SOURCE_UNAVAILABLE",
            Self::SourceInvalid => "SOURCE_INVALID",
            Self::InvalidSpec => "INVALID_SPEC",
            Self::StartDeadline => "START_DEADLINE",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    pub fn class(self) -> Class {
        match self {
            Self::ExitCode
            | Self::Signalled
            | Self::TimedOut
            | Self::OutOfMemory
            | Self::DiskQuotaExceeded
            | Self::Cancelled => Class::User,
            Self::Lost => Class::Unknown,
            Self::StartFailed | Self::SourceUnavailable | Self::StartDeadline => Class::Infrastructure,
            Self::SourceInvalid | Self::InvalidSpec => Class::Configuration,
        }
    }
}
