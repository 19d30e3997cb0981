//! Forgetting a run, with everything that it made.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use taskplane_domain::run::RunKey;
use tokio::time::Instant;

use super::{Lifecycle, place_of};
use crate::BackendError;
use crate::tekton::client::{At, CallError, Manner, Meant, Read};
use crate::tekton::names;
use crate::tekton::types::{PipelineRun, Pod, TaskRun, said};
use crate::tekton::watch::{Place, now};

/// How long a removal is looked at before it is told to be unfinished.
const PATIENCE: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(400);
/// Between two looks for finished runs whose time is up.
const CLEARING: Duration = Duration::from_secs(15);

/// What is still there of a run.
#[derive(Default)]
struct Rests {
    namespace: Option<String>,
    app: Option<String>,
    /// The Secrets that its pod reads.
    secrets: Vec<String>,
}

impl Lifecycle {
    /// Done when nothing of it is left, nor of earlier attempts, whose runs stay as long; until then, an error that says what is.
    pub async fn remove(&self, key: &RunKey) -> Result<(), BackendError> {
        let deadline = Instant::now() + PATIENCE;
        let mut first = true;
        loop {
            match self.try_remove(key, std::mem::take(&mut first)).await {
                // What was just told to go is on its way.
                Err(_) if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                done => return done,
            }
        }
    }

