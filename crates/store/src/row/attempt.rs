//! `attempts`: the ones that ended.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use taskplane_domain::task::{Attempt, Outcome, StateKind};
use taskplane_domain::uid::{RunUid, TaskUid};

use crate::error::Corrupt;
use crate::row::Row;
use crate::row::ending::{Ending, kind_of};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempts")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub task_uid: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    pub run_uid: Option<String>,
    pub made_at: Option<i64>,
    pub started_at: Option<i64>,
    pub finished_at: i64,
    pub state: String,
    pub reason: Option<String>,
    pub reason_class: Option<String>,
    pub message: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// None while it lasts: then it stands in its Task's row.
    pub(crate) fn ended(task: TaskUid, attempt: &Attempt) -> Option<Self> {
        let Attempt { number, run, made_at, started_at, end } = attempt;
        let (finished_at, outcome): &(Timestamp, Outcome) = end.as_ref()?;
        let Ending { reason, reason_class, message, exit_code, signal } = outcome.into();
        Some(Self {
            task_uid: task.0,
            number: (*number).into(),
            run_uid: run.as_ref().map(|run| run.0.clone()),
            made_at: made_at.map(|at| at.as_microsecond()),
            started_at: started_at.map(|at| at.as_microsecond()),
            finished_at: finished_at.as_microsecond(),
            state: kind_of(outcome).as_str().to_owned(),
            reason,
            reason_class,
            message,
            exit_code,
            signal,
        })
    }
}

impl TryFrom<Model> for Attempt {
    type Error = Corrupt;

    fn try_from(model: Model) -> Result<Self, Corrupt> {
        let row = Row::new("attempts", format_args!("{}, {}", model.task_uid, model.number));
        let Model {
            task_uid: _,
            number,
            run_uid,
            made_at,
            started_at,
            finished_at,
            state,
            reason,
            reason_class,
            message,
            exit_code,
            signal,
        } = model;
        let ending = Ending { reason, reason_class, message, exit_code, signal };
        let kind = row.needed("state", StateKind::parse(&state))?;
        let outcome = row.needed("state", ending.outcome(&row, kind)?)?;
        Ok(Self {
            number: row.count("number", number)?,
            run: run_uid.map(RunUid),
            made_at: row.maybe_time("made_at", made_at)?,
            started_at: row.maybe_time("started_at", started_at)?,
            end: Some((row.time("finished_at", finished_at)?, outcome)),
        })
    }
}
