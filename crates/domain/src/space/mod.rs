//! Spaces: what a team's Apps share.

mod resources;
mod settings;

use jiff::Timestamp;

use crate::event::{Event, EventData, Fact, Subject};
use crate::name::SpaceName;
use crate::security_group::Groups;
use crate::standing::Standing;
use crate::uid::SpaceUid;

pub use resources::ResourceRules;
pub use settings::{ClusterSettings, Quota, Retention, SpaceSettings, StartTicket, log_cap};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    pub uid: SpaceUid,
    pub name: SpaceName,
    pub settings: SpaceSettings,
    /// What all its Apps are bound to.
    pub security_groups: Groups,
    /// Grows with each change of the environment or the groups; a Task freezes the one it was accepted on.
    pub env_revision: u32,
    pub standing: Standing,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A Space as it is to be, with the event that says so.
#[derive(Debug, Clone)]
pub struct SpaceChange {
    pub space: Space,
    pub event: Event,
}

impl Space {
    pub fn create(uid: SpaceUid, name: SpaceName, settings: SpaceSettings, at: Timestamp) -> SpaceChange {
        Self {
            uid,
            name,
            settings,
            security_groups: Groups::default(),
            env_revision: 1,
            standing: Standing::Active,
            version: 1,
            created_at: at,
            updated_at: at,
        }
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

    /// The change to these security groups, or none when they are bound already.
    pub fn with_groups(self, security_groups: Groups, at: Timestamp) -> Option<SpaceChange> {
        if security_groups == self.security_groups {
            return None;
        }
        let (env_revision, version) = (self.env_revision + 1, self.version + 1);
        Some(Self { security_groups, env_revision, version, updated_at: at, ..self }.told(Fact::SpaceUpdated, at))
    }

    /// Nothing new is taken in any more, and what is there is to go. None: that was asked for before.
    pub fn delete(self, at: Timestamp) -> Option<SpaceChange> {
        if self.standing == Standing::Deleting {
            return None;
        }
        let version = self.version + 1;
        Some(
            Self { standing: Standing::Deleting, version, updated_at: at, ..self }.told(Fact::SpaceDeleteRequested, at),
        )
    }

    /// Its last event: the row is about to go.
    pub fn deleted(self, at: Timestamp) -> SpaceChange {
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
