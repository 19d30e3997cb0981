//! Tasks that are late, by the database's clock. What is to be done about them is the domain's to say, one by one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::Value;
use taskplane_domain::task::{Deadlines, FORCE_AFTER, Task};

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::task;
use crate::sql;

/// What is late now, and how long until something else is. None: nothing will be, as things are.
#[derive(Debug, Clone)]
pub struct Late {
    pub now: Timestamp,
    pub tasks: Vec<Task>,
    pub next: Option<Duration>,
}

impl Store {
    /// CANCELLING Tasks whose grace passed without an end, those that wait longest first.
    pub async fn tasks_to_force(&self, deadlines: &Deadlines, limit: u32) -> Result<Late, StoreError> {
        let (grace, margin) = (micros(deadlines.grace), micros(FORCE_AFTER));
        let late = "SELECT * FROM tasks WHERE state = 'CANCELLING' AND cancel_forced IS NULL \
             AND cancel_since <= $1 AND cancel_since + coalesce(cancel_grace, $2) <= $1 \
             ORDER BY cancel_since, uid LIMIT $3";
        let next = "SELECT min(cancel_since + coalesce(cancel_grace, $2)) AS value FROM tasks \
             WHERE state = 'CANCELLING' AND cancel_forced IS NULL AND cancel_since + coalesce(cancel_grace, $2) > $1";
        let now = self.now().await?;
        let due = now.as_microsecond() - margin;
        let tasks = self.late(late, [due.into(), grace.into(), i64::from(limit).into()]).await?;
        let next = self.read(sql::number(self.db(), next, [due.into(), grace.into()])).await?;
        Ok(Late { now, tasks, next: next.map(|next| until(due, next)) })
    }

    /// STARTING Tasks whose run was not started in time, those that wait longest first.
    pub async fn tasks_not_started(&self, deadlines: &Deadlines, limit: u32) -> Result<Late, StoreError> {
        let late = "SELECT * FROM tasks WHERE state = 'STARTING' AND made_at <= $1 ORDER BY made_at, uid LIMIT $2";
        let next = "SELECT min(made_at) AS value FROM tasks WHERE state = 'STARTING' AND made_at > $1";
        let now = self.now().await?;
        let due = now.as_microsecond().saturating_sub(micros(deadlines.start));
        let tasks = self.late(late, [due.into(), i64::from(limit).into()]).await?;
        let next = self.read(sql::number(self.db(), next, [due.into()])).await?;
        Ok(Late { now, tasks, next: next.map(|next| until(due, next)) })
    }

    async fn late(&self, text: &'static str, values: impl IntoIterator<Item = Value>) -> Result<Vec<Task>, StoreError> {
        let rows: Vec<task::Model> = self.read(sql::all(self.db(), text, values)).await?;
        Ok(rows.into_iter().filter_map(readable).collect())
    }
}

/// The others need not wait for somebody to mend it.
pub(crate) fn readable(row: task::Model) -> Option<Task> {
    Task::try_from(row).inspect_err(|corrupt| tracing::error!(%corrupt, "a late task cannot be read")).ok()
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

fn until(from: i64, to: i64) -> Duration {
    SignedDuration::from_micros(to - from).unsigned_abs()
}
