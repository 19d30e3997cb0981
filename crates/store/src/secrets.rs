//! What nobody may read in the database: sealed on the way in, opened on the way out, each in its own row alone.
//!
//! Rows of releases before there were seals lie open, and are read as they are.

use std::fmt;
use std::sync::Arc;

use prost::Message as _;
use sea_orm::FromQueryResult;
use taskplane_domain::env::{Env, SealedEnv, TaskEnv};
use taskplane_domain::task::Task;
use taskplane_domain::uid::SpaceUid;
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::keyring::{KEY, Keyring, Unopened};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Corrupt, StoreError};
use crate::row::Row;
use crate::sql;

/// Seals and opens; clones share the keys.
#[derive(Clone)]
pub(crate) struct Secrets(Arc<Keyring>);

/// Where a secret stands. What was sealed for one place opens in no other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    SpaceEnv(Uuid, i64),
    AppRevision(Uuid, i64),
    Job(Uuid),
    Task(Uuid),
    ServiceRevision(Uuid, i64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpaceEnv(space, revision) => write!(f, "space_envs/{space}/{revision}"),
            Self::AppRevision(app, revision) => write!(f, "app_revisions/{app}/{revision}"),
            Self::Job(job) => write!(f, "jobs/{job}"),
            Self::Task(task) => write!(f, "tasks/{task}"),
            Self::ServiceRevision(service, revision) => write!(f, "service_revisions/{service}/{revision}"),
        }
    }
}

impl Secrets {
    pub(crate) fn new(keys: Keyring) -> Self {
        Self(Arc::new(keys))
    }

    /// All variables under one seal. Nothing is sealed where there is nothing.
    pub(crate) fn seal_set(&self, place: Place, env: &Env) -> pb::EnvSet {
        if env.is_empty() { pb::EnvSet::default() } else { self.seal_env(place, env).into() }
    }

    pub(crate) fn seal_env(&self, place: Place, env: &Env) -> SealedEnv {
        let plain = pb::EnvSet::from(env).encode_to_vec();
        let names = env.names().map(str::to_owned).collect();
        SealedEnv { names, sealed: self.seal(place, &plain) }
    }

    pub(crate) fn seal(&self, place: Place, plain: &[u8]) -> Vec<u8> {
        self.0.seal_bytes(&place.to_string(), plain)
    }

    pub(crate) fn seal_task(&self, task: taskplane_domain::uid::TaskUid, env: &Env) -> SealedEnv {
        self.seal_env(Place::Task(task.0), env)
    }

    /// The variables of an optional field, as a row has them.
    pub(crate) fn open_set(
        &self,
        (row, column): (&Row, &'static str),
        place: Place,
        set: Option<pb::EnvSet>,
    ) -> Result<pb::EnvSet, Corrupt> {
        let set = set.unwrap_or_default();
        if set.sealed.is_empty() {
            return Ok(set);
        }
        let plain = self.open((row, column), place, &set.sealed)?;
        pb::EnvSet::decode(plain.as_slice()).map_err(|_| row.corrupt(column))
    }

    pub(crate) fn open(
        &self,
        (row, column): (&Row, &'static str),
        place: Place,
        sealed: &[u8],
    ) -> Result<Vec<u8>, Corrupt> {
        self.0.open_bytes(&place.to_string(), sealed).map_err(|unopened| match unopened {
            Unopened::KeyMissing => row.locked(column),
            Unopened::Foreign => row.corrupt(column),
        })
    }
}

#[derive(FromQueryResult)]
struct KeyRow {
    id: String,
}

impl Store {
    /// Remembers which key seals from now on, and refuses when something may lie under a key that is not at hand. To be
    /// called at the start, behind the migration: better then than with the first Task that cannot be handed out.
    pub async fn secrets_check(&self) -> Result<(), StoreError> {
        const KNOWN: &str = "SELECT id FROM secret_keys ORDER BY created_at, id LIMIT 100";
        const KEEP: &str = "INSERT INTO secret_keys (id, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let keys: Vec<String> = self.secrets().0.ids().map(|id| id.to_string()).collect();
        let known: Vec<KeyRow> = self.read(sql::all(self.db(), KNOWN, [])).await?;
        if let Some(KeyRow { id }) = known.into_iter().find(|known| !keys.contains(&known.id)) {
            return Err(StoreError::KeyMissing(id));
        }
        let Some(present) = keys.into_iter().next() else { return Ok(()) };
        let now = self.now().await?.as_microsecond();
        self.write("secrets_check", move |txn| {
            let values = [present.clone().into(), now.into()];
            Box::pin(async move {
                sql::execute(&txn.db, KEEP, values).await?;
                Ok(())
            })
        })
        .await
    }

    /// With what executors name what is secret in this Space.
    pub fn naming_key(&self, space: SpaceUid) -> [u8; KEY] {
        self.secrets().0.derived(space.0)
    }

    /// What a Task brought along, with its values: for the executor that is to run it.
    pub fn task_env(&self, task: &Task) -> Result<Env, StoreError> {
        match &task.spec.env {
            TaskEnv::Open(env) => Ok(env.clone()),
            TaskEnv::Sealed(sealed) => {
                let row = Row::new("tasks", task.uid);
                let set = pb::EnvSet::from(sealed.clone());
                let set = self.secrets().open_set((&row, "spec"), Place::Task(task.uid.0), Some(set))?;
                Ok(Env::try_from(set).map_err(|_| row.corrupt("spec"))?)
            }
        }
    }
}
