//! The namespaces of Spaces: looked at before the first run there, and made with all that belongs in one where this executor may.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::core::NamespaceResourceScope;
use serde_json::{Value, json};
use taskplane_domain::run::RunSpec;
use taskplane_domain::task::Reason;
use tokio::time::Instant;

use super::client::{At, CallError, Cluster, Read};
use super::config::TektonConfig;
use super::names;
use crate::BackendError;

/// How long what was seen of a namespace is believed.
const FRESH: Duration = Duration::from_secs(300);
/// A RoleBinding counts a moment after it was made.
const SETTLING: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Spaces {
    cluster: Arc<Cluster>,
    config: Arc<TektonConfig>,
    /// Namespaces that were seen to be as they should, and accounts in them.
    seen: Mutex<HashMap<String, Instant>>,
}

impl Spaces {
    pub(super) fn new(cluster: &Arc<Cluster>, config: &Arc<TektonConfig>) -> Self {
        Self { cluster: Arc::clone(cluster), config: Arc::clone(config), seen: Mutex::default() }
    }

    pub(super) fn namespace(&self, spec: &RunSpec) -> String {
        let by_itself = || format!("{}{}", self.config.namespace_prefix, spec.name.space);
        spec.cluster.namespace.clone().unwrap_or_else(by_itself)
    }

    /// From now on what is known of this namespace is looked up again.
    pub(super) fn doubt(&self, namespace: &str) {
        self.lock().retain(|known, _| known.split(['/', ' ']).next() != Some(namespace));
    }

    /// Sees to it that the Space has its namespace, and that no other has it.
    pub(super) async fn ready(&self, spec: &RunSpec, namespace: &str) -> Result<(), BackendError> {
        // Whose it is, is a part of what was seen: another Space may ask for it under the same name.
        let known = format!("{namespace} {}", names::space_id(spec.space_uid));
        if self.is_fresh(&known) {
            return Ok(());
        }
        let found: Option<Namespace> = self
            .cluster
            .get(At::cluster(namespace))
            .await
            .map_err(|error| refused("looking at the namespace", error))?;
        match found {
            Some(found) => self.check(spec, namespace, &found)?,
            None if self.config.manage_namespaces => {}
            None => {
                return Err(wrong(format!(
                    "there is no namespace {namespace}: apply what `taskplane space-manifest {}` prints",
                    spec.name.space
                )));
            }
        }
        if self.config.manage_namespaces {
            self.furnish(spec, namespace).await.map_err(|error| refused("making the namespace", error))?;
        }
        self.lock().insert(known, Instant::now());
        Ok(())
    }

    /// The account that the App's Tasks run as.
    pub(super) async fn account(&self, namespace: &str, account: &Value) -> Result<(), CallError> {
        let known = format!("{namespace}/{}", account["metadata"]["name"].as_str().unwrap_or_default());
        if !self.is_fresh(&known) {
            made::<ServiceAccount>(&self.cluster, namespace, account).await?;
            self.lock().insert(known, Instant::now());
        }
        Ok(())
    }

    fn check(&self, spec: &RunSpec, namespace: &str, found: &Namespace) -> Result<(), BackendError> {
        if found.metadata.deletion_timestamp.is_some() {
            let source = std::io::Error::other(format!("the namespace {namespace} is being deleted"));
            return Err(BackendError::Unavailable { doing: "waiting for the namespace", source });
        }
        match super::types::said(found.metadata.labels.as_ref(), names::SPACE) {
            Some(space) if space == names::space_id(spec.space_uid) => Ok(()),
            Some(_) => Err(wrong(format!(
                "the namespace {namespace} belongs to another Space, perhaps an earlier one of this name: delete it, or give this \
                 Space another with `taskplane update-space {} --namespace NAME`",
                spec.name.space
            ))),
            None => Err(wrong(format!(
                "the namespace {namespace} is no Space's: label it {}={} if it is to be this one's",
                names::SPACE,
                names::space_id(spec.space_uid)
            ))),
        }
    }

    /// Makes what is missing. Rights come second, as everything after them needs them.
    async fn furnish(&self, spec: &RunSpec, namespace: &str) -> Result<(), CallError> {
        let terms = self.config.terms();
        let space = taskplane_manifest::Space { uid: spec.space_uid, name: &spec.name.space, namespace };
        let taskplane_manifest::Furniture { namespace: itself, rights, quota, limits, policy } =
            taskplane_manifest::furniture(&space, &terms);
        created::<Namespace>(&self.cluster, None, &itself).await?;
        if let Some(rights) = rights {
            created::<RoleBinding>(&self.cluster, Some(namespace), &rights).await?;
        }
        let deadline = Instant::now() + SETTLING;
        while let Err(error) = made::<ResourceQuota>(&self.cluster, namespace, &quota).await {
            if error.code() != Some(403) || Instant::now() > deadline {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        made::<LimitRange>(&self.cluster, namespace, &limits).await?;
        self.policy(namespace, &policy).await
    }

    /// What every pod may reach changes with where executors are reached.
    async fn policy(&self, namespace: &str, policy: &Value) -> Result<(), CallError> {
        let at = At::new(namespace, policy["metadata"]["name"].as_str().unwrap_or_default());
        let Some(found) = self.cluster.get::<NetworkPolicy>(at).await? else {
            return created::<NetworkPolicy>(&self.cluster, Some(namespace), policy).await;
        };
        let egress = found.spec.and_then(|spec| spec.egress);
        if serde_json::to_value(egress).is_ok_and(|egress| egress != policy["spec"]["egress"]) {
            self.cluster.merge::<NetworkPolicy>(at, &json!({"spec": policy["spec"]})).await?;
        }
        Ok(())
    }

    fn is_fresh(&self, what: &str) -> bool {
        self.lock().get(what).is_some_and(|at| at.elapsed() < FRESH)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looked for first: most of the time it is there.
async fn made<K: Read + kube::Resource<Scope = NamespaceResourceScope>>(
    cluster: &Cluster,
    namespace: &str,
    object: &Value,
) -> Result<(), CallError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if cluster.get::<K>(At::new(namespace, name)).await?.is_some() {
        return Ok(());
    }
    created::<K>(cluster, Some(namespace), object).await
}

/// One that is there already is fine.
pub(super) async fn created<K: Read>(
    cluster: &Cluster,
    namespace: Option<&str>,
    object: &Value,
) -> Result<(), CallError> {
    match cluster.create::<K>(namespace, object).await {
        Err(CallError::Refused { code: 409, .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

fn wrong(message: String) -> BackendError {
    BackendError::NotMade { reason: Reason::InvalidSpec, message }
}

/// A quota that is full may have room later; what is refused otherwise is refused again.
pub(super) fn refused(doing: &'static str, error: CallError) -> BackendError {
    match &error {
        CallError::Refused { code: 403, message, .. } if message.contains("exceeded quota") => error.during(doing),
        CallError::Refused { code: 404 | 409, .. } | CallError::Unavailable { .. } => error.during(doing),
        CallError::Refused { code, .. } => {
            let reason = if matches!(code, 401 | 403) { Reason::AccessDenied } else { Reason::InvalidSpec };
            BackendError::NotMade { reason, message: format!("{doing}: {error}") }
        }
    }
}