    /// The pod of a run that was ended by order goes once its log is archived; where `finished` says so, its time is noted, and
    /// all of it goes that much later.
    pub async fn archived(&self, key: &RunKey, terminated: bool) -> Result<(), BackendError> {
        let failed = |error: CallError| error.during("clearing up after a run");
        if !terminated && self.0.config.finished.is_none() {
            return Ok(());
        }
        let Some(run) = self.find(key).await.map_err(failed)? else { return Ok(()) };
        let Some(Place { namespace, .. }) = place_of(&run) else { return Ok(()) };
        let cluster = &self.0.cluster;
        if terminated {
            let pods = cluster.list::<Pod>(Some(&namespace), &names::attempt_selector(key)).await.map_err(failed)?;
            for Pod { metadata, .. } in &pods {
                self.delete::<Pod>(metadata).await.map_err(failed)?;
            }
        }
        if self.0.config.finished.is_some() {
            let change = json!({"metadata": {"labels": {names::ARCHIVED: "true"}}});
            let name = key.to_string();
            match cluster.merge::<PipelineRun>(At::new(&namespace, &name), &change).await {
                Ok(_) | Err(CallError::Refused { code: 404, .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// From now on takes finished runs away when they were archived `age` ago.
    pub fn clear_up(&self, age: Duration) {
        let this = self.clone();
        self.0.tasks.spawn(async move {
            let mut period = tokio::time::interval(CLEARING);
            loop {
                period.tick().await;
                if let Err(error) = this.remove_finished(age, now()).await {
                    tracing::warn!(%error, "finished runs could not be removed, trying again");
                }
            }
        });
    }

    async fn remove_finished(&self, age: Duration, now: Timestamp) -> Result<(), BackendError> {
        let failed = |error: CallError| error.during("looking for finished runs");
        let selector = format!("{}=true", names::ARCHIVED);
        let runs = self.0.cluster.list::<PipelineRun>(None, &selector).await.map_err(failed)?;
        let is_old = |run: &&PipelineRun| {
            let over = run.status.completion_time.or(run.metadata.creation_timestamp.as_ref().map(|time| time.0));
            over.is_some_and(|over| now.duration_since(over).unsigned_abs() >= age && over <= now)
        };
        for run in runs.iter().filter(is_old) {
            if let Some(key) = names::key_of(run.metadata.labels.as_ref()) {
                // One that stays holds up no other.
                if let Err(error) = self.remove(&key).await {
                    tracing::warn!(run = %key, %error, "a finished run could not be removed, trying again");
                }
            }
        }
        Ok(())
    }

    /// `sweeps`: the Secrets of runs that are there are looked after too.
    async fn try_remove(&self, key: &RunKey, sweeps: bool) -> Result<(), BackendError> {
        let failed = |error: CallError| error.during("removing a run");
        let cluster = &self.0.cluster;
        let known = self.namespace(key);
        let selector = format!("{}={}", names::TASK, names::task_id(key.task));
        let of_these =
            |metadata: &ObjectMeta| names::key_of(metadata.labels.as_ref()).is_some_and(|it| it.attempt <= key.attempt);
        let mut runs = cluster.list::<PipelineRun>(known.as_deref(), &selector).await.map_err(failed)?;
        runs.retain(|run| of_these(&run.metadata));
        for PipelineRun { metadata, .. } in &runs {
            self.delete::<PipelineRun>(metadata).await.map_err(failed)?;
        }
        let mut task_runs = cluster.list::<TaskRun>(known.as_deref(), &selector).await.map_err(failed)?;
        task_runs.retain(|run| of_these(&run.metadata));
        let mut pods = cluster.list::<Pod>(known.as_deref(), &selector).await.map_err(failed)?;
        pods.retain(|pod| of_these(&pod.metadata));
        // What has no owner is nobody's to clear away.
        for metadata in pods.iter().map(|pod| &pod.metadata).filter(|pod| pod.owner_references.is_none()) {
            self.delete::<Pod>(metadata).await.map_err(failed)?;
        }
        let mut rests = Rests { namespace: known, ..Rests::default() };
        let told = runs.iter().map(|run| &run.metadata).chain(task_runs.iter().map(|run| &run.metadata));
        for metadata in told.chain(pods.iter().map(|pod| &pod.metadata)) {
            rests.namespace = rests.namespace.or_else(|| metadata.namespace.clone());
            rests.app = rests.app.or_else(|| said(metadata.labels.as_ref(), names::APP).map(str::to_owned));
            let secrets = said(metadata.annotations.as_ref(), names::SECRETS).unwrap_or_default().split(',');
            // What is the run's own goes with it.
            let run = names::key_of(metadata.labels.as_ref()).map(|key| key.to_string()).unwrap_or_default();
            let own = [names::own_secret(&run), names::guard_secret(&run)];
            rests
                .secrets
                .extend(secrets.filter(|name| !name.is_empty()).map(str::to_owned).filter(|name| !own.contains(name)));
        }
        rests.secrets.sort_unstable();
        rests.secrets.dedup();
        if sweeps {
            self.sweep(&rests).await.map_err(failed)?;
        }
        if !(runs.is_empty() && task_runs.is_empty() && pods.is_empty()) {
            let left =
                format!("{} PipelineRuns, {} TaskRuns and {} pods are left", runs.len(), task_runs.len(), pods.len());
            return Err(BackendError::Unavailable { doing: "removing a run", source: std::io::Error::other(left) });
        }
        self.gone(*key);
        Ok(())
    }

    async fn delete<K: Read>(&self, metadata: &ObjectMeta) -> Result<(), CallError> {
        let (Some(namespace), Some(name), Some(uid)) = (&metadata.namespace, &metadata.name, &metadata.uid) else {
            return Ok(());
        };
        let meant = Meant { uid: uid.clone(), resource_version: None };
        match self.0.cluster.delete::<K>(At::new(namespace, name), &meant, Manner::default()).await {
            // Another of its name: this one is gone.
            Ok(_) | Err(CallError::Refused { code: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes away the Secrets that no other run of the App names. One that is wanted at this moment has its run there already,
    /// and is looked for once more after that.
    async fn sweep(&self, Rests { namespace, app, secrets }: &Rests) -> Result<(), CallError> {
        let (Some(namespace), Some(app)) = (namespace, app) else { return Ok(()) };
        let cluster = &self.0.cluster;
        let others = cluster.list::<PipelineRun>(Some(namespace), &format!("{}={app}", names::APP)).await?;
        let wanted: Vec<&str> = others
            .iter()
            .filter(|run| run.metadata.deletion_timestamp.is_none())
            .flat_map(|run| said(run.metadata.annotations.as_ref(), names::SECRETS).unwrap_or_default().split(','))
            .collect();
        for secret in secrets.iter().filter(|name| !wanted.contains(&name.as_str())) {
            if let Some(Secret { metadata, .. }) = cluster.get(At::new(namespace, secret)).await? {
                self.delete::<Secret>(&metadata).await?;
            }
        }
        Ok(())
    }
}
