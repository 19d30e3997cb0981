//! Spaces: what a team's Apps share.

use jiff::Timestamp;

use crate::env::Env;
use crate::event::{Event, EventData, Fact, Subject};
use crate::invalid::{Check, Invalid};
use crate::name::SpaceName;
use crate::uid::SpaceUid;

/// How many Tasks each App of a Space keeps, unless the Space says otherwise.
pub const RETENTION_DEFAULT: u32 = 500;
const RETENTION_MAX: u32 = 100_000;
const LOG_CAP_MIN: u64 = 4 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    pub uid: SpaceUid,
    pub name: SpaceName,
    pub settings: SpaceSettings,
    /// Grows with each change of the environment; a Task freezes the one it was accepted on.
    pub env_revision: u32,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceSettings {
    pub env: Env,
    pub task_retention_count: u32,
    /// Most bytes kept of one attempt's log; none: all of them.
    pub log_cap: Option<u64>,
}

impl SpaceSettings {
    /// Zero means the default, as a request that leaves the field out says it.
    pub fn parse(env: Env, task_retention_count: i64, log_cap_bytes: i64) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let retention = match u32::try_from(task_retention_count) {
            Ok(0) => RETENTION_DEFAULT,
            Ok(count) if count <= RETENTION_MAX => count,
            _ => {
                check.refuse(
                    "space.task_retention_count",
                    format!("must be between 1 and {RETENTION_MAX}, or 0 for {RETENTION_DEFAULT}"),
                );
                0
            }
        };
        let log_cap = match u64::try_from(log_cap_bytes) {
            Ok(0) => None,
            Ok(bytes) if bytes >= LOG_CAP_MIN => Some(bytes),
            _ => {
                check.refuse("space.log_cap_bytes", format!("must be at least {LOG_CAP_MIN}, or 0 for no cap"));
                None
            }
        };
        check.finish_with(Some(Self { env, task_retention_count: retention, log_cap }))
    }
}

/// A Space as it is to be, with the event that says so.
#[derive(Debug, Clone)]
pub struct SpaceChange {
    pub space: Space,
    pub event: Event,
}

impl Space {
    pub fn create(uid: SpaceUid, name: SpaceName, settings: SpaceSettings, at: Timestamp) -> SpaceChange {
        Self { uid, name, settings, env_revision: 1, version: 1, created_at: at, updated_at: at }
            .told(Fact::SpaceCreated, at)
    }

    /// The change to `settings`, or none when they are what they are.
    pub fn update(self, settings: SpaceSettings, at: Timestamp) -> Option<SpaceChange> {
        if settings == self.settings {
            return None;
        }
        let env_revision = self.env_revision + u32::from(settings.env != self.settings.env);
        let version = self.version + 1;
        Some(Self { settings, env_revision, version, updated_at: at, ..self }.told(Fact::SpaceUpdated, at))
    }

    pub fn delete(self, at: Timestamp) -> SpaceChange {
        let version = self.version + 1;
        Self { version, updated_at: at, ..self }.told(Fact::SpaceDeleted, at)
    }

    fn told(self, fact: Fact, at: Timestamp) -> SpaceChange {
        let event = Event {
            uid: self.uid.0,
            sequence: self.version,
            subject: Subject::Space(self.name.clone()),
            fact,
            at,
            data: EventData::Space,
            trace: None,
        };
        SpaceChange { space: self, event }
    }
}
