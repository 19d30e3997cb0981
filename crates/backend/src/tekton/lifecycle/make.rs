//! Making a run, inert.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};
use taskplane_domain::run::RunSpec;
use taskplane_domain::task::Reason;
use taskplane_domain::uid::RunUid;
use tokio::time::Instant;

use super::{INERT, Lifecycle, Shared, place_of};
use crate::tekton::client::{At, CallError, Manner, Meant};
use crate::tekton::names;
use crate::tekton::render::{Rendered, render};
use crate::tekton::spaces::{created, refused};
use crate::tekton::types::{PipelineRun, said};
use crate::tekton::watch::Place;
use crate::{BackendError, Made};

const LEAVING: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(500);

impl Lifecycle {
    /// First the run, which is inert, then what its pod needs. So a Secret that a sweep takes away between two Tasks is missed
    /// here and made again: what a run names is kept from the moment that the run is there.
    pub async fn ensure(&self, spec: &RunSpec) -> Result<Made, BackendError> {
        let Shared { cluster, spaces, config, .. } = &*self.0;
        let namespace = spaces.namespace(spec);
        let pins = config.guard.as_ref().map(|guard| guard.pins.now()).transpose();
        let pins =
            pins.map_err(|source| BackendError::Unavailable { doing: "reading the tickets' certificate", source })?;
        let rendered = render(spec, config, &pins.unwrap_or_default(), &namespace)?;
        spaces.ready(spec, &namespace).await?;
        self.look_for(&rendered).await?;
        spaces
            .account(&namespace, &rendered.account)
            .await
            .map_err(|error| refused("making the service account", error))?;
        if let Some(policy) = &rendered.policy {
            let made = created::<NetworkPolicy>(cluster, Some(&namespace), policy).await;
            made.map_err(|error| refused("making the network policy", error))?;
        }
        let run = self.post(&rendered).await?;
        fail::fail_point!("backend::tekton::after_post");
        let Some(Place { uid, .. }) = place_of(&run) else { return Err(absent("the run has no uid")) };
        if run.spec.status.as_deref() == Some(INERT) {
            for secret in &rendered.secrets {
                self.secret(&rendered, secret, &uid).await?;
            }
            fail::fail_point!("backend::tekton::after_secrets");
        }
        self.saw(spec.key, &run);
        Ok(Made { run: RunUid(uid), conditions: Vec::new(), guarded: is_guarded(&run) })
    }

    /// What others keep in Secrets must be there, or the pod would wait for it until its time is up.
    async fn look_for(&self, rendered: &Rendered) -> Result<(), BackendError> {
        for name in &rendered.foreign_secrets {
            let at = At::new(&rendered.namespace, name);
            let found =
                self.0.cluster.get::<Secret>(at).await.map_err(|error| refused("looking for a Secret", error))?;
            if found.is_none() {
                return Err(BackendError::NotMade {
                    reason: Reason::ConfigMissing,
                    message: format!(
                        "there is no Secret {name} in the namespace {}, and a service of the App has its credentials there",
                        rendered.namespace
                    ),
                });
            }
        }
        Ok(())
    }

