//! A run's spec as objects of the cluster. Pure, and the same each time: who makes a run twice makes the same run.

mod command;
mod env;
mod guard;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use taskplane_domain::app::Source;
use taskplane_domain::placement::{Effect, Placement, Toleration};
use taskplane_domain::quantity::{Bytes, CpuMillis, Resources};
use taskplane_domain::run::{NamingKey, RunSpec};
use taskplane_domain::service::{BoundService, Credentials};
use taskplane_domain::task::Reason;

use super::config::{PodSecurity, TektonConfig};
use super::names;
use crate::BackendError;
use crate::told::binding_files;

/// Tekton copies each byte of it four times, and the cluster's own bound is not much higher.
const RUN_MAX: usize = 128 * 1024;
/// As Kf has it, where nobody says.
const MEMORY: u64 = 1 << 30;
const DISK: u64 = 1 << 30;
const CPU: u64 = 100;
/// Between the last limit inside a run and the one around it.
const MARGIN: Duration = Duration::from_secs(300);
/// `r--r-----`: readable for the group that the pod's files belong to.
const BINDING_MODE: u32 = 0o440;

/// Everything of one run, in the order in which it is to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rendered {
    pub name: String,
    pub namespace: String,
    pub account: Value,
    /// Ours, immutable: one of the same name is the same.
    pub secrets: Vec<Value>,
    /// Somebody else's, which must be there.
    pub foreign_secrets: Vec<String>,
    pub policy: Option<Value>,
    pub run: Value,
    /// It asks before it starts.
    pub guarded: bool,
    /// Of what the control plane said: an object of this name with another is not this run.
    pub hash: String,
}

/// `pins` are what guards are to know their executor by.
pub(super) fn render(
    spec: &RunSpec,
    config: &TektonConfig,
    pins: &[String],
    namespace: &str,
) -> Result<Rendered, BackendError> {
    let image = match &spec.source {
        Source::Image(image) => image,
        Source::Archive(_) => {
            return Err(refused("an App from source needs an image to run in a cluster: push it as one"));
        }
    };
    let resources = spec.resources.or(defaults());
    let command = command::encoded(spec.command.as_str());
    let script = command.script.clone();
    let variables = env::variables(spec, resources, command);
    let key = &spec.cluster.naming_key;
    let app = names::app_id(spec.app_uid);
    let mut secrets = vec![secret(&format!("env-{app}"), key, &variables.shared)];
    let mut sources = vec![name_of(&secrets[0])];
    if !variables.own.is_empty() {
        // Named after the run: no other has it, and it goes with it.
        let name = names::own_secret(&spec.key.to_string());
        secrets.push(immutable(&name, &variables.own));
        sources.push(name);
    }
    let guard = guard::asking(spec, config, pins);
    secrets.extend(guard.as_ref().map(|guard| guard.secret.clone()));
    let bindings = Bindings::of(spec, &app);
    secrets.extend(bindings.secret.clone());
    for secret in &mut secrets {
        secret["metadata"]["namespace"] = namespace.into();
        secret["metadata"]["labels"] = json!({names::MANAGED: "true", names::APP: app});
    }
    let policy = policy::policy(namespace, &spec.security_groups);
    let account = account_name(spec);
    let mut step = json!({
        "name": names::STEP,
        "image": image,
        "command": ["/bin/sh", "-c"],
        "args": [script],
        "envFrom": sources.iter().map(|name| json!({"secretRef": {"name": name}})).collect::<Vec<_>>(),
        "env": variables.inline,
        "computeResources": compute(resources),
        "securityContext": confined(config),
    });
    if let Some(timeout) = spec.timeout {
        step["timeout"] = duration(timeout).into();
    }
    if !bindings.mounts.is_empty() {
        step["volumeMounts"] = bindings.mounts.into();
    }
    let (guarded, first) = (guard.is_some(), guard.map(|guard| guard.step));
    let mut task_spec = json!({"steps": first.into_iter().chain([step]).collect::<Vec<_>>()});
    if !bindings.volumes.is_empty() {
        task_spec["volumes"] = bindings.volumes.into();
    }
    let (whole, inner) = timeouts(spec.timeout, guarded, config);
    let mut labels = labels(spec);
    if let Some((name, _)) = &policy {
        labels.insert(names::NETPOL.to_owned(), name.as_str().into());
    }
    let hash = hash(spec, resources);
    let mut annotations = Map::new();
    annotations.insert(names::SPEC_HASH.to_owned(), hash.as_str().into());
    annotations.insert(names::SECRETS.to_owned(), secrets.iter().map(name_of).collect::<Vec<_>>().join(",").into());
    if guarded {
        annotations.insert(names::GUARDED.to_owned(), "true".into());
    }
    if let Some(trace) = &spec.trace {
        annotations.insert(names::SPAN_CONTEXT.to_owned(), json!({"traceparent": trace}).to_string().into());
    }
    let run = json!({
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {
            "name": spec.key.to_string(),
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "status": names::INERT,
            "timeouts": {"pipeline": whole},
            "taskRunTemplate": {"serviceAccountName": account, "podTemplate": pod_template(spec, config)},
            "pipelineSpec": {"tasks": [{"name": "task", "retries": 0, "timeout": inner, "taskSpec": task_spec}]},
        },
    });
    let size = run.to_string().len();
    if size > RUN_MAX {
        return Err(refused(&format!("the run would take {size} bytes in the cluster, at most {RUN_MAX} may be")));
    }
    Ok(Rendered {
        name: spec.key.to_string(),
        namespace: namespace.to_owned(),
        account: json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": namespace, "labels": {names::MANAGED: "true", names::APP: app}},
            "automountServiceAccountToken": false,
        }),
        secrets,
        foreign_secrets: bindings.foreign,
        policy: policy.map(|(_, policy)| policy),
        run,
        guarded,
        hash,
    })
}

