//! Executor sessions: who holds what, and until when it may believe so.

use std::time::Duration;

use jiff::Timestamp;

use crate::name::Name;
use crate::uid::SessionUid;

/// How long a session is trusted without a sign of life.
pub const LEASE: Duration = Duration::from_secs(15);
/// How often an executor gives one.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// One incarnation of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub uid: SessionUid,
    /// Stable over restarts; a new session of the same name ends the old one.
    pub executor: Name,
    pub cluster: Name,
    /// Its runs outlive it and can be taken over.
    pub adoptable: bool,
    pub runs_images: bool,
    /// Where it serves output that is not archived yet.
    pub logs_address: Option<String>,
    pub opened_at: Timestamp,
    /// By the database's clock.
    pub lease_until: Timestamp,
}
