//! `schedules`: when a Job fires, and how far it has come.

use prost::Message as _;
use sea_orm::entity::prelude::*;
use taskplane_domain::job::Schedule;
use taskplane_domain::name::ScheduleName;
use taskplane_domain::uid::{JobUid, ScheduleUid};
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::{Row, big};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "schedules")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub job_uid: Uuid,
    pub space: String,
    pub job: String,
    pub id: String,
    pub plan: Vec<u8>,
    pub suspended: bool,
    pub mark: i64,
    pub next_at: Option<i64>,
    pub last_tick: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&Schedule> for Model {
    fn from(schedule: &Schedule) -> Self {
        let Schedule { uid, job_uid, name, plan, suspended, mark, next, last_tick, version, created_at, updated_at } =
            schedule;
        Self {
            uid: uid.0,
            job_uid: job_uid.0,
            space: name.space.to_string(),
            job: name.job.to_string(),
            id: name.schedule.to_string(),
            plan: pb::SchedulePlan::from(plan).encode_to_vec(),
            suspended: *suspended,
            mark: mark.as_microsecond(),
            next_at: next.map(|at| at.as_microsecond()),
            last_tick: last_tick.map(|at| at.as_microsecond()),
            version: big(*version),
            created_at: created_at.as_microsecond(),
            updated_at: updated_at.as_microsecond(),
        }
    }
}

impl TryFrom<Model> for Schedule {
    type Error = Corrupt;

    fn try_from(model: Model) -> Result<Self, Corrupt> {
        let row = Row::new("schedules", model.uid);
        let Model {
            uid,
            job_uid,
            space,
            job,
            id,
            plan,
            suspended,
            mark,
            next_at,
            last_tick,
            version,
            created_at,
            updated_at,
        } = model;
        Ok(Self {
            uid: ScheduleUid(uid),
            job_uid: JobUid(job_uid),
            name: ScheduleName {
                space: row.parsed("space", &space)?,
                job: row.parsed("job", &job)?,
                schedule: row.parsed("id", &id)?,
            },
            plan: row.decoded::<pb::SchedulePlan, _>("plan", &plan)?,
            suspended,
            mark: row.time("mark", mark)?,
            next: row.maybe_time("next_at", next_at)?,
            last_tick: row.maybe_time("last_tick", last_tick)?,
            version: row.count("version", version)?,
            created_at: row.time("created_at", created_at)?,
            updated_at: row.time("updated_at", updated_at)?,
        })
    }
}
