//! `jobs`.

use prost::Message as _;
use sea_orm::entity::prelude::*;
use taskplane_domain::job::{ConcurrencyPolicy, Job, JobState};
use taskplane_domain::name::{AppName, JobName};
use taskplane_domain::uid::{AppUid, JobUid, SpaceUid};
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::{Row, big};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub space_uid: Uuid,
    pub app_uid: Uuid,
    pub space: String,
    pub app: String,
    pub name: String,
    pub template: Vec<u8>,
    pub policy: String,
    pub state: String,
    pub pause_note: Option<String>,
    pub version: i64,
    pub sequence: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(crate) const DELETING: &str = "DELETING";

impl From<&Job> for Model {
    fn from(job: &Job) -> Self {
        let Job {
            uid,
            space_uid,
            app_uid,
            name,
            app,
            template,
            policy,
            state,
            version,
            sequence,
            created_at,
            updated_at,
        } = job;
        let (state, pause_note) = match state {
            JobState::Active => ("ACTIVE", None),
            JobState::Paused { note } => ("PAUSED", Some(note.clone())),
            JobState::Deleting => (DELETING, None),
        };
        Self {
            uid: uid.0,
            space_uid: space_uid.0,
            app_uid: app_uid.0,
            space: name.space.to_string(),
            app: app.app.to_string(),
            name: name.job.to_string(),
            template: pb::JobTemplate::from(template).encode_to_vec(),
            policy: policy.as_str().to_owned(),
            state: state.to_owned(),
            pause_note,
            version: big(*version),
            sequence: big(*sequence),
            created_at: created_at.as_microsecond(),
            updated_at: updated_at.as_microsecond(),
        }
    }
}

impl TryFrom<Model> for Job {
    type Error = Corrupt;

    fn try_from(model: Model) -> Result<Self, Corrupt> {
        let row = Row::new("jobs", model.uid);
        let Model {
            uid,
            space_uid,
            app_uid,
            space,
            app,
            name,
            template,
            policy,
            state,
            pause_note,
            version,
            sequence,
            created_at,
            updated_at,
        } = model;
        let state = match (state.as_str(), pause_note) {
            ("ACTIVE", None) => JobState::Active,
            ("PAUSED", Some(note)) => JobState::Paused { note },
            (DELETING, None) => JobState::Deleting,
            _ => return Err(row.corrupt("state")),
        };
        let space = row.parsed::<taskplane_domain::Name>("space", &space)?;
        Ok(Self {
            uid: JobUid(uid),
            space_uid: SpaceUid(space_uid),
            app_uid: AppUid(app_uid),
            name: JobName { space: space.clone(), job: row.parsed("name", &name)? },
            app: AppName { space, app: row.parsed("app", &app)? },
            template: row.decoded::<pb::JobTemplate, _>("template", &template)?,
            policy: row.needed("policy", ConcurrencyPolicy::parse(&policy))?,
            state,
            version: row.count("version", version)?,
            sequence: row.count("sequence", sequence)?,
            created_at: row.time("created_at", created_at)?,
            updated_at: row.time("updated_at", updated_at)?,
        })
    }
}
