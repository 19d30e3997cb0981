//! Retention: which finished Tasks of an App are one too many. Decided by ranges of the App's own numbers: the boundary is found
//! by a walk down from the newest, as long as what is kept, and everything below it is marked in batches.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::ConnectionTrait;
use sea_orm::DbErr;
use taskplane_domain::name::{AppName, Name};
use taskplane_domain::retention::{Cause, Retention};
use taskplane_domain::task::Task;
use taskplane_domain::uid::AppUid;

use crate::connect::Store;
use crate::deadline::micros;
use crate::error::{Fault, StoreError};
use crate::mark::{marked, marking};
use crate::row::rule::RuleRow;
use crate::row::{big, task};
use crate::sql;
use crate::txn::Txn;

/// What applies to an App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRule {
    pub app: AppUid,
    pub name: AppName,
    pub rule: Retention,
    /// Whether the count is the App's own.
    pub own: bool,
    /// How many Tasks it has ever accepted.
    pub accepted: u64,
}

impl AppRule {
    /// False: the App has none too many, since it never had more than it keeps.
    pub fn may_be_exceeded(&self) -> bool {
        self.accepted > u64::from(self.rule.count) || self.rule.age.is_some() || self.rule.failed.is_some()
    }
}

/// How an App stands to its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionView {
    pub rule: AppRule,
    pub live: u64,
    pub finished: u64,
}

/// What a look at an App came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marked {
    /// Fewer than were asked for: no more are too many.
    pub tasks: u32,
    /// How long until the next Task is too old, as things are.
    pub next: Option<Duration>,
}

/// A Task that would go now, or is going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removable {
    pub task: Task,
    pub cause: Cause,
}

/// What is too much, as ranges: up to a number, or from before a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bounds {
    count: Option<i64>,
    failed: Option<i64>,
    before: Option<i64>,
}

const RULE: &str = "SELECT a.uid, a.space, a.name, a.next_task_id, a.task_retention_count AS own_count, \
         s.task_retention_count AS space_count, s.rules \
     FROM apps a JOIN spaces s ON s.uid = a.space_uid WHERE a.space = $1 AND a.name = $2";

/// Failed ones have a count of their own: `$2` is what is kept with nothing live, `$3` what is kept in any case.
macro_rules! boundary {
    ($of:literal, $most:literal) => {
        concat!(
            "SELECT id AS value FROM tasks WHERE app_uid = $1 AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') \
             AND remove_since IS NULL",
            $of,
            " ORDER BY id DESC LIMIT 1 OFFSET (SELECT ",
            $most,
            "($2 - count(*), $3) FROM (SELECT 1 FROM tasks WHERE app_uid = $1 \
             AND state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') LIMIT $2) live)"
        )
    };
}

impl Store {
    /// Marks up to `limit` Tasks of the App that are too many by its rule, the oldest first. An App that is not there has none,
    /// and neither has one whose rule cannot be read.
    pub async fn retention_mark(&self, name: &AppName, limit: u32) -> Result<Marked, StoreError> {
        match self.mark_excess(name, limit).await {
            // The other Apps need not wait for somebody to mend it.
            Err(StoreError::Corrupt(corrupt)) => {
                tracing::error!(app.name = %name, %corrupt, "what an app keeps cannot be read");
                Ok(Marked::default())
            }
            result => result,
        }
    }

    async fn mark_excess(&self, name: &AppName, limit: u32) -> Result<Marked, StoreError> {
        // Most looks find nothing, and need not wait for their turn to write.
        let Some(rule) = self.read(rule(self.db(), name)).await? else { return Ok(Marked::default()) };
        let rule = rule.into_rule()?;
        let now = self.now().await?;
        let found = async {
            let bounds = bounds(self.db(), &rule, now).await?;
            any(self.db(), &rule, bounds).await
        };
        let tasks = match self.read(found).await? {
            false => 0,
            true => {
                let name = name.clone();
                let marked = self.write("retention_mark", move |txn| {
                    let name = name.clone();
                    Box::pin(async move { mark(txn, &name, limit).await })
                });
                marked.await?
            }
        };
        Ok(Marked { tasks, next: self.next_too_old(&rule, now).await? })
    }