fn refused(message: &str) -> BackendError {
    BackendError::NotMade { reason: Reason::InvalidSpec, message: message.to_owned() }
}

fn defaults() -> Resources {
    Resources { memory: Bytes::new(MEMORY).ok(), disk: Bytes::new(DISK).ok(), cpu: CpuMillis::new(CPU).ok() }
}

/// Memory and disk are what they are, no more and no less; CPU is what is there, and at least that.
fn compute(Resources { memory, disk, cpu }: Resources) -> Value {
    let mut limits = Map::new();
    limits.extend(memory.map(|memory| ("memory".to_owned(), memory.to_string().into())));
    limits.extend(disk.map(|disk| ("ephemeral-storage".to_owned(), disk.to_string().into())));
    let mut requests = limits.clone();
    requests.extend(cpu.map(|cpu| ("cpu".to_owned(), cpu.to_string().into())));
    json!({"requests": requests, "limits": limits})
}

fn confined(config: &TektonConfig) -> Value {
    match config.pod_security {
        PodSecurity::Privileged => json!({}),
        PodSecurity::Baseline | PodSecurity::Restricted => {
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
        }
    }
}

fn account_name(spec: &RunSpec) -> String {
    format!("task-{}", spec.name.app)
}

fn labels(spec: &RunSpec) -> Map<String, Value> {
    let mut labels = Map::new();
    let mut say = |key: &str, value: String| labels.insert(key.to_owned(), value.into());
    say("app.kubernetes.io/name", spec.name.app.to_string());
    say("app.kubernetes.io/component", "task".to_owned());
    say("app.kubernetes.io/part-of", "taskplane".to_owned());
    say(names::MANAGED, "true".to_owned());
    say(names::TASK, names::task_id(spec.key.task));
    say(names::ATTEMPT, spec.key.attempt.to_string());
    say(names::NUMBER, spec.name.id.to_string());
    say(names::APP, names::app_id(spec.app_uid));
    say(names::APP_NAME, spec.name.app.to_string());
    say(names::SPACE, names::space_id(spec.space_uid));
    say(names::SPACE_NAME, spec.name.space.to_string());
    say(names::SHARD, names::shard(spec.space_uid));
    if let Some((uid, name)) = &spec.cluster.job {
        say(names::JOB, uid.0.simple().to_string());
        say(names::JOB_NAME, name.to_string());
    }
    labels
}

fn pod_template(spec: &RunSpec, config: &TektonConfig) -> Value {
    let user = config.run_as_user;
    let mut security =
        json!({"runAsUser": user, "runAsGroup": user, "fsGroup": user, "seccompProfile": {"type": "RuntimeDefault"}});
    if user != 0 {
        security["runAsNonRoot"] = true.into();
    }
    let mut template = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": security,
    });
    if !config.pull_secrets.is_empty() {
        template["imagePullSecrets"] = config.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    }
    let Placement { node_labels, tolerations, priority_class } = &spec.cluster.placement;
    if !node_labels.is_empty() {
        template["nodeSelector"] = json!(node_labels);
    }
    if !tolerations.is_empty() {
        template["tolerations"] = tolerations.iter().map(toleration).collect();
    }
    if let Some(class) = priority_class {
        template["priorityClassName"] = class.as_str().into();
    }
    template
}

