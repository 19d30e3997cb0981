//! Services: what Apps are bound to, with the credentials to use it. A change makes a revision, and a revision never
//! changes.

use std::fmt;

use jiff::Timestamp;

use crate::env::Secret;
use crate::event::{Event, EventData, Fact, Subject};
use crate::invalid::{Check, Invalid};
use crate::json;
use crate::name::{Name, ServiceName};
use crate::uid::{ServiceUid, SpaceUid};

/// Bytes of a service's credentials, as text.
pub const CREDENTIALS_MAX: usize = 64 * 1024;
/// How deep they may be nested.
pub const CREDENTIALS_DEPTH: usize = 16;
/// What a service is called by those who look for its kind, unless it says otherwise.
pub const LABEL_DEFAULT: &str = "user-provided";
/// Apps that one service may be bound to: a change of it revises them all at once.
pub const BOUND_MAX: usize = 100;
/// Bytes of `VCAP_SERVICES`: no process takes a variable beyond 128 KiB.
pub const VCAP_MAX: usize = 120 * 1024;
/// Services that one App may be bound to.
pub const BINDINGS_MAX: usize = 32;

const TEXT_MAX: usize = 128;
const TAGS_MAX: usize = 32;
const SECRET_NAME_MAX: usize = 253;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInstance {
    pub uid: ServiceUid,
    pub space_uid: SpaceUid,
    pub name: ServiceName,
    pub spec: ServiceSpec,
    /// Grows by one with each change, and numbers that change's event.
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What one revision says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    pub label: String,
    pub plan: String,
    pub tags: Vec<String>,
    pub credentials: Credentials,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    Given(CredentialText),
    /// They stand in a Secret of this name in the cluster.
    InSecret(String),
}

/// A JSON object as it was written: checked, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialText {
    text: Secret,
    keys: Vec<String>,
}

impl fmt::Debug for CredentialText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[credentials]")
    }
}

impl CredentialText {
    pub fn parse(field: &str, text: String) -> Result<Self, Invalid> {
        if text.len() > CREDENTIALS_MAX {
            return Err(Invalid::one(field, format!("must be at most {CREDENTIALS_MAX} bytes long")));
        }
        let entries =
            json::entries(&text, CREDENTIALS_DEPTH).map_err(|error| Invalid::one(field, error.to_string()))?;
        let mut keys: Vec<String> = entries.into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        Ok(Self { text: Secret::new(text), keys })
    }

    pub fn reveal(&self) -> &str {
        self.text.reveal()
    }

    /// Sorted.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Each credential by its name: a string as what it says, anything else as JSON.
    pub fn values(&self) -> Vec<(String, Secret)> {
        let entries = json::entries(self.reveal(), CREDENTIALS_DEPTH).unwrap_or_default();
        let value = |text: &str| Secret::new(json::string(text).unwrap_or_else(|| text.to_owned()));
        entries.into_iter().map(|(key, text)| (key, value(text))).collect()
    }

    /// What becomes of `DATABASE_URL`.
    pub fn uri(&self) -> Option<Secret> {
        let entries = json::entries(self.reveal(), CREDENTIALS_DEPTH).ok()?;
        let uri = entries.into_iter().find(|(key, _)| key == "uri").and_then(|(_, text)| json::string(text))?;
        (!uri.is_empty() && !uri.contains('\0')).then(|| Secret::new(uri))
    }
}

impl ServiceSpec {
    /// Empty label: the default one. `credentials` is a JSON object, `secret` the name of a Secret: one of them.
    pub fn parse(
        label: String,
        plan: String,
        tags: Vec<String>,
        credentials: String,
        secret: String,
    ) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let label = if label.is_empty() { LABEL_DEFAULT.to_owned() } else { label };
        for (field, text) in [("service.label", &label), ("service.plan", &plan)] {
            check_text(&mut check, field, text);
        }
        if tags.len() > TAGS_MAX {
            check.refuse("service.tags", format!("must be at most {TAGS_MAX}"));
        }
        for (index, tag) in tags.iter().enumerate() {
            let field = format!("service.tags[{index}]");
            if tag.is_empty() {
                check.refuse(field, "must not be empty");
            } else if tags.iter().take(index).any(|before| before == tag) {
                check.refuse(field, "must not be there twice");
            } else {
                check_text(&mut check, &field, tag);
            }
        }
        let credentials = match (credentials.is_empty(), secret.is_empty()) {
            (false, false) => {
                check.refuse("service.secret_name", "must not be set together with credentials: one of them");
                None
            }
            (true, false) => check.all(secret_name(secret)).map(Credentials::InSecret),
            (true, true) => {
                check.all(CredentialText::parse("service.credentials", "{}".into())).map(Credentials::Given)
            }
            (false, true) => {
                check.all(CredentialText::parse("service.credentials", credentials)).map(Credentials::Given)
            }
        };
        let spec = credentials.map(|credentials| Self { label, plan, tags, credentials });
        check.finish_with(spec)
    }
}

fn check_text(check: &mut Check, field: &str, text: &str) {
    if text.chars().count() > TEXT_MAX {
        check.refuse(field, format!("must be at most {TEXT_MAX} characters long"));
    } else if text.chars().any(char::is_control) {
        check.refuse(field, "must not contain control characters");
    }
}

