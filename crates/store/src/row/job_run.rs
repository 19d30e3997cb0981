//! `job_runs`: the ledger. A row never changes, and outlives the Task it speaks of.

use sea_orm::entity::prelude::*;
use taskplane_domain::job::{JobRun, NominalTick, RunOutcome};
use taskplane_domain::name::{JobName, TaskName};
use taskplane_domain::uid::{JobUid, ScheduleUid, TaskUid};

use crate::error::Corrupt;
use crate::row::{Row, big};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job_runs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job_uid: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub space: String,
    pub job: String,
    pub schedule_uid: Option<Uuid>,
    pub schedule: Option<String>,
    pub tick_at: Option<i64>,
    pub outcome: String,
    pub message: String,
    pub task_uid: Option<Uuid>,
    pub app: Option<String>,
    pub task_id: Option<i64>,
    pub missed: i64,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

const STARTED: &str = "STARTED";

impl Model {
    pub(crate) fn new(job_uid: JobUid, run: &JobRun) -> Self {
        let JobRun { job, id, tick, outcome, missed, at } = run;
        let task = match outcome {
            RunOutcome::Started { uid, task } => Some((uid, task)),
            RunOutcome::SkippedOverlap { .. }
            | RunOutcome::Superseded { .. }
            | RunOutcome::Missed { .. }
            | RunOutcome::Refused { .. }
            | RunOutcome::Told { .. } => None,
        };
        Self {
            job_uid: job_uid.0,
            id: big(*id),
            space: job.space.to_string(),
            job: job.job.to_string(),
            schedule_uid: tick.as_ref().map(|tick| tick.schedule_uid.0),
            schedule: tick.as_ref().map(|tick| tick.schedule.to_string()),
            tick_at: tick.as_ref().map(|tick| tick.at.as_microsecond()),
            outcome: outcome.as_str().to_owned(),
            message: outcome.message(),
            task_uid: task.map(|(uid, _)| uid.0),
            app: task.map(|(_, name)| name.app.to_string()),
            task_id: task.map(|(_, name)| big(name.id)),
            missed: big(*missed),
            created_at: at.as_microsecond(),
        }
    }
}

impl TryFrom<Model> for JobRun {
    type Error = Corrupt;

    fn try_from(model: Model) -> Result<Self, Corrupt> {
        let row = Row::new("job_runs", format!("{}/{}", model.job_uid, model.id));
        let Model {
            job_uid: _,
            id,
            space,
            job,
            schedule_uid,
            schedule,
            tick_at,
            outcome,
            message,
            task_uid,
            app,
            task_id,
            missed,
            created_at,
        } = model;
        let job = JobName { space: row.parsed("space", &space)?, job: row.parsed("job", &job)? };
        let tick = match (schedule_uid, schedule, tick_at) {
            (None, None, None) => None,
            (Some(uid), Some(schedule), Some(at)) => Some(NominalTick {
                schedule_uid: ScheduleUid(uid),
                schedule: row.parsed("schedule", &schedule)?,
                at: row.time("tick_at", at)?,
            }),
            _ => return Err(row.corrupt("tick_at")),
        };
        let outcome = match (outcome.as_str(), task_uid, app, task_id) {
            (STARTED, Some(uid), Some(app), Some(id)) => RunOutcome::Started {
                uid: TaskUid(uid),
                task: TaskName {
                    space: job.space.clone(),
                    app: row.parsed("app", &app)?,
                    id: row.count("task_id", id)?,
                },
            },
            (name, None, None, None) => row.needed("outcome", RunOutcome::stored(name, message))?,
            _ => return Err(row.corrupt("outcome")),
        };
        Ok(Self {
            job,
            id: row.count("id", id)?,
            tick,
            outcome,
            missed: row.count("missed", missed)?,
            at: row.time("created_at", created_at)?,
        })
    }
}