fn toleration(Toleration { key, value, effect, at_most }: &Toleration) -> Value {
    let mut said = json!({"operator": if value.is_some() { "Equal" } else { "Exists" }});
    let mut say = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            said[name] = value;
        }
    };
    say("key", key.as_deref().map(Into::into));
    say("value", value.as_deref().map(Into::into));
    say("effect", effect.map(Effect::as_str).map(Into::into));
    say("tolerationSeconds", at_most.map(|time| time.as_secs().into()));
    said
}

/// Around the whole run, and around its pod. Tekton's own defaults count where nothing is said: so something always is.
/// A guard may have to wait in its pod, whose time counts from its beginning; the command's own counts from the command's.
fn timeouts(limit: Option<Duration>, guarded: bool, config: &TektonConfig) -> (String, String) {
    match limit {
        None => ("0s".to_owned(), "0s".to_owned()),
        Some(limit) => {
            let waits = if guarded { config.start_deadline } else { Duration::ZERO };
            let inner = limit + config.pull_budget + waits;
            (duration(config.start_deadline + inner + MARGIN), duration(inner))
        }
    }
}

/// As Go reads it.
fn duration(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs().max(1)),
        _ => format!("{}ms", time.as_millis()),
    }
}

struct Bindings {
    secret: Option<Value>,
    foreign: Vec<String>,
    volumes: Vec<Value>,
    mounts: Vec<Value>,
}

impl Bindings {
    /// A directory for each binding: credentials of ours from one Secret for them all, others from the Secret that they are in.
    fn of(spec: &RunSpec, app: &str) -> Self {
        let mut contents = BTreeMap::new();
        let mut directories = Vec::new();
        let mut foreign = Vec::new();
        for (number, BoundService { binding, instance: _, spec }) in spec.services.iter().enumerate() {
            let source = match &spec.credentials {
                Credentials::InSecret(name) => {
                    foreign.push(name.clone());
                    json!({"secretName": name, "defaultMode": BINDING_MODE})
                }
                Credentials::Given(_) => {
                    let items: Vec<Value> = binding_files(spec)
                        .into_iter()
                        .map(|(file, content)| {
                            let key = format!("{number}.{file}");
                            contents.insert(key.clone(), content.reveal().to_owned());
                            json!({"key": key, "path": file})
                        })
                        .collect();
                    json!({"items": items, "defaultMode": BINDING_MODE})
                }
            };
            directories.push((binding.to_string(), format!("binding-{number}"), source));
        }
        let secret =
            (!contents.is_empty()).then(|| secret(&format!("bindings-{app}"), &spec.cluster.naming_key, &contents));
        let ours = secret.as_ref().map(name_of);
        let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
        for (binding, volume, mut source) in directories {
            if source.get("secretName").is_none() {
                source["secretName"] = ours.clone().into();
            }
            mounts.push(json!({"name": volume, "mountPath": format!("{}/{binding}", env::BINDINGS), "readOnly": true}));
            volumes.push(json!({"name": volume, "secret": source}));
        }
        Self { secret, foreign, volumes, mounts }
    }
}

/// Named by what is in it: whoever has the key makes the same name of the same content, and nobody else can tell from a name
/// what the content is.
fn secret(prefix: &str, NamingKey(key): &NamingKey, contents: &BTreeMap<String, String>) -> Value {
    let content = digest_of(json!(contents).to_string().as_bytes());
    let name = format!("{prefix}-{}", digest(&[key.as_slice(), &content].concat()));
    immutable(&name, contents)
}

fn immutable(name: &str, contents: &BTreeMap<String, String>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "Opaque",
        "immutable": true,
        "stringData": contents,
    })
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Of what the control plane said, whatever this executor's own settings make of it: these may differ between two replicas.
fn hash(spec: &RunSpec, resources: Resources) -> String {
    let RunSpec { key, app_uid, app_revision, source, command, inherited_env, task_env, services, timeout, .. } = spec;
    let Source::Image(image) = source else { return String::new() };
    let vars = |env: &taskplane_domain::env::Env| -> BTreeMap<String, String> {
        env.iter().map(|(name, value)| (name.to_owned(), value.reveal().to_owned())).collect()
    };
    let said = json!([
        key.to_string(),
        app_uid.to_string(),
        app_revision,
        image,
        command.as_str(),
        vars(inherited_env),
        vars(task_env),
        taskplane_domain::service::vcap_services(services).reveal(),
        [resources.memory.map(Bytes::get), resources.disk.map(Bytes::get), resources.cpu.map(CpuMillis::get)],
        timeout.map(|time| time.as_millis().to_string()),
    ]);
    let content = digest_of(said.to_string().as_bytes());
    digest(&[spec.cluster.naming_key.0.as_slice(), &content].concat())
}

fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Short enough for a label, long enough to be no other's.
fn digest(bytes: &[u8]) -> String {
    hex::encode(&digest_of(bytes)[..16])
}
