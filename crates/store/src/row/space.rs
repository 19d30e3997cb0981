//! `spaces`, read together with the environment of the present revision.

use prost::Message as _;
use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;
use taskplane_domain::env::Env;
use taskplane_domain::name::SpaceName;
use taskplane_domain::space::{Quota, Retention, Space, SpaceSettings};
use taskplane_domain::standing::Standing;
use taskplane_domain::uid::SpaceUid;
use taskplane_proto::convert::SpaceRules;
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::{Row, big, space_env};
use crate::secrets::Secrets;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "spaces")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub name: String,
    pub env_revision: i64,
    pub task_retention_count: i64,
    pub log_cap: Option<i64>,
    /// Null: written before there were any.
    pub rules: Option<Vec<u8>>,
    pub live_quota: Option<i64>,
    pub running_quota: Option<i64>,
    pub waiting_quota: Option<i64>,
    pub standing: String,
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
    pub security_groups: Option<Vec<u8>>,
}

impl From<&Space> for Model {
    fn from(space: &Space) -> Self {
        let Space { uid, name, settings, security_groups: _, env_revision, standing, version, created_at, updated_at } =
            space;
        let cells = RuleCells::from(settings);
        Self {
            uid: uid.0,
            name: name.0.to_string(),
            env_revision: (*env_revision).into(),
            task_retention_count: cells.task_retention_count,
            log_cap: cells.log_cap,
            rules: Some(cells.rules),
            live_quota: cells.live_quota,
            running_quota: cells.running_quota,
            waiting_quota: cells.waiting_quota,
            standing: standing.as_str().to_owned(),
            version: big(*version),
            created_at: created_at.as_microsecond(),
            updated_at: updated_at.as_microsecond(),
        }
    }
}

/// The cells of a Space's settings, but for its environment.
pub(crate) struct RuleCells {
    pub task_retention_count: i64,
    pub log_cap: Option<i64>,
    pub rules: Vec<u8>,
    pub live_quota: Option<i64>,
    pub running_quota: Option<i64>,
    pub waiting_quota: Option<i64>,
}

impl From<&SpaceSettings> for RuleCells {
    fn from(settings: &SpaceSettings) -> Self {
        let quota = settings.quota;
        Self {
            task_retention_count: settings.retention.count.into(),
            log_cap: settings.log_cap.map(big),
            rules: pb::SpaceRules::from(settings).encode_to_vec(),
            live_quota: Some(quota.live).filter(|live| *live != Quota::LIVE_DEFAULT).map(Into::into),
            running_quota: quota.running.map(Into::into),
            waiting_quota: Some(quota.waiting).filter(|waiting| *waiting != Quota::WAITING_DEFAULT).map(Into::into),
        }
    }
}

impl WithEnv {
    pub(crate) fn open(self, secrets: &Secrets) -> Result<Space, Corrupt> {
        let Self { space: model, env, security_groups } = self;
        let row = Row::new("spaces", model.uid);
        let env = row.needed("env_revision", env)?;
        let env = space_env::open((model.uid, model.env_revision), &env, secrets)?;
        let settings = settings(&row, &model, env)?;
        Ok(Space {
            uid: SpaceUid(model.uid),
            name: SpaceName(row.parsed("name", &model.name)?),
            settings,
            security_groups: space_env::groups((model.uid, model.env_revision), security_groups.as_deref())?,
            env_revision: row.count("env_revision", model.env_revision)?,
            standing: row.needed("standing", Standing::parse(&model.standing))?,
            version: row.count("version", model.version)?,
            created_at: row.time("created_at", model.created_at)?,
            updated_at: row.time("updated_at", model.updated_at)?,
        })
    }
}

fn settings(row: &Row, model: &Model, env: Env) -> Result<SpaceSettings, Corrupt> {
    let rules = model.rules.as_deref().unwrap_or_default();
    let SpaceRules {
        minimum_finished,
        age,
        failed,
        delete_terminated_logs,
        resources,
        default_timeout,
        cluster,
        start_ticket,
    } = row.decoded::<pb::SpaceRules, _>("rules", rules)?;
    let number = |column: &'static str, cell: Option<i64>| cell.map(|cell| row.count(column, cell)).transpose();
    Ok(SpaceSettings {
        env,
        retention: Retention {
            count: row.count("task_retention_count", model.task_retention_count)?,
            minimum_finished,
            age,
            failed,
        },
        log_cap: model.log_cap.map(|cap| row.count("log_cap", cap)).transpose()?,
        delete_terminated_logs,
        quota: Quota {
            live: number("live_quota", model.live_quota)?.unwrap_or(Quota::LIVE_DEFAULT),
            running: number("running_quota", model.running_quota)?,
            waiting: number("waiting_quota", model.waiting_quota)?.unwrap_or(Quota::WAITING_DEFAULT),
        },
        resources,
        default_timeout,
        cluster,
        start_ticket,
    })
}
