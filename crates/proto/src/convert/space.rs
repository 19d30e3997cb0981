//! Spaces.

use taskplane_domain::env::{self, Env};
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::quantity::Resources;
use taskplane_domain::space::{
    ClusterSettings, Quota, ResourceRules, Retention, Space, SpaceSettings, StartTicket, log_cap,
};
use taskplane_domain::standing::Standing;

use crate::convert::app::resources_from_pb;
use crate::convert::placement::{placement_from_pb, placement_to_pb};
use crate::convert::security_group::group_names;
use crate::convert::time::{duration_from_pb, duration_to_pb, timestamp_to_pb};
use crate::v1 as pb;

/// Opaque to clients; changes with each version.
pub fn etag(version: u64) -> String {
    format!("\"{version:x}\"")
}

/// An empty etag in a request matches everything.
pub fn etag_matches(asked: &str, version: u64) -> bool {
    asked.is_empty() || asked == etag(version)
}

pub(crate) fn standing_to_pb(standing: Standing) -> pb::Standing {
    match standing {
        Standing::Active => pb::Standing::Active,
        Standing::Deleting => pb::Standing::Deleting,
    }
}

impl From<&Space> for pb::Space {
    fn from(space: &Space) -> Self {
        let Space { uid, name, settings, security_groups, env_revision: _, standing, version, created_at, updated_at } =
            space;
        let SpaceSettings {
            env,
            retention,
            log_cap,
            delete_terminated_logs,
            quota,
            resources,
            default_timeout,
            cluster,
            start_ticket,
        } = settings;
        let Retention { count, minimum_finished, age, failed } = retention;
        let Quota { live, running, waiting } = quota;
        let ResourceRules { default, min, max } = resources;
        let said = |resources: &Resources| Some(*resources).filter(|it| *it != Resources::default()).map(Into::into);
        Self {
            name: name.to_string(),
            uid: uid.to_string(),
            env: Default::default(),
            env_names: env.names().map(str::to_owned).collect(),
            task_retention_count: count.cast_signed(),
            log_cap_bytes: log_cap.unwrap_or(0).cast_signed(),
            create_time: Some(timestamp_to_pb(*created_at)),
            update_time: Some(timestamp_to_pb(*updated_at)),
            etag: etag(*version),
            minimum_finished_tasks: Some(minimum_finished.cast_signed()),
            task_retention_age: age.map(duration_to_pb),
            failed_task_retention_count: failed.map(u32::cast_signed),
            delete_terminated_logs: *delete_terminated_logs,
            quota: Some(pb::SpaceQuota {
                live_tasks: live.cast_signed(),
                running_tasks: running.unwrap_or(0).cast_signed(),
                waiting_tasks: waiting.cast_signed(),
            }),
            default_resources: said(default),
            min_resources: said(min),
            max_resources: said(max),
            default_task_timeout: default_timeout.map(duration_to_pb),
            security_groups: group_names(&name.0, security_groups),
            usage: None,
            start_ticket: Some(*start_ticket == StartTicket::Required),
            standing: standing_to_pb(*standing) as i32,
            remains: None,
            cluster: cluster_to_pb(cluster),
        }
    }
}

/// Something, where something is said.
fn cluster_to_pb(cluster: &ClusterSettings) -> Option<pb::ClusterSettings> {
    let ClusterSettings { namespace, placement } = cluster;
    (*cluster != ClusterSettings::default()).then(|| pb::ClusterSettings {
        namespace: namespace.clone().unwrap_or_default(),
        placement: placement_to_pb(placement),
    })
}

fn cluster_from_pb(cluster: pb::ClusterSettings) -> Result<ClusterSettings, Invalid> {
    let pb::ClusterSettings { namespace, placement } = cluster;
    let placement = placement_from_pb("space.cluster.placement", placement.unwrap_or_default())?;
    ClusterSettings::parse(namespace, placement)
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
            minimum_finished_tasks,
            task_retention_age,
            failed_task_retention_count,
            delete_terminated_logs,
            quota,
            default_resources,
            min_resources,
            max_resources,
            default_task_timeout,
            security_groups: _,
            usage: _,
            start_ticket,
            standing: _,
            remains: _,
            cluster,
        } = space;
        let pb::SpaceQuota { live_tasks, running_tasks, waiting_tasks } = quota.unwrap_or_default();
        let mut check = Check::new();
        let env = check.all(Env::parse("space.env", env, env::INHERITED_MAX));
        let age = time(&mut check, "space.task_retention_age", task_retention_age);
        let retention = check.all(Retention::parse(
            task_retention_count.into(),
            minimum_finished_tasks.map(Into::into),
            age,
            failed_task_retention_count.map(Into::into),
        ));
        let log_cap = check.all(log_cap(log_cap_bytes));
        let quota = check.all(Quota::parse(live_tasks.into(), running_tasks.into(), waiting_tasks.into()));
        let resources = ResourceRules {
            default: check.all(resources_from_pb("space.default_resources", default_resources)).unwrap_or_default(),
            min: check.all(resources_from_pb("space.min_resources", min_resources)).unwrap_or_default(),
            max: check.all(resources_from_pb("space.max_resources", max_resources)).unwrap_or_default(),
        };
        let timeout = time(&mut check, "space.default_task_timeout", default_task_timeout);
        let default_timeout = check.all(Self::parse_default_timeout(timeout));
        let cluster = check.all(cluster_from_pb(cluster.unwrap_or_default()));
        let settings = env.zip(retention).zip(log_cap.zip(quota)).zip(default_timeout.zip(cluster));
        check.finish_with(settings.map(|(((env, retention), (log_cap, quota)), (default_timeout, cluster))| Self {
            env,
            retention,
            log_cap,
            delete_terminated_logs,
            quota,
            resources,
            default_timeout,
            cluster,
            start_ticket: if start_ticket.unwrap_or(true) { StartTicket::Required } else { StartTicket::Waived },
        }))
    }
}

