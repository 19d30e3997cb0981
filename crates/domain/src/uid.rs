//! Identities: assigned once, never reused, never mixed up with each other.

use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

macro_rules! uid {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

uid! {
    SpaceUid,
    AppUid,
    TaskUid,
    JobUid,
    ScheduleUid,
    SecurityGroupUid,
    ServiceUid,
    /// One source archive on its way in.
    UploadUid,
    /// One incarnation of an executor.
    SessionUid,
}

/// What a backend calls a run: a PipelineRun's uid, or the local backend's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunUid(pub String);

impl fmt::Display for RunUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Grows with each claim of a Task: a report that carries an older one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl TaskUid {
    /// The identity of the Task of one tick: whoever makes it, whenever, makes the same one.
    pub fn scheduled(schedule: ScheduleUid, tick: Timestamp) -> Self {
        Self(Uuid::new_v5(&schedule.0, &tick.as_microsecond().to_be_bytes()))
    }

    /// The identity of a Task that was asked for with an idempotency key: a repeat, however late, derives the same one.
    pub fn requested(space: SpaceUid, principal: &str, request_id: &str) -> Self {
        Self(Uuid::new_v5(&space.0, format!("{principal}\0{request_id}").as_bytes()))
    }
}
