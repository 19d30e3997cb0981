//! `tasks`: what a Task is, and who holds it.

use prost::Message as _;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use taskplane_domain::name::TaskName;
use taskplane_domain::task::{Condition, Guard, JobRef, Task, TaskState, Ticket, Transition};
use taskplane_domain::uid::{AppUid, Fence, JobUid, SpaceUid, TaskUid};
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::ending::Ending;
use crate::row::state::StateCells;
use crate::row::{Row, big};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tasks")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub space_uid: Uuid,
    pub app_uid: Uuid,
    pub space: String,
    pub app: String,
    pub id: i64,
    pub display_name: String,
    pub cluster: String,
    pub job: Option<String>,
    pub job_uid: Option<Uuid>,
    pub job_schedule: Option<String>,
    pub job_tick: Option<i64>,
    pub job_waits: bool,
    pub state: String,
    pub version: i64,
    pub attempt: i64,
    pub not_before: Option<i64>,
    pub run_uid: Option<String>,
    /// The run's command starts only with a ticket, which was given to this pod and process.
    pub guarded: bool,
    pub ticket_pod: Option<String>,
    pub ticket_nonce: Option<String>,
    pub made_at: Option<i64>,
    pub waiting: Option<Vec<u8>>,
    pub started_at: Option<i64>,
    pub cancel_since: Option<i64>,
    pub cancel_grace: Option<i64>,
    pub cancel_cause: Option<String>,
    pub cancel_forced: Option<i64>,
    /// For those who look for what is late; nothing is read from it.
    pub ends_by: Option<i64>,
    pub log_delete: Option<String>,
    pub finished_at: Option<i64>,
    pub reason: Option<String>,
    pub reason_class: Option<String>,
    pub message: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub spec: Vec<u8>,
    /// None before the first run was made, and for what an earlier release wrote.
    pub conditions: Option<Vec<u8>>,
    pub app_revision: i64,
    pub space_env_revision: i64,
    pub trace: Option<String>,
    pub created_at: i64,
    pub session_uid: Option<Uuid>,
    pub fence: i64,
    /// Something of the last run may be left with this executor: its own uid and attempt.
    pub run_left: bool,
    pub left_run: Option<String>,
    pub left_attempt: Option<i64>,
    pub executor: Option<String>,
    /// Marked to be removed. Only the mark itself touches these two, and it never touches the version.
    pub remove_since: Option<i64>,
    pub remove_cause: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Its log goes when it is over.
pub(crate) const LOG_ASKED: &str = "ASKED";

/// When its timeout is over, while it runs.
fn ends_by(task: &Task) -> Option<i64> {
    let TaskState::Running { started_at, .. } = task.state else { return None };
    let timeout = i64::try_from(task.spec.timeout?.as_micros()).ok()?;
    started_at.as_microsecond().checked_add(timeout)
}

/// A new Task, which nobody holds.
impl From<&Task> for Model {
    fn from(task: &Task) -> Self {
        let Task {
            uid,
            space_uid,
            app_uid,
            name,
            display_name,
            state,
            attempt,
            guard,
            conditions,
            spec,
            app_revision,
            space_env_revision,
            job,
            cluster,
            version,
            created_at,
            remove_since,
            delete_log,
            trace,
        } = task;
        let StateCells {
            state,
            not_before,
            run_uid,
            made_at,
            waiting,
            started_at,
            cancel_since,
            cancel_grace,
            cancel_cause,
            cancel_forced,
            finished_at,
            ending,
        } = state.into();
        let Ending { reason, reason_class, message, exit_code, signal } = ending;
        let (guarded, ticket_pod, ticket_nonce) = guard_cells(guard);
        Self {
            uid: uid.0,
            space_uid: space_uid.0,
            app_uid: app_uid.0,
            space: name.space.to_string(),
            app: name.app.to_string(),
            id: big(name.id),
            display_name: display_name.clone(),
            cluster: cluster.to_string(),
            job: job.as_ref().map(|job| job.name.to_string()),
            job_uid: job.as_ref().map(|job| job.uid.0),
            job_schedule: job.as_ref().and_then(|job| job.schedule.as_ref()).map(ToString::to_string),
            job_tick: job.as_ref().and_then(|job| job.tick).map(|tick| tick.as_microsecond()),
            job_waits: job.as_ref().is_some_and(|job| job.waits),
            state,
            version: big(*version),
            attempt: (*attempt).into(),
            not_before,
            run_uid,
            guarded,
            ticket_pod,
            ticket_nonce,
            made_at,
            waiting,
            started_at,
            cancel_since,
            cancel_grace,
            cancel_cause,
            cancel_forced,
            finished_at,
            reason,
            reason_class,
            message,
            exit_code,
            signal,
            spec: pb::TaskSpec::from(spec).encode_to_vec(),
            conditions: conditions_cell(conditions),
            app_revision: (*app_revision).into(),
            space_env_revision: (*space_env_revision).into(),
            trace: trace.clone(),
            created_at: created_at.as_microsecond(),
            ends_by: None,
            log_delete: delete_log.then(|| LOG_ASKED.to_owned()),
            session_uid: None,
            fence: 0,
            run_left: false,
            left_run: None,
            left_attempt: None,
            executor: None,
            remove_since: remove_since.map(|since| since.as_microsecond()),
            remove_cause: None,
        }
    }
}

fn guard_cells(guard: &Guard) -> (bool, Option<String>, Option<String>) {
    match guard {
        Guard::Off => (false, None, None),
        Guard::Waiting => (true, None, None),
        Guard::Granted(Ticket { pod_uid, nonce }) => (true, Some(pod_uid.clone()), Some(nonce.clone())),
    }
}

