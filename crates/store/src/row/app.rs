//! `apps`, read together with the spec of the present revision.

use crate::error::Corrupt;
use crate::row::{Row, app_revision, big};
use crate::secrets::Secrets;
use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;
use taskplane_domain::app::App;
use taskplane_domain::name::AppName;
use taskplane_domain::standing::Standing;
use taskplane_domain::uid::{AppUid, SpaceUid};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "apps")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub space_uid: Uuid,
    pub space: String,
    pub name: String,
    pub revision: i64,
    pub next_task_id: i64,
    /// Null: what the Space says.
    pub task_retention_count: Option<i64>,
    pub standing: String,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// An App and its present spec, as one query brings them.
#[derive(FromQueryResult)]
pub(crate) struct WithSpec {
    #[sea_orm(nested)]
    pub app: Model,
    pub spec: Option<Vec<u8>>,
}

/// A new App; its first Task is number 1.
impl From<&App> for Model {
    fn from(app: &App) -> Self {
        let App {
            uid,
            space_uid,
            name,
            revision,
            spec: _,
            task_retention_count,
            standing,
            version,
            created_at,
            updated_at,
        } = app;
        Self {
            uid: uid.0,
            space_uid: space_uid.0,
            space: name.space.to_string(),
            name: name.app.to_string(),
            revision: (*revision).into(),
            next_task_id: 1,
            task_retention_count: task_retention_count.map(Into::into),
            standing: standing.as_str().to_owned(),
            version: big(*version),
            created_at: created_at.as_microsecond(),
            updated_at: updated_at.as_microsecond(),
        }
    }
}

impl WithSpec {
    pub(crate) fn open(self, secrets: &Secrets) -> Result<App, Corrupt> {
        let Self { app: model, spec } = self;
        let row = Row::new("apps", model.uid);
        let spec = row.needed("revision", spec)?;
        let Model {
            uid,
            space_uid,
            space,
            name,
            revision,
            next_task_id: _,
            task_retention_count,
            standing,
            version,
            created_at,
            updated_at,
        } = model;
        Ok(App {
            uid: AppUid(uid),
            space_uid: SpaceUid(space_uid),
            name: AppName { space: row.parsed("space", &space)?, app: row.parsed("name", &name)? },
            revision: row.count("revision", revision)?,
            spec: app_revision::open((uid, revision), &spec, secrets)?,
            task_retention_count: task_retention_count
                .map(|count| row.count("task_retention_count", count))
                .transpose()?,
            standing: row.needed("standing", Standing::parse(&standing))?,
            version: row.count("version", version)?,
            created_at: row.time("created_at", created_at)?,
            updated_at: row.time("updated_at", updated_at)?,
        })
    }
}
