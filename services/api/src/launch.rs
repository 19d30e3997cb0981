//! What goes to an executor for one attempt, put together from rows that never change.

use std::collections::HashMap;
use std::sync::Mutex;

use taskplane_domain::app::AppSpec;
use taskplane_domain::name::SpaceName;
use taskplane_domain::run::StartToken;
use taskplane_domain::security_group::{GroupRef, GroupRules, Rule};
use taskplane_domain::service::{Binding, BoundService};
use taskplane_domain::space::{ClusterSettings, Space, StartTicket};
use taskplane_domain::task::Task;
use taskplane_domain::uid::{AppUid, SecurityGroupUid, SpaceUid};
use taskplane_proto::internal::v1 as pb;
use taskplane_store::{SpaceEnv, Store, StoreError};

/// Revisions kept at hand; when there are more, all are read anew.
const KEPT: usize = 256;

/// Revisions of Apps, of Space environments and of security groups. A revision never changes, so what is kept is never stale.
#[derive(Default)]
pub(crate) struct Specs {
    apps: Mutex<HashMap<(AppUid, u32), AppSpec>>,
    envs: Mutex<HashMap<(SpaceUid, u32), SpaceEnv>>,
    rules: Mutex<HashMap<(SecurityGroupUid, u32), Vec<Rule>>>,
}

fn kept<K: Eq + std::hash::Hash + Copy, V: Clone>(cache: &Mutex<HashMap<K, V>>, key: K) -> Option<V> {
    cache.lock().ok()?.get(&key).cloned()
}

fn keep<K: Eq + std::hash::Hash + Copy, V: Clone>(cache: &Mutex<HashMap<K, V>>, key: K, value: &V) {
    if let Ok(mut cache) = cache.lock() {
        if cache.len() >= KEPT {
            cache.clear();
        }
        cache.insert(key, value.clone());
    }
}

impl Specs {
    async fn app(&self, store: &Store, app: AppUid, revision: u32) -> Result<AppSpec, StoreError> {
        if let Some(spec) = kept(&self.apps, (app, revision)) {
            return Ok(spec);
        }
        let spec = store.app_spec(app, revision).await?;
        keep(&self.apps, (app, revision), &spec);
        Ok(spec)
    }

    async fn env(&self, store: &Store, space: SpaceUid, revision: u32) -> Result<SpaceEnv, StoreError> {
        if let Some(env) = kept(&self.envs, (space, revision)) {
            return Ok(env);
        }
        let env = store.space_env(space, revision).await?;
        keep(&self.envs, (space, revision), &env);
        Ok(env)
    }

    async fn rules(&self, store: &Store, group: &GroupRef) -> Result<GroupRules, StoreError> {
        let key = (group.uid, group.revision);
        let rules = match kept(&self.rules, key) {
            Some(rules) => rules,
            None => {
                let rules = store.security_group_rules(group.uid, group.revision).await?;
                keep(&self.rules, key, &rules);
                rules
            }
        };
        Ok(GroupRules { group: group.clone(), rules })
    }

    async fn services(&self, store: &Store, bindings: &[Binding]) -> Result<Vec<pb::BoundService>, StoreError> {
        let mut bound = Vec::with_capacity(bindings.len());
        for Binding { name, service, instance, revision, offers: _, bytes: _ } in bindings {
            let spec = store.service_spec(*service, *revision).await?;
            bound.push((&BoundService { binding: name.clone(), instance: instance.clone(), spec }).into());
        }
        Ok(bound)
    }

    /// Everything an executor needs to make the present attempt of `task`.
    pub async fn launch(&self, store: &Store, task: &Task, start_token: StartToken) -> Result<pb::Launch, StoreError> {
        let AppSpec { source, command: _, env: app_env, resources: _, services, security_groups, placement } =
            self.app(store, task.app_uid, task.app_revision).await?;
        let SpaceEnv { env: space_env, security_groups: of_space } =
            self.env(store, task.space_uid, task.space_env_revision).await?;
        let mut groups = Vec::new();
        for group in security_groups.joined(&of_space).iter() {
            groups.push((&self.rules(store, group).await?).into());
        }
        let Space { settings, .. } = store.space_get(&SpaceName(task.name.space.clone())).await?;
        let ClusterSettings { namespace, placement: of_space } = settings.cluster;
        let (job, job_uid) =
            task.job.as_ref().map(|job| (job.name.to_string(), job.uid.to_string())).unwrap_or_default();
        Ok(pb::Launch {
            space: task.name.space.to_string(),
            space_uid: task.space_uid.to_string(),
            app: task.name.app.to_string(),
            app_uid: task.app_uid.to_string(),
            task_id: task.name.id,
            display_name: task.display_name.clone(),
            app_revision: task.app_revision,
            source: Some((&source).into()),
            spec: Some(pb::TaskSpec { env: Some((&store.task_env(task)?).into()), ..(&task.spec).into() }),
            space_env: Some((&space_env).into()),
            app_env: Some((&app_env).into()),
            start_token: match settings.start_ticket {
                StartTicket::Required => start_token.0,
                StartTicket::Waived => String::new(),
            },
            log_cap_bytes: settings.log_cap.unwrap_or(0),
            services: self.services(store, &services).await?,
            traceparent: task.trace.clone().unwrap_or_default(),
            security_groups: groups,
            job,
            job_uid,
            namespace: namespace.unwrap_or_default(),
            placement: Some((&of_space.with(&placement)).into()),
            naming_key: store.naming_key(task.space_uid).to_vec().into(),
        })
    }
}