fn time(check: &mut Check, field: &str, asked: Option<prost_types::Duration>) -> Option<std::time::Duration> {
    let asked = asked?;
    let time = duration_from_pb(&asked);
    if time.is_none() {
        check.refuse(field, "must not be negative");
    }
    time
}

/// What may stand in a mask; a part of `quota`, of resources and of `cluster` also alone.
const PATHS: &str = "env, env.NAME, task_retention_count, minimum_finished_tasks, task_retention_age, failed_task_retention_count, \
     log_cap_bytes, delete_terminated_logs, quota, default_resources, min_resources, max_resources, default_task_timeout, cluster, \
     start_ticket";

/// `before`, with the fields that `mask` names taken from `asked`.
pub fn settings_masked(
    before: &SpaceSettings,
    asked: &SpaceSettings,
    mask: Option<&prost_types::FieldMask>,
) -> Result<SpaceSettings, Invalid> {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    let mut check = Check::new();
    if paths.is_empty() {
        check.refuse("update_mask", format!("must name what to change: {PATHS}"));
    }
    let mut after = before.clone();
    let known = paths.iter().all(|path| take(&mut after, asked, path));
    if !known {
        check.refuse("update_mask", format!("can only name {PATHS}"));
    }
    if after.env.size() > env::INHERITED_MAX {
        check.refuse(
            "space.env",
            format!("must be at most {} bytes in all, with what the Space has", env::INHERITED_MAX),
        );
    }
    check.all(after.resources.check());
    check.finish_with(Some(after))
}

/// Whether there is such a field.
fn take(after: &mut SpaceSettings, asked: &SpaceSettings, path: &str) -> bool {
    match path {
        "env" => after.env = asked.env.clone(),
        "task_retention_count" => after.retention.count = asked.retention.count,
        "minimum_finished_tasks" => after.retention.minimum_finished = asked.retention.minimum_finished,
        "task_retention_age" => after.retention.age = asked.retention.age,
        "failed_task_retention_count" => after.retention.failed = asked.retention.failed,
        "log_cap_bytes" => after.log_cap = asked.log_cap,
        "delete_terminated_logs" => after.delete_terminated_logs = asked.delete_terminated_logs,
        "quota" => after.quota = asked.quota,
        "quota.live_tasks" => after.quota.live = asked.quota.live,
        "quota.running_tasks" => after.quota.running = asked.quota.running,
        "quota.waiting_tasks" => after.quota.waiting = asked.quota.waiting,
        "start_ticket" => after.start_ticket = asked.start_ticket,
        "default_task_timeout" => after.default_timeout = asked.default_timeout,
        "cluster" => after.cluster = asked.cluster.clone(),
        "cluster.namespace" => after.cluster.namespace = asked.cluster.namespace.clone(),
        "cluster.placement" => after.cluster.placement = asked.cluster.placement.clone(),
        _ => {
            if let Some(name) = path.strip_prefix("env.") {
                after.env = after.env.clone().with_one_of(&asked.env, name);
                return true;
            }
            let (whole, part) = path.split_once('.').map_or((path, None), |(whole, part)| (whole, Some(part)));
            let (after, asked) = match whole {
                "default_resources" => (&mut after.resources.default, asked.resources.default),
                "min_resources" => (&mut after.resources.min, asked.resources.min),
                "max_resources" => (&mut after.resources.max, asked.resources.max),
                _ => return false,
            };
            match part {
                None => *after = asked,
                Some("memory") => after.memory = asked.memory,
                Some("disk") => after.disk = asked.disk,
                Some("cpu") => after.cpu = asked.cpu,
                Some(_) => return false,
            }
        }
    }
    true
}