    async fn post(&self, rendered: &Rendered) -> Result<PipelineRun, BackendError> {
        let Rendered { name, namespace, run, .. } = rendered;
        let deadline = Instant::now() + LEAVING;
        loop {
            let refusal = match self.0.cluster.create::<PipelineRun>(Some(namespace), run).await {
                Ok(run) => return Ok(run),
                Err(refusal) => refusal,
            };
            if refusal.code() == Some(404) {
                self.0.spaces.doubt(namespace);
            }
            if refusal.code() != Some(409) {
                return Err(refused("making the run", refusal));
            }
            // It is there: made by an earlier try whose answer was lost, by another replica, or by somebody else.
            let found: Option<PipelineRun> = self
                .0
                .cluster
                .get(At::new(namespace, name))
                .await
                .map_err(|error| refused("looking at a run of the same name", error))?;
            match found {
                None => {}
                Some(found) if !is_same(rendered, &found) => return Err(collision(rendered, &found)),
                // Made under other settings: its guard is to know of these, or not to be there. Nothing is lost with it.
                Some(found) if never_released(&found) && is_guarded(&found) != rendered.guarded => {
                    self.unmake(&found).await.map_err(|error| refused("unmaking a run", error))?;
                }
                // One that was never released is made anew; one that was may have begun, and no other may in its place.
                Some(found) if found.metadata.deletion_timestamp.is_none() || !never_released(&found) => {
                    return Ok(found);
                }
                Some(_) => {}
            }
            if Instant::now() > deadline {
                return Err(absent("an earlier run of this name is still being deleted"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Released meanwhile, it is another, and stays.
    async fn unmake(&self, run: &PipelineRun) -> Result<(), CallError> {
        let (Some(Place { namespace, uid }), Some(name)) = (place_of(run), &run.metadata.name) else { return Ok(()) };
        let meant = Meant { uid, resource_version: run.metadata.resource_version.clone() };
        match self.0.cluster.delete::<PipelineRun>(At::new(&namespace, name), &meant, Manner::default()).await {
            Ok(_) | Err(CallError::Refused { code: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One of the same name has the same content. That of a Task goes with its run, hence not one of an earlier run's.
    async fn secret(&self, rendered: &Rendered, secret: &Value, run: &str) -> Result<(), BackendError> {
        let failed = |error| refused("making a Secret", error);
        let Rendered { name, namespace, .. } = rendered;
        let cluster = &self.0.cluster;
        let called = secret["metadata"]["name"].as_str().unwrap_or_default();
        if ![names::own_secret(name), names::guard_secret(name)].iter().any(|own| own == called) {
            return created::<Secret>(cluster, Some(namespace), secret).await.map_err(failed);
        }
        let mut owned = secret.clone();
        owned["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": name, "uid": run}]);
        let deadline = Instant::now() + LEAVING;
        loop {
            match cluster.create::<Secret>(Some(namespace), &owned).await {
                Ok(_) => return Ok(()),
                Err(CallError::Refused { code: 409, .. }) => {}
                Err(error) => return Err(failed(error)),
            }
            let at = At::new(namespace, called);
            if let Some(Secret { metadata, .. }) = cluster.get(at).await.map_err(failed)? {
                let owner = metadata.owner_references.iter().flatten().any(|owner| owner.uid == run);
                if owner && metadata.deletion_timestamp.is_none() {
                    return Ok(());
                }
                let meant = Meant { uid: metadata.uid.unwrap_or_default(), resource_version: None };
                cluster.delete::<Secret>(at, &meant, Manner::default()).await.map_err(failed)?;
            }
            if Instant::now() > deadline {
                return Err(absent("an earlier run's Secret is still being deleted"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn is_same(rendered: &Rendered, found: &PipelineRun) -> bool {
    let labels = |key: &str| said(found.metadata.labels.as_ref(), key);
    let ours = &rendered.run["metadata"]["labels"];
    [names::TASK, names::ATTEMPT].into_iter().all(|key| labels(key) == ours[key].as_str())
        && said(found.metadata.annotations.as_ref(), names::SPEC_HASH) == Some(&rendered.hash)
}

fn is_guarded(run: &PipelineRun) -> bool {
    said(run.metadata.annotations.as_ref(), names::GUARDED).is_some()
}

fn never_released(run: &PipelineRun) -> bool {
    run.spec.status.as_deref() == Some(INERT) && run.status.child_references.is_empty()
}

fn collision(rendered: &Rendered, found: &PipelineRun) -> BackendError {
    let Rendered { name, namespace, .. } = rendered;
    let whose = match said(found.metadata.labels.as_ref(), names::MANAGED) {
        Some(_) => "which was made from something else",
        None => "which is not ours",
    };
    tracing::error!(run = name, namespace, "a PipelineRun of this name is there already, {whose}");
    BackendError::NotMade {
        reason: Reason::NameCollision,
        message: format!("there is a PipelineRun {namespace}/{name} already, {whose}"),
    }
}

fn absent(message: &str) -> BackendError {
    BackendError::Unavailable { doing: "making the run", source: std::io::Error::other(message.to_owned()) }
}
