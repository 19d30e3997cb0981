//! What is so around one Task: for whoever asks why it is not running, or not gone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{FromQueryResult, QuerySelect};
use taskplane_domain::app::Source;
use taskplane_domain::name::{SpaceName, TaskName};
use taskplane_domain::task::{Circumstances, Holder, Task};
use taskplane_domain::uid::TaskUid;

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::{Row, big, session, task};
use crate::sql;

#[derive(FromQueryResult)]
struct HolderRow {
    executor: String,
    lease_until: i64,
    closed_at: Option<i64>,
}

#[derive(FromQueryResult)]
struct WaitingRow {
    uid: Uuid,
    session_uid: Option<Uuid>,
    /// The oldest live Task of its Job, when it waits for those.
    older: Option<i64>,
    /// What its App's revision needs; empty: an image.
    source: Option<String>,
}

#[derive(FromQueryResult)]
struct IdRow {
    id: i64,
}

impl Store {
    pub async fn task_circumstances(&self, task: &Task) -> Result<Circumstances, StoreError> {
        let now = self.now().await?;
        let sessions = self.sessions_open(&task.cluster).await?;
        let there = sessions.iter().filter(|session| session.lease_until > now);
        let image = matches!(self.app_spec(task.app_uid, task.app_revision).await?.source, Source::Image(_));
        let able = there.clone().filter(|session| session.runs_images || !image).count();
        let unpublished = "SELECT min(at) AS value FROM events WHERE uid = $1 AND published_at IS NULL";
        let unpublished = self.read(sql::number(self.db(), unpublished, [task.uid.0.into()])).await?;
        let settings = self.space_get(&SpaceName(task.name.space.clone())).await?.settings;
        let run_left = "SELECT count(*) AS value FROM tasks WHERE uid = $1 AND run_left";
        Ok(Circumstances {
            now,
            executors: there.count(),
            able,
            holder: self.holder(task).await?,
            older: self.older(task).await?,
            full_quota: self.full_quota(task).await?,
            ahead: self.ahead(task, now.as_microsecond()).await?,
            unpublished_since: Row::new("events", task.uid).maybe_time("at", unpublished)?,
            run_left: self.read(sql::number(self.db(), run_left, [task.uid.0.into()])).await? == Some(1),
            keeps: settings.retention.age,
        })
    }

    /// What PENDING Tasks wait for, as far as it takes to name it: a few statements, however many they are.
    pub async fn tasks_waiting(&self, tasks: &[&Task]) -> Result<HashMap<TaskUid, Circumstances>, StoreError> {
        const OLDER: &str = "(SELECT min(o.id) FROM tasks o WHERE tasks.job_waits AND o.job_uid = tasks.job_uid \
             AND o.id < tasks.id AND o.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING'))";
        const SOURCE: &str = "(SELECT r.source FROM app_revisions r WHERE r.app_uid = tasks.app_uid \
             AND r.revision = tasks.app_revision)";
        let rows = task::Entity::find()
            .select_only()
            .columns([task::Column::Uid, task::Column::SessionUid])
            .expr_as(Expr::cust(OLDER), "older")
            .expr_as(Expr::cust(SOURCE), "source")
            .filter(task::Column::Uid.is_in(tasks.iter().map(|task| task.uid.0)))
            .into_model::<WaitingRow>();
        let rows = self.read(rows.all(self.db())).await?;
        let rows: HashMap<Uuid, WaitingRow> = rows.into_iter().map(|row| (row.uid, row)).collect();
        let holders = self.holders(rows.values().filter_map(|row| row.session_uid)).await?;
        let now = self.now().await?;
        let (mut clusters, mut quotas) = (HashMap::new(), HashMap::new());
        let mut seen = HashMap::with_capacity(tasks.len());
        for task in tasks {
            let Some(WaitingRow { uid: _, session_uid, older, source }) = rows.get(&task.uid.0) else { continue };
            if !clusters.contains_key(&task.cluster) {
                clusters.insert(&task.cluster, self.sessions_open(&task.cluster).await?);
            }
            if let Entry::Vacant(unknown) = quotas.entry(task.space_uid) {
                unknown.insert(self.full_quota(task).await?);
            }
            let there = clusters.get(&task.cluster).into_iter().flatten().filter(|session| session.lease_until > now);
            let image = source.as_deref() == Some("");
            let older = older.map(|id| Row::new("tasks", task.uid).count("id", id)).transpose()?;
            let circumstances = Circumstances {
                now,
                executors: there.clone().count(),
                able: there.filter(|session| session.runs_images || !image).count(),
                holder: session_uid.and_then(|session| holders.get(&session).cloned()),
                older: older.map(|id| TaskName { id, ..task.name.clone() }),
                full_quota: quotas.get(&task.space_uid).copied().flatten(),
                ahead: 0,
                unpublished_since: None,
                run_left: false,
                keeps: None,
            };
            seen.insert(task.uid, circumstances);
        }
        Ok(seen)
    }