    /// The oldest of those that stay is the next to be too old.
    async fn next_too_old(&self, of: &AppRule, now: Timestamp) -> Result<Option<Duration>, StoreError> {
        const OLDEST: &str = "SELECT min(finished_at) AS value FROM tasks WHERE app_uid = $1 \
             AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND remove_since IS NULL";
        let Some(age) = of.rule.age else { return Ok(None) };
        let Some(oldest) = self.read(sql::number(self.db(), OLDEST, [of.app.0.into()])).await? else { return Ok(None) };
        let due = oldest.saturating_add(micros(age));
        let left = due.saturating_sub(now.as_microsecond());
        Ok(Some(Duration::from_micros(u64::try_from(left).unwrap_or_default())))
    }

    /// Apps in the order of their names, with what applies to each; only those of `space` if one is given.
    pub async fn retention_rules(
        &self,
        space: Option<&Name>,
        after: Option<&AppName>,
        limit: u32,
    ) -> Result<Vec<AppRule>, StoreError> {
        const ALL: &str = "SELECT a.uid, a.space, a.name, a.next_task_id, a.task_retention_count AS own_count, \
                 s.task_retention_count AS space_count, s.rules \
             FROM apps a JOIN spaces s ON s.uid = a.space_uid WHERE (a.space, a.name) > ($1, $2) \
             ORDER BY a.space, a.name LIMIT $3";
        const OF_SPACE: &str = "SELECT a.uid, a.space, a.name, a.next_task_id, a.task_retention_count AS own_count, \
                 s.task_retention_count AS space_count, s.rules \
             FROM apps a JOIN spaces s ON s.uid = a.space_uid WHERE a.space = $1 AND a.name > $2 \
             ORDER BY a.name LIMIT $3";
        let behind = after.map(|after| after.app.as_str()).unwrap_or_default();
        let (text, first) = match space {
            Some(space) => (OF_SPACE, space.as_str()),
            None => (ALL, after.map(|after| after.space.as_str()).unwrap_or_default()),
        };
        let values = [first.into(), behind.into(), i64::from(limit).into()];
        let rows: Vec<RuleRow> = self.read(sql::all(self.db(), text, values)).await?;
        Ok(rows.into_iter().filter_map(readable).collect())
    }

    /// How many Tasks of the App live and how many are over, and what applies to them.
    pub async fn retention_view(&self, name: &AppName) -> Result<RetentionView, StoreError> {
        const LIVE: &str = "SELECT count(*) AS value FROM tasks WHERE app_uid = $1 \
             AND state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')";
        const FINISHED: &str = "SELECT count(*) AS value FROM tasks WHERE app_uid = $1 \
             AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND remove_since IS NULL";
        let rule = self.read(rule(self.db(), name)).await?;
        let rule = rule.ok_or_else(|| StoreError::NotFound(name.to_string()))?.into_rule()?;
        let count = async |text| {
            let count = self.read(sql::number(self.db(), text, [rule.app.0.into()])).await?;
            Ok::<u64, StoreError>(count.unwrap_or_default().unsigned_abs())
        };
        let (live, finished) = (count(LIVE).await?, count(FINISHED).await?);
        Ok(RetentionView { rule, live, finished })
    }

    /// What would go now, and what is going, behind number `after`. Nothing is changed.
    pub async fn removable_list(&self, name: &AppName, after: u64, limit: u32) -> Result<Vec<Removable>, StoreError> {
        const TEXT: &str = "SELECT * FROM tasks WHERE app_uid = $1 AND id > $2 \
             AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND (remove_since IS NOT NULL \
             OR (id <= $3 AND (state <> 'FAILED' OR $4)) OR (id <= $5 AND state = 'FAILED') OR finished_at < $6) \
             ORDER BY id LIMIT $7";
        let rule = self.read(rule(self.db(), name)).await?;
        let rule = rule.ok_or_else(|| StoreError::NotFound(name.to_string()))?.into_rule()?;
        let now = self.now().await?;
        let bounds = self.read(bounds(self.db(), &rule, now)).await?;
        let all = rule.rule.failed.is_none();
        let values = [
            rule.app.0.into(),
            big(after).into(),
            bounds.count.unwrap_or(0).into(),
            all.into(),
            bounds.failed.unwrap_or(0).into(),
            bounds.before.unwrap_or(i64::MIN).into(),
            i64::from(limit).into(),
        ];
        let rows: Vec<task::Model> = self.read(sql::all(self.db(), TEXT, values)).await?;
        rows.into_iter().map(|row| removable(row, bounds, all)).collect()
    }

