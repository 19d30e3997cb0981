//! Services and how Apps are bound to them.

use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::{AppName, Name, ServiceName, SpaceName};
use taskplane_domain::service::{
    Binding, BoundService, CredentialText, Credentials, Offers, ServiceInstance, ServiceSpec,
};
use taskplane_domain::uid::ServiceUid;

use crate::convert::space::etag;
use crate::convert::spec::BadSpec;
use crate::convert::time::timestamp_to_pb;
use crate::internal::v1 as internal;
use crate::v1 as pb;

/// A service as a client sees it: which credentials there are, and not what they hold.
pub fn service_to_pb(service: &ServiceInstance, bound: &[(AppName, Name)]) -> pb::ServiceInstance {
    let ServiceInstance { uid, space_uid: _, name, spec, revision, created_at, updated_at } = service;
    let ServiceSpec { label, plan, tags, credentials } = spec;
    let (credential_keys, secret_name) = match credentials {
        Credentials::Given(text) => (text.keys().to_vec(), String::new()),
        Credentials::InSecret(name) => (Vec::new(), name.clone()),
    };
    let bound_apps = bound
        .iter()
        .map(|(app, binding)| pb::BoundApp { app: app.to_string(), binding_name: binding.to_string() })
        .collect();
    pb::ServiceInstance {
        name: name.to_string(),
        uid: uid.to_string(),
        label: label.clone(),
        plan: plan.clone(),
        tags: tags.clone(),
        credentials: String::new(),
        credential_keys,
        secret_name,
        revision: revision.cast_signed(),
        bound_apps,
        create_time: Some(timestamp_to_pb(*created_at)),
        update_time: Some(timestamp_to_pb(*updated_at)),
        etag: etag((*revision).into()),
    }
}

/// Where a service is to be, and what it is to say.
pub fn service_asked(request: pb::CreateServiceInstanceRequest) -> Result<(ServiceName, ServiceSpec), Invalid> {
    let pb::CreateServiceInstanceRequest { parent, service_id, service } = request;
    let mut check = Check::new();
    let space = check.field("parent", parent.parse::<SpaceName>());
    let service_name = check.field("service_id", service_id.parse::<Name>());
    let pb::ServiceInstance { label, plan, tags, credentials, secret_name, .. } = service.unwrap_or_default();
    let spec = check.all(ServiceSpec::parse(label, plan, tags, credentials, secret_name));
    let name = space.zip(service_name).map(|(SpaceName(space), service)| ServiceName { space, service });
    check.finish_with(name.zip(spec))
}

/// `before`, with the fields that `mask` names taken from `asked`.
pub fn service_masked(
    before: &ServiceSpec,
    asked: pb::ServiceInstance,
    mask: Option<&prost_types::FieldMask>,
) -> Result<ServiceSpec, Invalid> {
    const PATHS: &str = "label, plan, tags, credentials, secret_name";
    let pb::ServiceInstance { label, plan, tags, credentials, secret_name, .. } = asked;
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    let mut check = Check::new();
    if paths.is_empty() {
        check.refuse("update_mask", format!("must name what to change: {PATHS}"));
    }
    let names = |path: &str| paths.iter().any(|named| named == path);
    if !paths.iter().all(|path| PATHS.split(", ").any(|known| known == path)) {
        check.refuse("update_mask", format!("can only name {PATHS}"));
    }
    let said = |field: &str, text: String| if names(field) { text } else { String::new() };
    let whole = check.all(ServiceSpec::parse(
        said("label", label),
        said("plan", plan),
        if names("tags") { tags } else { Vec::new() },
        said("credentials", credentials),
        said("secret_name", secret_name),
    ));
    let mut after = before.clone();
    if let Some(ServiceSpec { label, plan, tags, credentials }) = whole {
        if names("label") {
            after.label = label;
        }
        if names("plan") {
            after.plan = plan;
        }
        if names("tags") {
            after.tags = tags;
        }
        if names("credentials") || names("secret_name") {
            after.credentials = credentials;
        }
    }
    check.finish_with(Some(after))
}

