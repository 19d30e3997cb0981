//! Why an attempt did not succeed, and what kind of why that is.

/// A closed set: clients may rely on the spelling. Each has a class of its own; what is known of one end may say another.
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
    SignalledOr255,
    PodKilled,
    ImagePull,
    ConfigMissing,
    PodRejected,
    PodSecurity,
    NodePressure,
    NodeFailure,
    NodeLost,
    PlatformContainer,
    PlatformUnknown,
    QuotaExceeded,
    AccessDenied,
    NameCollision,
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

impl Class {
    pub const ALL: [Self; 4] = [Self::User, Self::Infrastructure, Self::Configuration, Self::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Infrastructure => "INFRASTRUCTURE",
            Self::Configuration => "CONFIGURATION",
            Self::Unknown => "UNKNOWN",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

impl Reason {
    pub const ALL: [Self; 26] = [
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
        Self::SignalledOr255,
        Self::PodKilled,
        Self::ImagePull,
        Self::ConfigMissing,
        Self::PodRejected,
        Self::PodSecurity,
        Self::NodePressure,
        Self::NodeFailure,
        Self::NodeLost,
        Self::PlatformContainer,
        Self::PlatformUnknown,
        Self::QuotaExceeded,
        Self::AccessDenied,
        Self::NameCollision,
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
            Self::SignalledOr255 => "SIGNALLED_OR_255",
            Self::PodKilled => "POD_KILLED",
            Self::ImagePull => "IMAGE_PULL",
            Self::ConfigMissing => "CONFIG_MISSING",
            Self::PodRejected => "POD_REJECTED",
            Self::PodSecurity => "POD_SECURITY",
            Self::NodePressure => "NODE_PRESSURE",
            Self::NodeFailure => "NODE_FAILURE",
            Self::NodeLost => "NODE_LOST",
            Self::PlatformContainer => "PLATFORM_CONTAINER",
            Self::PlatformUnknown => "PLATFORM_UNKNOWN",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::NameCollision => "NAME_COLLISION",
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
            | Self::SignalledOr255
            | Self::Cancelled => Class::User,
            Self::Lost | Self::NodeLost => Class::Unknown,
            Self::StartFailed
            | Self::SourceUnavailable
            | Self::StartDeadline
            | Self::PodKilled
            | Self::ImagePull
            | Self::NodePressure
            | Self::NodeFailure
            | Self::PlatformContainer
            | Self::QuotaExceeded => Class::Infrastructure,
            Self::SourceInvalid
            | Self::InvalidSpec
            | Self::ConfigMissing
            | Self::PodRejected
            | Self::PodSecurity
            | Self::PlatformUnknown
            | Self::AccessDenied
            | Self::NameCollision => Class::Configuration,
        }
    }
}