/// As Kubernetes has them.
fn secret_name(text: String) -> Result<String, Invalid> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let fine = text.len() <= SECRET_NAME_MAX
        && text.bytes().all(inner)
        && edge(text.bytes().next())
        && edge(text.bytes().next_back());
    if fine {
        Ok(text)
    } else {
        Err(Invalid::one(
            "service.secret_name",
            "must be the name of a Secret: a-z, 0-9, - and ., at most 253 characters",
        ))
    }
}

/// A service as it is to be, with the event that says so.
#[derive(Debug, Clone)]
pub struct ServiceChange {
    pub service: ServiceInstance,
    pub event: Event,
}

impl ServiceInstance {
    pub fn create(
        uid: ServiceUid,
        space_uid: SpaceUid,
        name: ServiceName,
        spec: ServiceSpec,
        at: Timestamp,
    ) -> ServiceChange {
        Self { uid, space_uid, name, spec, revision: 1, created_at: at, updated_at: at }.told(Fact::ServiceCreated, at)
    }

    /// None when everything is as it is to be.
    pub fn update(self, spec: ServiceSpec, at: Timestamp) -> Option<ServiceChange> {
        if spec == self.spec {
            return None;
        }
        let revision = self.revision + 1;
        Some(Self { spec, revision, updated_at: at, ..self }.told(Fact::ServiceUpdated, at))
    }

    pub fn delete(self, at: Timestamp) -> ServiceChange {
        let revision = self.revision + 1;
        Self { revision, updated_at: at, ..self }.told(Fact::ServiceDeleted, at)
    }

    fn told(self, fact: Fact, at: Timestamp) -> ServiceChange {
        let event = Event {
            uid: self.uid.0,
            sequence: self.revision.into(),
            subject: Subject::Service(self.name.clone()),
            fact,
            at,
            data: EventData::Service { revision: self.revision },
            trace: None,
        };
        ServiceChange { service: self, event }
    }

    /// How an App refers to it as it is now.
    pub fn bound_as(&self, name: Name) -> Binding {
        let offers = match &self.spec.credentials {
            Credentials::Given(text) => Offers::Values { uri: text.uri().is_some() },
            Credentials::InSecret(_) => Offers::Secret,
        };
        let bound =
            BoundService { binding: name.clone(), instance: self.name.service.clone(), spec: self.spec.clone() };
        let bytes = bound.vcap_entry().len() + json::quoted(&self.spec.label).len() + ",:[]".len();
        Binding { name, service: self.uid, instance: self.name.service.clone(), revision: self.revision, offers, bytes }
    }
}

/// An App's hold on a service: part of the App's revision, and of a revision of the service. So a Task that froze the one
/// froze the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Unique within the App.
    pub name: Name,
    pub service: ServiceUid,
    pub instance: Name,
    pub revision: u32,
    pub offers: Offers,
    /// What it takes of `VCAP_SERVICES`.
    pub bytes: usize,
}

/// What a run gets of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// Credentials that we hold; with a `uri` among them it gives `DATABASE_URL`.
    Values { uri: bool },
    /// The cluster holds them.
    Secret,
}

/// A service as a run gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundService {
    pub binding: Name,
    pub instance: Name,
    pub spec: ServiceSpec,
}

impl BoundService {
    fn vcap_entry(&self) -> String {
        let Self { binding, instance, spec: ServiceSpec { label, plan, tags, credentials } } = self;
        let tags: Vec<String> = tags.iter().map(|tag| json::quoted(tag)).collect();
        let credentials = match credentials {
            Credentials::Given(text) => text.reveal(),
            // Who reads the Secret puts them there.
            Credentials::InSecret(_) => "{}",
        };
        format!(
            "{{\"binding_name\":{name},\"instance_name\":{instance},\"name\":{name},\"label\":{label},\"tags\":[{tags}],\
             \"plan\":{plan},\"credentials\":{credentials},\"volume_mounts\":[]}}",
            name = json::quoted(binding.as_str()),
            instance = json::quoted(instance.as_str()),
            label = json::quoted(label),
            tags = tags.join(","),
            plan = json::quoted(plan),
        )
    }
}

/// `VCAP_SERVICES`: the services by their labels, each label's in the order in which they were bound.
pub fn vcap_services(services: &[BoundService]) -> Secret {
    let mut labels: Vec<&str> = Vec::new();
    for service in services {
        if !labels.contains(&service.spec.label.as_str()) {
            labels.push(&service.spec.label);
        }
    }
    let of = |label: &str| {
        let entries = services.iter().filter(|service| service.spec.label == label).map(BoundService::vcap_entry);
        format!("{}:[{}]", json::quoted(label), entries.collect::<Vec<_>>().join(","))
    };
    Secret::new(format!("{{{}}}", labels.into_iter().map(of).collect::<Vec<_>>().join(",")))
}

/// `DATABASE_URL`: the `uri` of the first binding that has one.
pub fn database_url(services: &[BoundService]) -> Option<Secret> {
    services.iter().find_map(|service| match &service.spec.credentials {
        Credentials::Given(text) => text.uri(),
        Credentials::InSecret(_) => None,
    })
}