impl From<&Binding> for internal::ServiceRef {
    fn from(binding: &Binding) -> Self {
        let Binding { name, service, instance, revision, offers, bytes } = binding;
        Self {
            binding: name.to_string(),
            service_uid: service.to_string(),
            instance: instance.to_string(),
            revision: *revision,
            offers: match offers {
                Offers::Secret => 0,
                Offers::Values { uri: false } => 1,
                Offers::Values { uri: true } => 2,
            },
            bytes: *bytes as u64,
        }
    }
}

impl TryFrom<internal::ServiceRef> for Binding {
    type Error = BadSpec;

    fn try_from(bound: internal::ServiceRef) -> Result<Self, BadSpec> {
        let internal::ServiceRef { binding, service_uid, instance, revision, offers, bytes } = bound;
        Ok(Self {
            name: binding.parse().map_err(|_| BadSpec("services.binding"))?,
            service: ServiceUid(service_uid.parse().map_err(|_| BadSpec("services.service_uid"))?),
            instance: instance.parse().map_err(|_| BadSpec("services.instance"))?,
            revision,
            offers: match offers {
                0 => Offers::Secret,
                1 => Offers::Values { uri: false },
                2 => Offers::Values { uri: true },
                _ => return Err(BadSpec("services.offers")),
            },
            bytes: usize::try_from(bytes).map_err(|_| BadSpec("services.bytes"))?,
        })
    }
}

pub(super) fn binding_to_pb(app: &AppName, binding: &Binding) -> pb::ServiceBinding {
    let Binding { name, service: _, instance, revision, offers: _, bytes: _ } = binding;
    pb::ServiceBinding {
        binding_name: name.to_string(),
        service: ServiceName { space: app.space.clone(), service: instance.clone() }.to_string(),
        revision: revision.cast_signed(),
    }
}

impl From<&ServiceSpec> for internal::ServiceSpec {
    fn from(spec: &ServiceSpec) -> Self {
        use internal::service_spec::Credentials as Pb;
        let ServiceSpec { label, plan, tags, credentials } = spec;
        let credentials = match credentials {
            Credentials::Given(text) => Pb::Given(text.reveal().to_owned()),
            Credentials::InSecret(name) => Pb::InSecret(name.clone()),
        };
        Self { label: label.clone(), plan: plan.clone(), tags: tags.clone(), credentials: Some(credentials) }
    }
}

/// What is sealed must be opened first.
impl TryFrom<internal::ServiceSpec> for ServiceSpec {
    type Error = BadSpec;

    fn try_from(spec: internal::ServiceSpec) -> Result<Self, BadSpec> {
        use internal::service_spec::Credentials as Pb;
        let internal::ServiceSpec { label, plan, tags, credentials } = spec;
        let credentials = match credentials {
            Some(Pb::Given(text)) => {
                let text = CredentialText::parse("credentials", text).map_err(|_| BadSpec("credentials"))?;
                Credentials::Given(text)
            }
            Some(Pb::InSecret(name)) => Credentials::InSecret(name),
            Some(Pb::Sealed(_)) | None => return Err(BadSpec("credentials")),
        };
        Ok(Self { label, plan, tags, credentials })
    }
}

impl From<&BoundService> for internal::BoundService {
    fn from(bound: &BoundService) -> Self {
        let BoundService { binding, instance, spec } = bound;
        Self { binding: binding.to_string(), instance: instance.to_string(), spec: Some(spec.into()) }
    }
}

impl TryFrom<internal::BoundService> for BoundService {
    type Error = BadSpec;

    fn try_from(bound: internal::BoundService) -> Result<Self, BadSpec> {
        let internal::BoundService { binding, instance, spec } = bound;
        Ok(Self {
            binding: binding.parse().map_err(|_| BadSpec("services.binding"))?,
            instance: instance.parse().map_err(|_| BadSpec("services.instance"))?,
            spec: spec.ok_or(BadSpec("services.spec"))?.try_into()?,
        })
    }
}
