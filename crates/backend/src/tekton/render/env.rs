//! A run's variables, and where each of them stands: what is secret in Secrets, of which equal content is one; what only the
//! node knows as references; the rest inline, unless it has a `$`, which somebody would rewrite.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use taskplane_domain::env::{BINDING_ROOT, DATABASE_URL};
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::RunSpec;
use taskplane_domain::service::{database_url, vcap_services};

use super::command::Encoded;
use crate::told::{LANG, PORT, application, limits};

/// Where the files of bindings are mounted.
pub(super) const BINDINGS: &str = "/bindings";

pub(super) struct Variables {
    /// Of Space, App and platform: the same for all Tasks of an App that has not changed.
    pub shared: BTreeMap<String, String>,
    /// Of this Task.
    pub own: BTreeMap<String, String>,
    /// In a pod's terms.
    pub inline: Vec<Value>,
}

/// The last of a name wins: what a cluster has by itself, the Space's and the App's, the Task's, the platform's. Sources of a
/// container's variables count in the order shared, own, inline.
pub(super) fn variables(spec: &RunSpec, resources: Resources, command: Encoded) -> Variables {
    let mut shared = BTreeMap::from([("LANG".to_owned(), LANG.to_owned())]);
    shared.extend(spec.inherited_env.iter().map(|(name, value)| (name.to_owned(), value.reveal().to_owned())));
    shared.extend(limits(resources).into_iter().map(|(name, value)| (name.to_owned(), value)));
    shared.insert("VCAP_APPLICATION".to_owned(), application(spec, resources));
    shared.insert("VCAP_SERVICES".to_owned(), vcap_services(&spec.services).reveal().to_owned());
    let mut own: BTreeMap<String, String> =
        spec.task_env.iter().map(|(name, value)| (name.to_owned(), value.reveal().to_owned())).collect();
    if let Some(uri) = database_url(&spec.services) {
        own.remove(DATABASE_URL);
        shared.insert(DATABASE_URL.to_owned(), uri.reveal().to_owned());
    }
    let of_node = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut inline = vec![
        of_node("CF_INSTANCE_IP", "status.podIP"),
        of_node("CF_INSTANCE_INTERNAL_IP", "status.podIP"),
        of_node("VCAP_APP_HOST", "status.podIP"),
        of_node("CF_INSTANCE_GUID", "metadata.uid"),
        of_node("INSTANCE_GUID", "metadata.uid"),
        // The kubelet's to fill in; Tekton knows no such name.
        json!({"name": "CF_INSTANCE_ADDR", "value": format!("$(CF_INSTANCE_IP):{PORT}")}),
    ];
    let told = [
        ("CF_INSTANCE_PORT", PORT.to_owned()),
        ("CF_TASK_ID", spec.key.task.to_string()),
        ("CF_TASK_NAME", spec.display_name.clone()),
        ("TASKPLANE_TASK", spec.name.to_string()),
        ("TASKPLANE_ATTEMPT", spec.key.attempt.to_string()),
        ("TASKPLANE_RUN", spec.key.to_string()),
    ];
    for (name, value) in told {
        if value.contains('$') {
            own.insert(name.to_owned(), value);
        } else {
            inline.push(json!({"name": name, "value": value}));
        }
    }
    if !spec.services.is_empty() {
        inline.push(json!({"name": BINDING_ROOT, "value": BINDINGS}));
    }
    let Encoded { parts, secret, script: _ } = command;
    own.extend(secret);
    inline.extend(parts.into_iter().map(|(name, value)| json!({"name": name, "value": value})));
    Variables { shared, own, inline }
}
