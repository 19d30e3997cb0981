//! Tables and fact sheets about services, bindings and environments: names, and never what they hold.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use taskplane_proto::v1::{App, ServiceBinding, ServiceInstance, Space};

use super::table::{columns, facts};
use crate::{clock, names};

/// Where a credential stands, in place of it.
const REDACTED: &str = "[redacted]";

pub fn services(services: &[ServiceInstance], now: Timestamp) -> String {
    columns(
        ["Name", "Label", "Plan", "Tags", "Revision", "Age"],
        services.iter().map(|service| {
            [
                names::last(&service.name).to_owned(),
                service.label.clone(),
                service.plan.clone(),
                service.tags.join(", "),
                service.revision.to_string(),
                clock::between(service.create_time, None, now).unwrap_or_default(),
            ]
        }),
    )
}

pub fn service(service: &ServiceInstance, now: Timestamp) -> String {
    let bound = service.bound_apps.iter().map(|bound| format!("{} as {}", names::last(&bound.app), bound.binding_name));
    facts([
        ("Name", names::last(&service.name).to_owned()),
        ("Resource", service.name.clone()),
        ("Label", service.label.clone()),
        ("Plan", service.plan.clone()),
        ("Tags", service.tags.join(", ")),
        ("Credentials", service.credential_keys.join(", ")),
        ("Secret", service.secret_name.clone()),
        ("Bound to", bound.collect::<Vec<_>>().join(", ")),
        ("Revision", service.revision.to_string()),
        ("Age", clock::between(service.create_time, None, now).unwrap_or_default()),
    ])
}

pub fn bindings(apps: &[App]) -> String {
    let rows = apps.iter().flat_map(|app| app.services.iter().map(move |bound| (app, bound)));
    columns(
        ["Binding", "App", "Service", "Revision"],
        rows.map(|(app, bound)| {
            [
                bound.binding_name.clone(),
                names::last(&app.name).to_owned(),
                names::last(&bound.service).to_owned(),
                bound.revision.to_string(),
            ]
        }),
    )
}

/// `VCAP_SERVICES` as a Task would get it, but for what nobody is told.
pub fn vcap_services(bound: &[(ServiceBinding, ServiceInstance)]) -> String {
    let mut labels = Map::new();
    for (binding, service) in bound {
        let keys = service.credential_keys.iter().map(|key| (key.clone(), REDACTED.into()));
        let entry = json!({
            "binding_name": binding.binding_name,
            "instance_name": names::last(&service.name),
            "name": binding.binding_name,
            "label": service.label,
            "tags": service.tags,
            "plan": service.plan,
            "credentials": keys.collect::<Map<String, Value>>(),
            "volume_mounts": [],
        });
        let of_label = labels.entry(service.label.clone()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(entries) = of_label {
            entries.push(entry);
        }
    }
    serde_json::to_string_pretty(&labels).unwrap_or_default()
}

/// An App's variable replaces the Space's of that name.
pub fn env(app: &App, space: &Space) -> String {
    let of_space = space.env_names.iter().filter(|name| !app.env_names.contains(name)).map(|name| (name, "Space"));
    let mut all: Vec<_> = app.env_names.iter().map(|name| (name, "App")).chain(of_space).collect();
    all.sort_unstable();
    columns(["Variable", "From"], all.into_iter().map(|(name, from)| [name.clone(), from.to_owned()]))
}

pub fn space_env(space: &Space) -> String {
    columns(["Variable"], space.env_names.iter().map(|name| [name.clone()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(name: &str, label: &str, keys: &[&str]) -> (ServiceBinding, ServiceInstance) {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let binding = ServiceBinding { binding_name: name.to_owned(), ..ServiceBinding::default() };
        let name = format!("spaces/s/services/{name}-instance");
        (
            binding,
            ServiceInstance { name, label: label.to_owned(), credential_keys: keys, ..ServiceInstance::default() },
        )
    }

    #[test]
    fn vcap_services_shows_where_credentials_stand() {
        let text = vcap_services(&[bound("a", "pg", &["uri"]), bound("b", "mq", &[]), bound("c", "pg", &[])]);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["pg"][0]["credentials"], json!({"uri": "[redacted]"}));
        assert_eq!(value["pg"][0]["instance_name"], "a-instance");
        assert_eq!((value["pg"][1]["name"].as_str(), value["mq"][0]["name"].as_str()), (Some("c"), Some("b")));
        assert_eq!(vcap_services(&[]), "{}");
    }

    #[test]
    fn an_environment_says_where_each_name_comes_from() {
        let app = App { env_names: vec!["B".into(), "A".into()], ..App::default() };
        let space = Space { env_names: vec!["B".into(), "C".into()], ..Space::default() };
        let lines: Vec<String> =
            env(&app, &space).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["Variable From", "A App", "B App", "C Space"]);
    }
}
