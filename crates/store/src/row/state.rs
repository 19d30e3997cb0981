//! A Task's state as cells. Each state fills its own and leaves the others empty; a row that does otherwise is corrupt.

use std::time::Duration;

use prost::Message as _;
use taskplane_domain::task::{CancelCause, StateKind, TaskState};
use taskplane_domain::uid::RunUid;
use taskplane_proto::internal::v1 as pb;

use crate::error::Corrupt;
use crate::row::Row;
use crate::row::ending::Ending;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StateCells {
    pub state: String,
    pub not_before: Option<i64>,
    pub run_uid: Option<String>,
    pub made_at: Option<i64>,
    /// While STARTING, and what it waited for while CANCELLING.
    pub waiting: Option<Vec<u8>>,
    pub started_at: Option<i64>,
    pub cancel_since: Option<i64>,
    pub cancel_grace: Option<i64>,
    pub cancel_cause: Option<String>,
    pub cancel_forced: Option<i64>,
    pub finished_at: Option<i64>,
    pub ending: Ending,
}

impl From<&TaskState> for StateCells {
    fn from(state: &TaskState) -> Self {
        let mut cells = Self {
            state: state.kind().as_str().to_owned(),
            run_uid: state.run().map(|run| run.0.clone()),
            started_at: state.started_at().map(|at| at.as_microsecond()),
            waiting: state.waiting().map(|waiting| pb::TaskWaiting::from(waiting).encode_to_vec()),
            ..Self::default()
        };
        match state {
            TaskState::Pending { not_before } => cells.not_before = not_before.map(|at| at.as_microsecond()),
            TaskState::Starting { run: _, made_at, waiting: _ }
            | TaskState::Running { run: _, made_at, started_at: _ } => cells.made_at = Some(made_at.as_microsecond()),
            TaskState::Cancelling { run: _, made_at, started_at: _, waited: _, since, grace, cause, forced_at } => {
                cells.made_at = Some(made_at.as_microsecond());
                cells.cancel_since = Some(since.as_microsecond());
                cells.cancel_grace = grace.map(|grace| i64::try_from(grace.as_micros()).unwrap_or(i64::MAX));
                cells.cancel_cause = match cause {
                    CancelCause::Asked => None,
                    CancelCause::StartDeadline => Some(cause.as_str().to_owned()),
                };
                cells.cancel_forced = forced_at.map(|at| at.as_microsecond());
            }
            TaskState::Finished { started_at: _, finished_at, outcome } => {
                cells.finished_at = Some(finished_at.as_microsecond());
                cells.ending = outcome.into();
            }
        }
        cells
    }
}

impl StateCells {
    pub(crate) fn into_state(self, row: &Row) -> Result<TaskState, Corrupt> {
        let kind = StateKind::parse(&self.state).ok_or_else(|| row.corrupt("state"))?;
        self.nothing_but(row, cells_of(kind))?;
        let run = |cells: &Self| row.needed("run_uid", cells.run_uid.clone().map(RunUid));
        let made_at = |cells: &Self| row.time("made_at", row.needed("made_at", cells.made_at)?);
        let waiting = |cells: &Self| {
            cells.waiting.as_deref().map(|cell| row.decoded::<pb::TaskWaiting, _>("waiting", cell)).transpose()
        };
        let started_at = row.maybe_time("started_at", self.started_at)?;
        Ok(match kind {
            StateKind::Pending => TaskState::Pending { not_before: row.maybe_time("not_before", self.not_before)? },
            StateKind::Starting => {
                TaskState::Starting { run: run(&self)?, made_at: made_at(&self)?, waiting: waiting(&self)? }
            }
            StateKind::Running => TaskState::Running {
                run: run(&self)?,
                made_at: made_at(&self)?,
                started_at: row.needed("started_at", started_at)?,
            },
            StateKind::Cancelling => TaskState::Cancelling {
                run: run(&self)?,
                made_at: made_at(&self)?,
                started_at,
                waited: waiting(&self)?,
                since: row.time("cancel_since", row.needed("cancel_since", self.cancel_since)?)?,
                grace: self
                    .cancel_grace
                    .map(|grace| row.count("cancel_grace", grace).map(Duration::from_micros))
                    .transpose()?,
                cause: match &self.cancel_cause {
                    None => CancelCause::Asked,
                    Some(cause) => CancelCause::parse(cause).ok_or_else(|| row.corrupt("cancel_cause"))?,
                },
                forced_at: row.maybe_time("cancel_forced", self.cancel_forced)?,
            },
            StateKind::Succeeded | StateKind::Failed | StateKind::Cancelled => TaskState::Finished {
                started_at,
                finished_at: row.time("finished_at", row.needed("finished_at", self.finished_at)?)?,
                outcome: row.needed("state", self.ending.outcome(row, kind)?)?,
            },
        })
    }

    fn nothing_but(&self, row: &Row, allowed: &[&str]) -> Result<(), Corrupt> {
        let filled = [
            ("not_before", self.not_before.is_some()),
            ("run_uid", self.run_uid.is_some()),
            ("made_at", self.made_at.is_some()),
            ("waiting", self.waiting.is_some()),
            ("started_at", self.started_at.is_some()),
            ("cancel_since", self.cancel_since.is_some()),
            ("cancel_grace", self.cancel_grace.is_some()),
            ("cancel_cause", self.cancel_cause.is_some()),
            ("cancel_forced", self.cancel_forced.is_some()),
            ("finished_at", self.finished_at.is_some()),
            ("reason", self.ending.reason.is_some()),
            ("reason_class", self.ending.reason_class.is_some()),
            ("message", self.ending.message.is_some()),
            ("exit_code", self.ending.exit_code.is_some()),
            ("signal", self.ending.signal.is_some()),
        ];
        match filled.iter().find(|(column, filled)| *filled && !allowed.contains(column)) {
            Some((column, _)) => Err(row.corrupt(column)),
            None => Ok(()),
        }
    }
}

/// The cells that may be filled in a state.
fn cells_of(kind: StateKind) -> &'static [&'static str] {
    match kind {
        StateKind::Pending => &["not_before"],
        StateKind::Starting => &["run_uid", "made_at", "waiting"],
        StateKind::Running => &["run_uid", "made_at", "started_at"],
        StateKind::Cancelling => &[
            "run_uid",
            "made_at",
            "waiting",
            "started_at",
            "cancel_since",
            "cancel_grace",
            "cancel_cause",
            "cancel_forced",
        ],
        StateKind::Succeeded | StateKind::Failed | StateKind::Cancelled => {
            &["started_at", "finished_at", "reason", "reason_class", "message", "exit_code", "signal"]
        }
    }
}