    /// Marked Tasks that wait for nothing but to be taken away, counted up to `most`.
    pub async fn removals_ready(&self, most: u32) -> Result<u32, StoreError> {
        const TEXT: &str = "SELECT count(*) AS value FROM \
             (SELECT 1 FROM tasks WHERE remove_since IS NOT NULL AND NOT run_left LIMIT $1) ready";
        let count = self.read(sql::number(self.db(), TEXT, [i64::from(most).into()])).await?;
        Ok(u32::try_from(count.unwrap_or_default()).unwrap_or(u32::MAX))
    }
}

/// One that cannot be read keeps what it has, and does not hold the sweep up.
fn readable(row: RuleRow) -> Option<AppRule> {
    row.into_rule().inspect_err(|corrupt| tracing::error!(%corrupt, "what an app keeps cannot be read")).ok()
}

fn removable(row: task::Model, bounds: Bounds, all: bool) -> Result<Removable, StoreError> {
    let within = |bound: Option<i64>| bound.is_some_and(|bound| row.id <= bound);
    let failed = row.state == "FAILED";
    let cause = match &row.remove_cause {
        Some(cause) => Cause::parse(cause).ok_or_else(|| row.place().corrupt("remove_cause"))?,
        None if within(bounds.count) && (all || !failed) => Cause::Count,
        None if within(bounds.failed) && failed => Cause::FailedCount,
        None => Cause::Age,
    };
    Ok(Removable { task: row.try_into()?, cause })
}

async fn rule(db: &impl ConnectionTrait, name: &AppName) -> Result<Option<RuleRow>, DbErr> {
    sql::one(db, RULE, [name.space.as_str().into(), name.app.as_str().into()]).await
}

/// One statement, so that what lives and what is over are counted at the same moment.
async fn bounds(db: &impl ConnectionTrait, of: &AppRule, now: Timestamp) -> Result<Bounds, DbErr> {
    const FAILED: &str = "SELECT id AS value FROM tasks WHERE app_uid = $1 AND state = 'FAILED' AND remove_since IS NULL \
         ORDER BY id DESC LIMIT 1 OFFSET $2";
    let Retention { count, minimum_finished, age, failed } = of.rule;
    let text = match failed {
        None => sql::choose(db, boundary!("", "max"), boundary!("", "greatest")),
        Some(_) => {
            sql::choose(db, boundary!(" AND state <> 'FAILED'", "max"), boundary!(" AND state <> 'FAILED'", "greatest"))
        }
    };
    let values = [of.app.0.into(), i64::from(count).into(), i64::from(minimum_finished).into()];
    let count = sql::number(db, text, values).await?;
    let failed = match failed {
        None => None,
        Some(failed) => sql::number(db, FAILED, [of.app.0.into(), i64::from(failed).into()]).await?,
    };
    let age = age.map(|age| SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX));
    let before = age.map(|age| now.checked_sub(age).unwrap_or(Timestamp::MIN).as_microsecond());
    Ok(Bounds { count, failed, before })
}

async fn any(db: &impl ConnectionTrait, of: &AppRule, bounds: Bounds) -> Result<bool, DbErr> {
    const OLD: &str = "SELECT id AS value FROM tasks WHERE app_uid = $1 \
         AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND remove_since IS NULL AND finished_at < $2 LIMIT 1";
    let Bounds { count, failed, before } = bounds;
    if count.or(failed).is_some() {
        return Ok(true);
    }
    let Some(before) = before else { return Ok(false) };
    Ok(sql::number(db, OLD, [of.app.0.into(), before.into()]).await?.is_some())
}

async fn mark(txn: &Txn, name: &AppName, limit: u32) -> Result<u32, Fault> {
    let Some(of) = rule(&txn.db, name).await? else { return Ok(0) };
    let of = of.into_rule()?;
    let bounds = bounds(&txn.db, &of, txn.now().await?).await?;
    let counted = match of.rule.failed {
        None => marking!("app_uid = $1 AND id <= $5 ORDER BY id"),
        Some(_) => marking!("app_uid = $1 AND id <= $5 AND state <> 'FAILED' ORDER BY id"),
    };
    let failed = marking!("app_uid = $1 AND id <= $5 AND state = 'FAILED' ORDER BY id");
    let old = marking!("app_uid = $1 AND finished_at < $5 ORDER BY finished_at");
    let causes = [
        (counted, bounds.count, Cause::Count),
        (failed, bounds.failed, Cause::FailedCount),
        (old, bounds.before, Cause::Age),
    ];
    let mut done = 0;
    for (texts, bound, cause) in causes {
        if bound.is_some() && done < limit {
            done += marked(txn, texts, of.app.0, bound, cause, limit - done).await?;
        }
    }
    Ok(done)
}
