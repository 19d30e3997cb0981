//! Spaces.

use taskplane_domain::env::{self, Env};
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::space::{Space, SpaceSettings};

use crate::convert::time::timestamp_to_pb;
use crate::v1 as pb;

/// Opaque to clients; changes with each version.
pub fn etag(version: u64) -> String {
    format!("\"{version:x}\"")
}

/// An empty etag in a request matches everything.
pub fn etag_matches(asked: &str, version: u64) -> bool {
    asked.is_empty() || asked == etag(version)
}

impl From<&Space> for pb::Space {
    fn from(space: &Space) -> Self {
        let Space { uid, name, settings, env_revision: _, version, created_at, updated_at } = space;
        let SpaceSettings { env, task_retention_count, log_cap } = settings;
        Self {
            name: name.to_string(),
            uid: uid.to_string(),
            env: Default::default(),
            env_names: env.names().map(str::to_owned).collect(),
            task_retention_count: task_retention_count.cast_signed(),
            log_cap_bytes: log_cap.unwrap_or(0).cast_signed(),
            create_time: Some(timestamp_to_pb(*created_at)),
            update_time: Some(timestamp_to_pb(*updated_at)),
            etag: etag(*version),
        }
    }
}

impl TryFrom<pb::Space> for SpaceSettings {
    type Error = Invalid;

    /// What a request says of a Space; what only the server says is passed over, as AIP-203 has it.
    fn try_from(space: pb::Space) -> Result<Self, Invalid> {
        let pb::Space {
            name: _,
            uid: _,
            env,
            env_names: _,
            task_retention_count,
            log_cap_bytes,
            create_time: _,
            update_time: _,
            etag: _,
        } = space;
        let mut check = Check::new();
        let env = check.all(Env::parse("space.env", env, env::INHERITED_MAX));
        let settings = check.all(Self::parse(env.unwrap_or_default(), task_retention_count.into(), log_cap_bytes));
        check.finish_with(settings)
    }
}

/// `before`, with the fields that `mask` names taken from `asked`.
pub fn settings_masked(
    before: &SpaceSettings,
    asked: SpaceSettings,
    mask: Option<&prost_types::FieldMask>,
) -> Result<SpaceSettings, Invalid> {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    let mut check = Check::new();
    if paths.is_empty() {
        check.refuse("update_mask", "must name what to change: env, task_retention_count, log_cap_bytes");
    }
    let mut after = before.clone();
    for path in paths {
        match path.as_str() {
            "env" => after.env = asked.env.clone(),
            "task_retention_count" => after.task_retention_count = asked.task_retention_count,
            "log_cap_bytes" => after.log_cap = asked.log_cap,
            _ => check.refuse("update_mask", "can only name env, task_retention_count, log_cap_bytes"),
        }
    }
    check.finish_with(Some(after))
}