fn guard_of(row: &Row, cells: (bool, Option<String>, Option<String>)) -> Result<Guard, Corrupt> {
    match cells {
        (false, None, None) => Ok(Guard::Off),
        (true, None, None) => Ok(Guard::Waiting),
        (true, Some(pod_uid), Some(nonce)) => Ok(Guard::Granted(Ticket { pod_uid, nonce })),
        (false, ..) => Err(row.corrupt("guarded")),
        (true, None, Some(_)) => Err(row.corrupt("ticket_pod")),
        (true, Some(_), None) => Err(row.corrupt("ticket_nonce")),
    }
}

fn conditions_cell(conditions: &[Condition]) -> Option<Vec<u8>> {
    (!conditions.is_empty()).then(|| pb::TaskConditions::from(conditions).encode_to_vec())
}

impl ActiveModel {
    /// The cells that a transition may change, and no others.
    pub(crate) fn changed(step: &Transition) -> Self {
        let task = step.task();
        let StateCells {
            state,
            not_before,
            run_uid,
            made_at,
            waiting,
            started_at,
            cancel_since,
            cancel_grace,
            cancel_cause,
            cancel_forced,
            finished_at,
            ending,
        } = (&task.state).into();
        let Ending { reason, reason_class, message, exit_code, signal } = ending;
        let (guarded, ticket_pod, ticket_nonce) = guard_cells(&task.guard);
        let mut changed = Self {
            state: Set(state),
            version: Set(big(task.version)),
            attempt: Set(task.attempt.into()),
            conditions: Set(conditions_cell(&task.conditions)),
            not_before: Set(not_before),
            run_uid: Set(run_uid),
            guarded: Set(guarded),
            ticket_pod: Set(ticket_pod),
            ticket_nonce: Set(ticket_nonce),
            made_at: Set(made_at),
            waiting: Set(waiting),
            started_at: Set(started_at),
            cancel_since: Set(cancel_since),
            cancel_grace: Set(cancel_grace),
            cancel_cause: Set(cancel_cause),
            cancel_forced: Set(cancel_forced),
            ends_by: Set(ends_by(task)),
            finished_at: Set(finished_at),
            reason: Set(reason),
            reason_class: Set(reason_class),
            message: Set(message),
            exit_code: Set(exit_code),
            signal: Set(signal),
            ..Default::default()
        };
        if task.delete_log {
            changed.log_delete = Set(Some(LOG_ASKED.to_owned()));
        }
        if step.releases() {
            changed.session_uid = Set(None);
        }
        changed
    }
}

impl Model {
    pub(crate) fn place(&self) -> Row {
        Row::new("tasks", self.uid)
    }

    pub(crate) fn fence(&self) -> Result<Fence, Corrupt> {
        Ok(Fence(Row::new("tasks", self.uid).count("fence", self.fence)?))
    }
}

impl TryFrom<Model> for Task {
    type Error = Corrupt;

    fn try_from(model: Model) -> Result<Self, Corrupt> {
        let row = Row::new("tasks", model.uid);
        let Model {
            uid,
            space_uid,
            app_uid,
            space,
            app,
            id,
            display_name,
            cluster,
            job,
            job_uid,
            job_schedule,
            job_tick,
            job_waits,
            state,
            version,
            attempt,
            not_before,
            run_uid,
            guarded,
            ticket_pod,
            ticket_nonce,
            made_at,
            waiting,
            started_at,
            cancel_since,
            cancel_grace,
            cancel_cause,
            cancel_forced,
            finished_at,
            reason,
            reason_class,
            message,
            exit_code,
            signal,
            spec,
            conditions,
            app_revision,
            space_env_revision,
            trace,
            created_at,
            ends_by: _,
            log_delete,
            session_uid: _,
            fence: _,
            run_left: _,
            left_run: _,
            left_attempt: _,
            executor: _,
            remove_since,
            remove_cause: _,
        } = model;
        let job = match (job, job_uid) {
            (None, None) => None,
            (Some(name), Some(uid)) => Some(JobRef {
                uid: JobUid(uid),
                name: row.parsed("job", &name)?,
                schedule: job_schedule.map(|schedule| row.parsed("job_schedule", &schedule)).transpose()?,
                tick: row.maybe_time("job_tick", job_tick)?,
                waits: job_waits,
            }),
            _ => return Err(row.corrupt("job_uid")),
        };
        let ending = Ending { reason, reason_class, message, exit_code, signal };
        let cells = StateCells {
            state,
            not_before,
            run_uid,
            made_at,
            waiting,
            started_at,
            cancel_since,
            cancel_grace,
            cancel_cause,
            cancel_forced,
            finished_at,
            ending,
        };
        Ok(Self {
            uid: TaskUid(uid),
            space_uid: SpaceUid(space_uid),
            app_uid: AppUid(app_uid),
            name: TaskName {
                space: row.parsed("space", &space)?,
                app: row.parsed("app", &app)?,
                id: row.count("id", id)?,
            },
            display_name,
            state: cells.into_state(&row)?,
            attempt: row.count("attempt", attempt)?,
            guard: guard_of(&row, (guarded, ticket_pod, ticket_nonce))?,
            conditions: conditions
                .map(|cell| row.decoded::<pb::TaskConditions, _>("conditions", &cell))
                .transpose()?
                .unwrap_or_default(),
            spec: row.decoded::<pb::TaskSpec, _>("spec", &spec)?,
            app_revision: row.count("app_revision", app_revision)?,
            space_env_revision: row.count("space_env_revision", space_env_revision)?,
            job,
            cluster: row.parsed("cluster", &cluster)?,
            version: row.count("version", version)?,
            created_at: row.time("created_at", created_at)?,
            remove_since: row.maybe_time("remove_since", remove_since)?,
            delete_log: log_delete.is_some(),
            trace,
        })
    }
}
