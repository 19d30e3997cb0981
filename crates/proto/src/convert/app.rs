//! Apps.

use taskplane_domain::app::{App, AppSpec, Command, Push, Source, SourceArchive, parse_image};
use taskplane_domain::env::{self, Env};
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::{AppName, Name, ServiceName, SpaceName};
use taskplane_domain::quantity::{Bytes, CpuMillis, Resources};
use taskplane_domain::retention::Retention;

use crate::convert::placement::{placement_from_pb, placement_to_pb};
use crate::convert::security_group::group_names;
use crate::convert::service::binding_to_pb;
use crate::convert::space::{etag, standing_to_pb};
use crate::convert::time::timestamp_to_pb;
use crate::v1 as pb;

impl From<&Source> for pb::AppSource {
    fn from(source: &Source) -> Self {
        let kind = match source {
            Source::Image(image) => pb::app_source::Kind::Image(image.clone()),
            Source::Archive(SourceArchive { sha256, size_bytes, entry_count, upload: _ }) => {
                pb::app_source::Kind::Archive(pb::SourceArchive {
                    sha256: sha256.clone(),
                    size_bytes: size_bytes.cast_signed(),
                    entry_count: entry_count.cast_signed(),
                })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl From<Resources> for pb::Resources {
    fn from(resources: Resources) -> Self {
        let Resources { memory, disk, cpu } = resources;
        let text = |amount: Option<String>| amount.unwrap_or_default();
        Self {
            memory: text(memory.map(|bytes| bytes.to_string())),
            disk: text(disk.map(|bytes| bytes.to_string())),
            cpu: text(cpu.map(|cpu| cpu.to_string())),
        }
    }
}

/// Amounts as a request writes them; empty means unset. `prefix` is the path of the message: `app.resources`.
pub(super) fn resources_from_pb(prefix: &str, resources: Option<pb::Resources>) -> Result<Resources, Invalid> {
    let pb::Resources { memory, disk, cpu } = resources.unwrap_or_default();
    let mut check = Check::new();
    let mut bytes = |name: &str, text: String| match text.as_str() {
        "" => None,
        text => check.field(&format!("{prefix}.{name}"), text.parse::<Bytes>()),
    };
    let (memory, disk) = (bytes("memory", memory), bytes("disk", disk));
    let cpu = match cpu.as_str() {
        "" => None,
        text => check.field(&format!("{prefix}.cpu"), text.parse::<CpuMillis>()),
    };
    check.finish_with(Some(Resources { memory, disk, cpu }))
}

impl From<&App> for pb::App {
    fn from(app: &App) -> Self {
        let App {
            uid,
            space_uid: _,
            name,
            revision,
            spec,
            task_retention_count,
            standing,
            version,
            created_at,
            updated_at,
        } = app;
        let AppSpec { source, command, env, resources, services, security_groups, placement } = spec;
        Self {
            name: name.to_string(),
            uid: uid.to_string(),
            revision: revision.cast_signed(),
            source: Some(source.into()),
            command: command.as_ref().map(|command| command.as_str().to_owned()).unwrap_or_default(),
            env: Default::default(),
            env_names: env.names().map(str::to_owned).collect(),
            resources: Some((*resources).into()),
            task_only: true,
            create_time: Some(timestamp_to_pb(*created_at)),
            update_time: Some(timestamp_to_pb(*updated_at)),
            etag: etag(*version),
            security_groups: group_names(&name.space, security_groups),
            services: services.iter().map(|binding| binding_to_pb(name, binding)).collect(),
            task_retention_count: task_retention_count.map(u32::cast_signed),
            standing: standing_to_pb(*standing) as i32,
            remains: None,
            placement: placement_to_pb(placement),
        }
    }
}

/// A push whose archive, if it has one, is still on its way.
#[derive(Debug)]
pub struct PushAsked {
    pub push: Push,
    pub source: SourceAsked,
    /// To be bound to, and as what; the push holds none until they are found.
    pub services: Vec<(ServiceName, Name)>,
    pub etag: String,
}

/// What a push says of its source.
#[derive(Debug, PartialEq, Eq)]
pub enum SourceAsked {
    Unchanged,
    Image,
    /// Chunks follow; this is their digest, when the client knows it.
    Archive {
        sha256: Option<String>,
    },
}

impl TryFrom<pb::PushAppSpec> for PushAsked {
    type Error = Invalid;

    fn try_from(spec: pb::PushAppSpec) -> Result<Self, Invalid> {
        let pb::PushAppSpec {
            parent,
            app_id,
            source,
            command,
            env,
            replace_env,
            resources,
            services,
            unset_env,
            etag,
            task_retention_count,
            placement,
        } = spec;
        let mut check = Check::new();
        let space = check.field("app.parent", parent.parse::<SpaceName>());
        let app = check.field("app.app_id", app_id.parse::<Name>());
        let command = match command {
            None => None,
            Some(text) => check.all(Command::parse("app.command", text)),
        };
        let env = check.all(Env::parse("app.env", env, env::INHERITED_MAX));
        let resources = check.all(resources_from_pb("app.resources", resources));
        let task_retention_count = match task_retention_count {
            None => None,
            Some(count) => check.all(Retention::parse_own("app.task_retention_count", count.into())),
        };
        let placement = match placement {
            None => None,
            Some(placement) => {
                let read = placement_from_pb("app.placement", placement);
                check.all(read.and_then(|placement| placement.check("app.placement")))
            }
        };
        let (asked, source) = match source.map(|source| source.kind) {
            None => (SourceAsked::Unchanged, None),
            Some(None) => {
                check.refuse("app.source", "must be an image or an archive");
                (SourceAsked::Unchanged, None)
            }
            Some(Some(pb::app_source::Kind::Image(image))) => {
                (SourceAsked::Image, check.all(parse_image("app.source.image", image)).map(Source::Image))
            }
            Some(Some(pb::app_source::Kind::Archive(pb::SourceArchive { sha256, size_bytes: _, entry_count: _ }))) => {
                let hex = |text: &str| {
                    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
                };
                if !sha256.is_empty() && !hex(&sha256) {
                    check.refuse("app.source.archive.sha256", "must be 64 lower-case hexadecimal digits, or empty");
                }
                (SourceAsked::Archive { sha256: Some(sha256).filter(|text| !text.is_empty()) }, None)
            }
        };
        let mut named = Vec::with_capacity(services.len());
        for (index, pb::PushedService { service, binding_name }) in services.into_iter().enumerate() {
            let binding = if binding_name.is_empty() { service.clone() } else { binding_name };
            let service = check.field(&format!("app.services[{index}].service"), service.parse::<Name>());
            let binding = check.field(&format!("app.services[{index}].binding_name"), binding.parse::<Name>());
            named.extend(service.zip(binding));
        }
        check.finish()?;
        let (Some(space), Some(app), Some(env), Some(resources)) = (space, app, env, resources) else {
            return Err(Invalid::one("app", "is incomplete"));
        };
        let name = AppName { space: space.0, app };
        let in_space = |service: Name| ServiceName { space: name.space.clone(), service };
        let services = named.into_iter().map(|(service, binding)| (in_space(service), binding)).collect();
        let push = Push {
            name,
            source,
            command,
            env,
            replace_env,
            unset_env,
            resources,
            services: Vec::new(),
            task_retention_count,
            placement,
        };
        Ok(Self { push, source: asked, services, etag })
    }
}
