//! Binding Apps to services: an App refers to a revision of each, and a service that changes makes a new revision of every
//! App that is bound to it. So what a Task froze with its App's revision never changes under it.

use jiff::Timestamp;

use crate::app::{App, AppChange, AppSpec};
use crate::event::Fact;
use crate::name::{AppName, Name};
use crate::service::{BINDINGS_MAX, Binding, Offers, ServiceInstance, VCAP_MAX};

/// Why an App cannot be bound as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbindable {
    #[error("{app} has a binding named {binding} already, to service {service}: give another --binding-name")]
    NameTaken { app: AppName, binding: Name, service: Name },
    #[error("{app} is bound to service {service} already, as {binding}: unbind it first")]
    BoundAlready { app: AppName, binding: Name, service: Name },
    #[error("{0} has {BINDINGS_MAX} bindings already, and may have no more")]
    TooMany(AppName),
    #[error("{0} would get more than {VCAP_MAX} bytes of VCAP_SERVICES, which no process takes: bind fewer services")]
    TooLarge(AppName),
}

impl App {
    /// A new revision that says `spec`, or none when the present one does. For all that a revision refers to, whoever changed
    /// it.
    pub fn revised(self, spec: AppSpec, fact: Fact, at: Timestamp) -> Option<AppChange> {
        if spec == self.spec {
            return None;
        }
        let (revision, version) = (self.revision + 1, self.version + 1);
        Some(Self { revision, spec, version, updated_at: at, ..self }.told(fact, at))
    }

    /// None when it is bound so already.
    pub fn bind(self, binding: Binding, at: Timestamp) -> Result<Option<AppChange>, Unbindable> {
        let mut spec = self.spec.clone();
        spec.services = self.with(binding)?;
        Ok(self.revised(spec, Fact::AppUpdated, at))
    }

    /// The bindings it has, and one more.
    pub fn with(&self, new: Binding) -> Result<Vec<Binding>, Unbindable> {
        with(&self.name, self.spec.services.clone(), new)
    }

    /// Without its binding to that service, by the service's name or the binding's. None: there is no such binding.
    pub fn unbind(self, service: &Name, at: Timestamp) -> Option<AppChange> {
        let mut spec = self.spec.clone();
        let of_service = spec.services.iter().position(|binding| binding.instance == *service);
        let index = of_service.or_else(|| spec.services.iter().position(|binding| binding.name == *service))?;
        spec.services.remove(index);
        self.revised(spec, Fact::AppUpdated, at)
    }

    /// With the service as it is now, where the App is bound to it.
    pub fn refreshed(self, service: &ServiceInstance, at: Timestamp) -> Result<Option<AppChange>, Unbindable> {
        let mut spec = self.spec.clone();
        for binding in &mut spec.services {
            if binding.service == service.uid {
                *binding = service.bound_as(binding.name.clone());
            }
        }
        fits(&self.name, &spec.services)?;
        Ok(self.revised(spec, Fact::AppUpdated, at))
    }

    /// The binding that gives a run its `DATABASE_URL`, in place of any variable of that name.
    pub fn gives_database_url(&self) -> Option<&Binding> {
        self.spec.services.iter().find(|binding| binding.offers == Offers::Values { uri: true })
    }
}

/// `services` and one more, where there is room for it. The same again changes nothing.
pub(crate) fn with(app: &AppName, mut services: Vec<Binding>, new: Binding) -> Result<Vec<Binding>, Unbindable> {
    if let Some(there) = services.iter().find(|there| there.service == new.service) {
        if there.name == new.name {
            return Ok(services);
        }
        let (binding, service) = (there.name.clone(), there.instance.clone());
        return Err(Unbindable::BoundAlready { app: app.clone(), binding, service });
    }
    if let Some(there) = services.iter().find(|there| there.name == new.name) {
        let (binding, service) = (new.name, there.instance.clone());
        return Err(Unbindable::NameTaken { app: app.clone(), binding, service });
    }
    if services.len() >= BINDINGS_MAX {
        return Err(Unbindable::TooMany(app.clone()));
    }
    services.push(new);
    fits(app, &services)?;
    Ok(services)
}

