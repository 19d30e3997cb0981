//! Specs as rows keep them and executors get them.

use std::collections::BTreeMap;
use std::time::Duration;

use taskplane_domain::app::{AppSpec, Command, Source, SourceArchive};
use taskplane_domain::env::{Env, SealedEnv, TaskEnv};
use taskplane_domain::quantity::{Bytes, CpuMillis, Resources};
use taskplane_domain::space::{ClusterSettings, ResourceRules, Retention, SpaceSettings, StartTicket};
use taskplane_domain::task::{Class, RetryPolicy, TaskSpec};
use taskplane_domain::uid::UploadUid;

use crate::internal::v1 as pb;
use crate::v1;

/// Bytes that do not say what they should: kept by a different version, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or malformed")]
pub struct BadSpec(pub &'static str);

impl From<&Env> for pb::EnvSet {
    fn from(env: &Env) -> Self {
        let vars = env.iter().map(|(name, value)| (name.to_owned(), value.reveal().to_owned())).collect();
        Self { vars, names: Vec::new(), sealed: bytes::Bytes::new() }
    }
}

/// What is sealed must be opened first.
impl TryFrom<pb::EnvSet> for Env {
    type Error = BadSpec;

    fn try_from(set: pb::EnvSet) -> Result<Self, BadSpec> {
        let pb::EnvSet { vars, names: _, sealed } = set;
        if sealed.is_empty() { Ok(Self::stored(vars)) } else { Err(BadSpec("env")) }
    }
}

impl From<&TaskEnv> for pb::EnvSet {
    fn from(env: &TaskEnv) -> Self {
        match env {
            TaskEnv::Open(env) => env.into(),
            TaskEnv::Sealed(sealed) => sealed.clone().into(),
        }
    }
}

impl From<SealedEnv> for pb::EnvSet {
    fn from(env: SealedEnv) -> Self {
        let SealedEnv { names, sealed } = env;
        Self { vars: BTreeMap::new(), names, sealed: sealed.into() }
    }
}

impl From<pb::EnvSet> for TaskEnv {
    fn from(set: pb::EnvSet) -> Self {
        let pb::EnvSet { vars, names, sealed } = set;
        match sealed.as_ref() {
            [] => Self::Open(Env::stored(vars)),
            sealed => Self::Sealed(SealedEnv { names, sealed: sealed.to_vec() }),
        }
    }
}

impl From<&Source> for pb::SourceRef {
    fn from(source: &Source) -> Self {
        let kind = match source {
            Source::Image(image) => pb::source_ref::Kind::Image(image.clone()),
            Source::Archive(SourceArchive { sha256, size_bytes, entry_count, upload }) => {
                pb::source_ref::Kind::Archive(pb::ArchiveRef {
                    sha256: sha256.clone(),
                    size_bytes: *size_bytes,
                    entry_count: *entry_count,
                    upload: upload.map(|upload| upload.to_string()).unwrap_or_default(),
                })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::SourceRef> for Source {
    type Error = BadSpec;

    fn try_from(source: pb::SourceRef) -> Result<Self, BadSpec> {
        match source.kind.ok_or(BadSpec("source"))? {
            pb::source_ref::Kind::Image(image) => Ok(Self::Image(image)),
            pb::source_ref::Kind::Archive(pb::ArchiveRef { sha256, size_bytes, entry_count, upload }) => {
                let upload = match upload.as_str() {
                    "" => None,
                    upload => Some(UploadUid(upload.parse().map_err(|_| BadSpec("upload"))?)),
                };
                Ok(Self::Archive(SourceArchive { sha256, size_bytes, entry_count, upload }))
            }
        }
    }
}

impl From<Resources> for pb::Quantities {
    fn from(resources: Resources) -> Self {
        let Resources { memory, disk, cpu } = resources;
        Self {
            memory_bytes: memory.map(Bytes::get),
            disk_bytes: disk.map(Bytes::get),
            cpu_millis: cpu.map(CpuMillis::get),
        }
    }
}

impl TryFrom<pb::Quantities> for Resources {
    type Error = BadSpec;

    fn try_from(quantities: pb::Quantities) -> Result<Self, BadSpec> {
        let pb::Quantities { memory_bytes, disk_bytes, cpu_millis } = quantities;
        Ok(Self {
            memory: memory_bytes.map(Bytes::new).transpose().map_err(|_| BadSpec("memory_bytes"))?,
            disk: disk_bytes.map(Bytes::new).transpose().map_err(|_| BadSpec("disk_bytes"))?,
            cpu: cpu_millis.map(CpuMillis::new).transpose().map_err(|_| BadSpec("cpu_millis"))?,
        })
    }
}

/// What a Space says of its Apps' Tasks, beside what rows hold in columns.
pub struct SpaceRules {
    pub minimum_finished: u32,
    pub age: Option<Duration>,
    pub failed: Option<u32>,
    pub delete_terminated_logs: bool,
    pub resources: ResourceRules,
    pub default_timeout: Option<Duration>,
    pub cluster: ClusterSettings,
    pub start_ticket: StartTicket,
}

impl From<&SpaceSettings> for pb::SpaceRules {
    fn from(settings: &SpaceSettings) -> Self {
        let SpaceSettings {
            env: _,
            retention: Retention { count: _, minimum_finished, age, failed },
            log_cap: _,
            delete_terminated_logs,
            quota: _,
            resources: ResourceRules { default, min, max },
            default_timeout,
            cluster: ClusterSettings { namespace, placement },
            start_ticket,
        } = settings;
        Self {
            minimum_finished: Some(*minimum_finished),
            retention_age_millis: age.map(millis),
            failed_count: *failed,
            delete_terminated_logs: *delete_terminated_logs,
            default_resources: Some((*default).into()),
            min_resources: Some((*min).into()),
            max_resources: Some((*max).into()),
            default_timeout_millis: default_timeout.map(millis),
            namespace: namespace.clone().unwrap_or_default(),
            placement: Some(placement.into()),
            start_ticket_waived: *start_ticket == StartTicket::Waived,
        }
    }
}

impl TryFrom<pb::SpaceRules> for SpaceRules {
    type Error = BadSpec;

    fn try_from(rules: pb::SpaceRules) -> Result<Self, BadSpec> {
        let pb::SpaceRules {
            minimum_finished,
            retention_age_millis,
            failed_count,
            delete_terminated_logs,
            default_resources,
            min_resources,
            max_resources,
            default_timeout_millis,
            namespace,
            placement,
            start_ticket_waived,
        } = rules;
        Ok(Self {
            minimum_finished: minimum_finished.unwrap_or(Retention::MINIMUM_DEFAULT),
            age: retention_age_millis.map(Duration::from_millis),
            failed: failed_count,
            delete_terminated_logs,
            resources: ResourceRules {
                default: default_resources.unwrap_or_default().try_into()?,
                min: min_resources.unwrap_or_default().try_into()?,
                max: max_resources.unwrap_or_default().try_into()?,
            },
            default_timeout: default_timeout_millis.map(Duration::from_millis),
            cluster: ClusterSettings {
                namespace: Some(namespace).filter(|name| !name.is_empty()),
                placement: placement.unwrap_or_default().try_into()?,
            },
            start_ticket: if start_ticket_waived { StartTicket::Waived } else { StartTicket::Required },
        })
    }
}

impl From<&AppSpec> for pb::AppSpec {
    fn from(spec: &AppSpec) -> Self {
        let AppSpec { source, command, env, resources, services, security_groups, placement } = spec;
        Self {
            source: Some(source.into()),
            command: command.as_ref().map(|command| command.as_str().to_owned()),
            env: Some(env.into()),
            resources: Some((*resources).into()),
            security_groups: Some(security_groups.into()),
            services: services.iter().map(Into::into).collect(),
            placement: Some(placement.into()),
        }
    }
}

impl TryFrom<pb::AppSpec> for AppSpec {
    type Error = BadSpec;

    fn try_from(spec: pb::AppSpec) -> Result<Self, BadSpec> {
        let pb::AppSpec { source, command, env, resources, services, security_groups, placement } = spec;
        Ok(Self {
            source: source.ok_or(BadSpec("source"))?.try_into()?,
            command: command.map(Command::stored),
            env: env.unwrap_or_default().try_into()?,
            resources: resources.unwrap_or_default().try_into()?,
            security_groups: security_groups.unwrap_or_default().try_into()?,
            services: services.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            placement: placement.unwrap_or_default().try_into()?,
        })
    }
}

pub(super) fn class_to_pb(class: Class) -> v1::ReasonClass {
    match class {
        Class::User => v1::ReasonClass::User,
        Class::Infrastructure => v1::ReasonClass::Infrastructure,
        Class::Configuration => v1::ReasonClass::Configuration,
        Class::Unknown => v1::ReasonClass::Unknown,
    }
}

pub(super) fn class_from_pb(class: v1::ReasonClass) -> Option<Class> {
    match class {
        v1::ReasonClass::Unspecified => None,
        v1::ReasonClass::User => Some(Class::User),
        v1::ReasonClass::Infrastructure => Some(Class::Infrastructure),
        v1::ReasonClass::Configuration => Some(Class::Configuration),
        v1::ReasonClass::Unknown => Some(Class::Unknown),
    }
}

/// The number of a class between services is that of the public enum.
pub(super) fn class_from_number(number: u32) -> Option<Class> {
    i32::try_from(number).ok().and_then(|number| v1::ReasonClass::try_from(number).ok()).and_then(class_from_pb)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&TaskSpec> for pb::TaskSpec {
    fn from(spec: &TaskSpec) -> Self {
        let TaskSpec { command, env, resources, timeout, retry, labels } = spec;
        Self {
            command: command.as_str().to_owned(),
            env: Some(env.into()),
            resources: Some((*resources).into()),
            timeout_millis: timeout.map(millis),
            retry: Some(retry.into()),
            labels: labels.clone(),
        }
    }
}

impl From<&RetryPolicy> for pb::RetryRule {
    fn from(policy: &RetryPolicy) -> Self {
        let RetryPolicy { max_attempts, backoff, retry_on, retry_unknown } = policy;
        Self {
            max_attempts: *max_attempts,
            backoff_millis: millis(*backoff),
            retry_on: retry_on.iter().map(|class| class_to_pb(*class) as u32).collect(),
            retry_unknown: *retry_unknown,
        }
    }
}

impl TryFrom<pb::RetryRule> for RetryPolicy {
    type Error = BadSpec;

    fn try_from(rule: pb::RetryRule) -> Result<Self, BadSpec> {
        let pb::RetryRule { max_attempts, backoff_millis, retry_on, retry_unknown } = rule;
        Ok(Self {
            max_attempts,
            backoff: Duration::from_millis(backoff_millis),
            retry_on: retry_on.into_iter().map(class_from_number).collect::<Option<_>>().ok_or(BadSpec("retry_on"))?,
            retry_unknown,
        })
    }
}

impl TryFrom<pb::TaskSpec> for TaskSpec {
    type Error = BadSpec;

    fn try_from(spec: pb::TaskSpec) -> Result<Self, BadSpec> {
        let pb::TaskSpec { command, env, resources, timeout_millis, retry, labels } = spec;
        Ok(Self {
            command: Command::stored(command),
            env: env.unwrap_or_default().into(),
            resources: resources.unwrap_or_default().try_into()?,
            timeout: timeout_millis.map(Duration::from_millis),
            retry: retry.ok_or(BadSpec("retry"))?.try_into()?,
            labels,
        })
    }
}
