//! What is worth watching from outside: counts of the few rows that are under way, and ages of the oldest.

use std::time::Duration;

use jiff::Timestamp;
use sea_orm::FromQueryResult;
use taskplane_domain::task::{Deadlines, FORCE_AFTER, STUCK_AFTER, StateKind, StuckReason};

use crate::connect::Store;
use crate::deadline::micros;
use crate::error::StoreError;
use crate::row::Row;
use crate::sql;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measures {
    /// Each live state, also those that no Task is in.
    pub live: Vec<(StateKind, u64)>,
    /// Each reason with its state.
    pub stuck: Vec<(StateKind, StuckReason, u64)>,
    /// How long the oldest Task has waited to be taken by an executor.
    pub oldest_waiting: Duration,
    pub unpublished: u64,
    /// How long the oldest event has waited to be told.
    pub oldest_unpublished: Duration,
    /// By how much the latest schedule is late.
    pub oldest_due: Duration,
    pub executors: u64,
}

#[derive(FromQueryResult)]
struct Counted {
    state: String,
    count: i64,
}

impl Store {
    pub async fn measures(&self, deadlines: &Deadlines) -> Result<Measures, StoreError> {
        let now = self.now().await?.as_microsecond();
        let waiting = "SELECT min(created_at) AS value FROM tasks WHERE state = 'PENDING' AND session_uid IS NULL \
             AND (not_before IS NULL OR not_before <= $1)";
        let unpublished = "SELECT count(*) AS value FROM events WHERE published_at IS NULL";
        let oldest = "SELECT min(at) AS value FROM events WHERE published_at IS NULL";
        let due = "SELECT min(next_at) AS value FROM schedules WHERE next_at IS NOT NULL AND next_at <= $1";
        let executors = "SELECT count(*) AS value FROM sessions WHERE closed_at IS NULL AND lease_until > $1";
        let number = async |text, values: Vec<i64>| {
            let values = values.into_iter().map(Into::into);
            self.read(sql::number(self.db(), text, values)).await
        };
        let age = |since: Option<i64>| since.map_or(Duration::ZERO, |since| span(since, now));
        Ok(Measures {
            live: self.live().await?,
            stuck: self.stuck(now, deadlines).await?,
            oldest_waiting: age(number(waiting, vec![now]).await?),
            unpublished: number(unpublished, vec![]).await?.unwrap_or_default().unsigned_abs(),
            oldest_unpublished: age(number(oldest, vec![]).await?),
            oldest_due: age(number(due, vec![now]).await?),
            executors: number(executors, vec![now]).await?.unwrap_or_default().unsigned_abs(),
        })
    }

    async fn live(&self) -> Result<Vec<(StateKind, u64)>, StoreError> {
        let text = "SELECT state, count(*) AS count FROM tasks \
             WHERE state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') GROUP BY state";
        let rows: Vec<Counted> = self.read(sql::all(self.db(), text, [])).await?;
        let mut live: Vec<_> = StateKind::LIVE.into_iter().map(|state| (state, 0)).collect();
        for Counted { state, count } in rows {
            let row = Row::new("tasks", &state);
            let kind = row.needed("state", StateKind::parse(&state))?;
            live.iter_mut().filter(|(state, _)| *state == kind).for_each(|(_, live)| *live = count.unsigned_abs());
        }
        Ok(live)
    }

    /// The rule of [`taskplane_domain::task::Task::stuck`], asked of all rows at once.
    async fn stuck(&self, now: i64, deadlines: &Deadlines) -> Result<Vec<(StateKind, StuckReason, u64)>, StoreError> {
        let due = now - micros(STUCK_AFTER);
        let (grace, start) = (micros(deadlines.grace), micros(deadlines.start));
        let not_started = "SELECT count(*) AS value FROM tasks WHERE state = 'STARTING' AND made_at <= $1";
        let over_time = "SELECT count(*) AS value FROM tasks WHERE ends_by IS NOT NULL AND ends_by <= $1";
        let not_ending = "SELECT count(*) AS value FROM tasks WHERE state = 'CANCELLING' \
             AND coalesce(cancel_forced, cancel_since + coalesce(cancel_grace, $2) + $3) <= $1";
        let asked = [
            (StateKind::Starting, StuckReason::NotStarted, not_started, vec![due - start]),
            (StateKind::Running, StuckReason::OverTime, over_time, vec![due - grace]),
            (StateKind::Cancelling, StuckReason::NotEnding, not_ending, vec![due, grace, micros(FORCE_AFTER)]),
        ];
        let mut stuck = Vec::with_capacity(asked.len());
        for (state, reason, text, values) in asked {
            let count = self.read(sql::number(self.db(), text, values.into_iter().map(Into::into))).await?;
            stuck.push((state, reason, count.unwrap_or_default().unsigned_abs()));
        }
        Ok(stuck)
    }
}

fn span(since: i64, now: i64) -> Duration {
    let at = |micros| Timestamp::from_microsecond(micros).unwrap_or_default();
    let age = at(now).duration_since(at(since));
    Duration::try_from(age).unwrap_or_default()
}