fn fits(app: &AppName, services: &[Binding]) -> Result<(), Unbindable> {
    let bytes: usize = services.iter().map(|binding| binding.bytes).sum();
    if bytes <= VCAP_MAX { Ok(()) } else { Err(Unbindable::TooLarge(app.clone())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Push, Source};
    use crate::env::Env;
    use crate::quantity::Resources;
    use crate::service::{BoundService, Credentials, ServiceSpec, database_url, vcap_services};
    use crate::uid::{AppUid, ServiceUid, SpaceUid};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn service(number: u128, credentials: &str) -> ServiceInstance {
        let spec =
            ServiceSpec::parse("pg".into(), "".into(), vec!["sql".into()], credentials.into(), "".into()).unwrap();
        let name = format!("spaces/s/services/s{number}").parse().unwrap();
        ServiceInstance::create(ServiceUid(Uuid::from_u128(number)), SpaceUid(Uuid::nil()), name, spec, NOW).service
    }

    fn app() -> App {
        let push = Push {
            name: "spaces/s/apps/a".parse().unwrap(),
            source: Some(Source::Image("img:1".into())),
            command: None,
            env: Env::default(),
            replace_env: false,
            unset_env: Vec::new(),
            resources: Resources::default(),
            task_retention_count: None,
            placement: None,
            services: Vec::new(),
        };
        App::create(AppUid(Uuid::nil()), SpaceUid(Uuid::nil()), push, NOW).unwrap().app
    }

    fn bound(app: App, service: &ServiceInstance, name: &str) -> App {
        app.bind(service.bound_as(name.parse().unwrap()), NOW).unwrap().unwrap().app
    }

    #[test]
    fn a_binding_makes_a_revision_and_its_repetition_none() {
        let one = service(1, "{}");
        let app = bound(app(), &one, "db");
        assert_eq!((app.revision, app.version), (2, 2));
        assert!(app.clone().bind(one.bound_as("db".parse().unwrap()), NOW).unwrap().is_none());
        let again = app.clone().bind(one.bound_as("other".parse().unwrap()), NOW).unwrap_err();
        assert!(matches!(again, Unbindable::BoundAlready { .. }));
        let taken = app.clone().bind(service(2, "{}").bound_as("db".parse().unwrap()), NOW).unwrap_err();
        assert!(matches!(taken, Unbindable::NameTaken { .. }));
        assert!(app.clone().unbind(&"nothing".parse().unwrap(), NOW).is_none());
        for name in ["s1", "db"] {
            assert!(app.clone().unbind(&name.parse().unwrap(), NOW).unwrap().app.spec.services.is_empty());
        }
    }

    #[test]
    fn a_changed_service_revises_who_is_bound_to_it_and_nobody_else() {
        let one = service(1, "{}");
        let app = bound(bound(app(), &one, "a"), &service(2, "{\"uri\":\"x\"}"), "b");
        assert_eq!(app.gives_database_url().unwrap().name.as_str(), "b");
        let spec = ServiceSpec { credentials: service(3, "{\"uri\":\"y\"}").spec.credentials, ..one.spec.clone() };
        let changed = one.update(spec, NOW).unwrap().service;
        let after = app.clone().refreshed(&changed, NOW).unwrap().unwrap().app;
        let revisions: Vec<_> = after.spec.services.iter().map(|binding| binding.revision).collect();
        assert_eq!((after.revision, revisions), (app.revision + 1, vec![2, 1]));
        assert_eq!(after.gives_database_url().unwrap().name.as_str(), "a");
        assert!(app.refreshed(&service(9, "{}"), NOW).unwrap().is_none());
    }

    #[test]
    fn what_no_process_takes_is_not_bound() {
        let large = |number| service(number, &format!("{{\"a\":\"{}\"}}", "x".repeat(50_000)));
        let app = bound(bound(app(), &large(1), "a"), &large(2), "b");
        let refused = app.clone().bind(large(3).bound_as("c".parse().unwrap()), NOW);
        assert_eq!(refused.unwrap_err(), Unbindable::TooLarge(app.name.clone()));
        let bytes: usize = app.spec.services.iter().map(|binding| binding.bytes).sum();
        let services: Vec<_> = [(1, "a"), (2, "b")]
            .map(|(number, name)| {
                let service = large(number);
                BoundService { binding: name.parse().unwrap(), instance: service.name.service, spec: service.spec }
            })
            .into();
        assert!(vcap_services(&services).reveal().len() <= bytes + 2);
    }

    #[test]
    fn vcap_services_holds_credentials_to_the_byte() {
        let one = service(1, r#"{"port":5432.0,"uri":"postgres://u:p\u0040h","n":[1e3]}"#);
        let services = [BoundService { binding: "db".parse().unwrap(), instance: one.name.service, spec: one.spec }];
        let vcap = vcap_services(&services);
        assert_eq!(
            vcap.reveal(),
            r#"{"pg":[{"binding_name":"db","instance_name":"s1","name":"db","label":"pg","tags":["sql"],"plan":"","credentials":{"port":5432.0,"uri":"postgres://u:p\u0040h","n":[1e3]},"volume_mounts":[]}]}"#
        );
        assert_eq!(database_url(&services).unwrap().reveal(), "postgres://u:p@h");
        let Credentials::Given(text) = &services[0].spec.credentials else { panic!("given") };
        let values = text.values();
        let told: Vec<_> = values.iter().map(|(key, value)| (key.as_str(), value.reveal())).collect();
        assert_eq!(told, [("port", "5432.0"), ("uri", "postgres://u:p@h"), ("n", "[1e3]")]);
        assert_eq!(vcap_services(&[]).reveal(), "{}");
    }

    #[test]
    fn a_service_is_checked_field_by_field() {
        let parse = |label: &str, tags: &[&str], credentials: &str, secret: &str| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            ServiceSpec::parse(label.into(), "".into(), tags, credentials.into(), secret.into())
                .map_err(|invalid| invalid.violations[0].field.clone())
        };
        assert_eq!(parse("", &[], "", "").unwrap().label, "user-provided");
        for (label, tags, credentials, secret, field) in [
            ("a\nb", &[][..], "", "", "service.label"),
            ("", &["a", ""], "", "", "service.tags[1]"),
            ("", &["a", "a"], "", "", "service.tags[1]"),
            ("", &["\u{1b}"], "", "", "service.tags[0]"),
            ("", &[], "[]", "", "service.credentials"),
            ("", &[], "{\"a\":1,\"a\":2}", "", "service.credentials"),
            ("", &[], "{}", "name", "service.secret_name"),
            ("", &[], "", "Not A Name", "service.secret_name"),
        ] {
            assert_eq!(parse(label, tags, credentials, secret).unwrap_err(), field);
        }
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024 - 8));
        assert!(parse("", &[], &large, "").is_ok());
        assert!(parse("", &[], &format!("{large} "), "").is_err());
    }

    #[test]
    fn credentials_are_never_printed() {
        let refused = ServiceSpec::parse("".into(), "".into(), vec![], "{\"a\": canary".into(), "".into()).unwrap_err();
        let fine = service(1, "{\"a\":\"canary\"}");
        assert!(!format!("{refused} {refused:?} {fine:?}").contains("canary"));
    }
}
