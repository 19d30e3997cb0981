//! `jobs`.

use prost::Message as _;
use sea_orm::entity::prelude::*;
use taskplane_domain::job::{ConcurrencyPolicy, Job, JobState};
use taskplane_domain::name::{AppName, JobName};
use taskplane_domain::uid::{AppUid, JobUid, SpaceUid};
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::{Row, big};
use crate::secrets::{Place, Secrets};

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
    /// Microseconds.
    pub delete_grace: Option<i64>,
    pub version: i64,
    pub sequence: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub(crate) const DELETING: &str = "DELETING";

impl Model {
    pub(crate) fn sealed(job: &Job, secrets: &Secrets) -> Self {
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
        let (state, pause_note, delete_grace) = match state {
            JobState::Active => ("ACTIVE", None, None),
            JobState::Paused { note } => ("PAUSED", Some(note.clone()), None),
            JobState::Deleting { grace } => {
                (DELETING, None, Some(i64::try_from(grace.as_micros()).unwrap_or(i64::MAX)))
            }
        };
        Self {
            uid: uid.0,
            space_uid: space_uid.0,
            app_uid: app_uid.0,
            space: name.space.to_string(),
            app: app.app.to_string(),
            name: name.job.to_string(),
            template: pb::JobTemplate {
                env: Some(secrets.seal_set(Place::Job(uid.0), &template.env)),
                ..pb::JobTemplate::from(template)
            }
            .encode_to_vec(),
            policy: policy.as_str().to_owned(),
            state: state.to_owned(),
            pause_note,
            delete_grace,
            version: big(*version),
            sequence: big(*sequence),
            created_at: created_at.as_microsecond(),
            updated_at: updated_at.as_microsecond(),
        }
    }

    pub(crate) fn open(self, secrets: &Secrets) -> Result<Job, Corrupt> {
        let row = Row::new("jobs", self.uid);
        let Self {
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
            delete_grace,
            version,
            sequence,
            created_at,
            updated_at,
        } = self;
        let state = match (state.as_str(), pause_note, delete_grace) {
            ("ACTIVE", None, None) => JobState::Active,
            ("PAUSED", Some(note), None) => JobState::Paused { note },
            (DELETING, None, grace) => {
                let grace = row.count("delete_grace", grace.unwrap_or_default())?;
                JobState::Deleting { grace: std::time::Duration::from_micros(grace) }
            }
            _ => return Err(row.corrupt("state")),
        };
        let space = row.parsed::<taskplane_domain::Name>("space", &space)?;
        let mut template: pb::JobTemplate = row.message("template", &template)?;
        template.env = Some(secrets.open_set((&row, "template"), Place::Job(uid), template.env)?);
        Ok(Job {
            uid: JobUid(uid),
            space_uid: SpaceUid(space_uid),
            app_uid: AppUid(app_uid),
            name: JobName { space: space.clone(), job: row.parsed("name", &name)? },
            app: AppName { space, app: row.parsed("app", &app)? },
            template: template.try_into().map_err(|_| row.corrupt("template"))?,
            policy: row.needed("policy", ConcurrencyPolicy::parse(&policy))?,
            state,
            version: row.count("version", version)?,
            sequence: row.count("sequence", sequence)?,
            created_at: row.time("created_at", created_at)?,
            updated_at: row.time("updated_at", updated_at)?,
        })
    }
}