    async fn holders(&self, sessions: impl Iterator<Item = Uuid>) -> Result<HashMap<Uuid, Holder>, StoreError> {
        let sessions: BTreeSet<Uuid> = sessions.collect();
        if sessions.is_empty() {
            return Ok(HashMap::new());
        }
        let found = session::Entity::find().filter(session::Column::Uid.is_in(sessions));
        let rows = self.read(found.all(self.db())).await?;
        let holder = |row: session::Model| {
            let of = Row::new("sessions", row.uid);
            let holder = Holder {
                executor: of.parsed("executor", &row.executor)?,
                lease_until: of.time("lease_until", row.lease_until)?,
                closed_at: of.maybe_time("closed_at", row.closed_at)?,
            };
            Ok((row.uid, holder))
        };
        rows.into_iter().map(holder).collect()
    }

    async fn holder(&self, task: &Task) -> Result<Option<Holder>, StoreError> {
        let text = "SELECT s.executor, s.lease_until, s.closed_at FROM tasks t JOIN sessions s ON s.uid = t.session_uid \
             WHERE t.uid = $1";
        let found = self.read(sql::one::<HolderRow>(self.db(), text, [task.uid.0.into()])).await?;
        let Some(HolderRow { executor, lease_until, closed_at }) = found else { return Ok(None) };
        let row = Row::new("sessions", &executor);
        Ok(Some(Holder {
            executor: row.parsed("executor", &executor)?,
            lease_until: row.time("lease_until", lease_until)?,
            closed_at: row.maybe_time("closed_at", closed_at)?,
        }))
    }

    /// The oldest live Task of its Job, when it waits for those.
    async fn older(&self, task: &Task) -> Result<Option<TaskName>, StoreError> {
        let Some(job) = task.job.as_ref().filter(|job| job.waits) else { return Ok(None) };
        let text = "SELECT id FROM tasks WHERE job_uid = $1 AND id < $2 \
             AND state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') ORDER BY id LIMIT 1";
        let values = [job.uid.0.into(), big(task.name.id).into()];
        let Some(IdRow { id }) = self.read(sql::one(self.db(), text, values)).await? else { return Ok(None) };
        Ok(Some(TaskName { id: Row::new("tasks", id).count("id", id)?, ..task.name.clone() }))
    }

    /// The quota of running Tasks of its Space, when as many are handed out.
    async fn full_quota(&self, task: &Task) -> Result<Option<u32>, StoreError> {
        let text = "SELECT running_quota AS value FROM spaces WHERE uid = $1";
        let quota = self.read(sql::number(self.db(), text, [task.space_uid.0.into()])).await?;
        let Some(quota) = quota else { return Ok(None) };
        let quota: u32 = Row::new("spaces", task.space_uid).count("running_quota", quota)?;
        let running = self.space_usage(task.space_uid).await?.running;
        Ok(Some(quota).filter(|quota| running >= u64::from(*quota)))
    }

    /// Waiting Tasks of its Space that are due and older, up to a thousand.
    async fn ahead(&self, task: &Task, now: i64) -> Result<u64, StoreError> {
        let text = "SELECT count(*) AS value FROM (SELECT 1 FROM tasks \
             WHERE state = 'PENDING' AND session_uid IS NULL AND cluster = $1 AND space_uid = $5 AND (created_at, uid) < ($2, $3) \
             AND (not_before IS NULL OR not_before <= $4) LIMIT 1000) older";
        let values = [
            task.cluster.as_str().into(),
            task.created_at.as_microsecond().into(),
            task.uid.0.into(),
            now.into(),
            task.space_uid.0.into(),
        ];
        let count = self.read(sql::number(self.db(), text, values)).await?.unwrap_or_default();
        Ok(Row::new("tasks", task.uid).count("id", count)?)
    }
}
