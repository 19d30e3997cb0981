//! `spaces`, read together with the environment of the present revision.

use crate::error::Corrupt;
use crate::row::{Row, big, space_env};
use crate::secrets::Secrets;
use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;
use taskplane_domain::name::SpaceName;
use taskplane_domain::space::{Space, SpaceSettings};
use taskplane_domain::uid::SpaceUid;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "spaces")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub name: String,
    pub env_revision: i64,
    pub task_retention_count: i64,
    pub log_cap: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A Space and its present environment, as one query brings them.
#[derive(FromQueryResult)]
pub(crate) struct WithEnv {
    #[sea_orm(nested)]
    pub space: Model,
    pub env: Option<Vec<u8>>,
}

impl From<&Space> for Model {
    fn from(space: &Space) -> Self {
        let Space { uid, name, settings, env_revision, version, created_at, updated_at } = space;
        let SpaceSettings { env: _, task_retention_count, log_cap } = settings;
        Self {
            uid: uid.0,
            name: name.0.to_string(),
            env_revision: (*env_revision).into(),
            task_retention_count: (*task_retention_count).into(),
            log_cap: log_cap.map(big),
            version: big(*version),
            created_at: created_at.as_microsecond(),
            updated_at: updated_at.as_microsecond(),
        }
    }
}

impl WithEnv {
    pub(crate) fn open(self, secrets: &Secrets) -> Result<Space, Corrupt> {
        let Self { space: model, env } = self;
        let row = Row::new("spaces", model.uid);
        let env = row.needed("env_revision", env)?;
        let Model { uid, name, env_revision, task_retention_count, log_cap, version, created_at, updated_at } = model;
        Ok(Space {
            uid: SpaceUid(uid),
            name: SpaceName(row.parsed("name", &name)?),
            settings: SpaceSettings {
                env: space_env::open((uid, env_revision), &env, secrets)?,
                task_retention_count: row.count("task_retention_count", task_retention_count)?,
                log_cap: log_cap.map(|cap| row.count("log_cap", cap)).transpose()?,
            },
            env_revision: row.count("env_revision", env_revision)?,
            version: row.count("version", version)?,
            created_at: row.time("created_at", created_at)?,
            updated_at: row.time("updated_at", updated_at)?,
        })
    }
}
