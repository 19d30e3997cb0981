//! Deletion, step by step: what is on its way out asks what is in it to end, marks what is over for removal, and goes last.
//!
//! Each step is one bounded transaction that asks the rows what there is to do, so a crash between any two of them loses
//! nothing, and any number may be at it at once.

use std::time::Duration;

use sea_orm::FromQueryResult;
use sea_orm::entity::prelude::*;
use taskplane_domain::name::SpaceName;
use taskplane_domain::retention::Cause;
use taskplane_domain::task::Task;
use taskplane_domain::uid::{AppUid, JobUid};

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::mark::RemovalOf;
use crate::row::{Row, app, space, task};
use crate::txn::Txn;
use crate::{app as apps, event, sql, task as tasks};

/// Of those on their way out, looked at at a time.
const PAGE: i64 = 100;
/// Tasks asked to end in one transaction.
const ENDS: u32 = 200;
/// Tasks marked for removal in one transaction.
const MARKS: u32 = 1000;
/// Jobs or Apps marked in one transaction.
const PARTS: u32 = 50;

/// What a pass over those on their way out came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// There was something to do, and there may be more of it.
    pub moved: bool,
    /// Tasks were marked for removal.
    pub marked: bool,
}

/// What there is to do for an App or a Job.
#[derive(FromQueryResult)]
struct Owing {
    uid: Uuid,
    grace: Option<i64>,
    parts: bool,
    live: bool,
    over: bool,
    full: bool,
}

#[derive(Clone, Copy)]
enum Owner {
    App(Uuid),
    Job(Uuid),
}

/// One query text for those of `$table` that are on their way out.
macro_rules! owing {
    ($table:literal, $deleting:literal, $of:literal, $grace:literal, $parts:literal, $anything:literal) => {
        concat!(
            "SELECT o.uid, ",
            $grace,
            " AS grace, ",
            $parts,
            " AS parts, EXISTS (SELECT 1 FROM tasks t WHERE t.",
            $of,
            " = o.uid AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') \
                 AND (t.state <> 'CANCELLING' OR t.cancel_grace IS NULL OR t.cancel_grace > coalesce(",
            $grace,
            ", 0))) AS live, EXISTS (SELECT 1 FROM tasks t WHERE t.",
            $of,
            " = o.uid AND t.state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND t.remove_since IS NULL) AS over, \
                 EXISTS (SELECT 1 FROM tasks t WHERE t.",
            $of,
            " = o.uid)",
            $anything,
            " AS \"full\" FROM ",
            $table,
            " o WHERE ",
            $deleting,
            " = 'DELETING' AND o.uid > $1 ORDER BY o.uid LIMIT $2"
        )
    };
}

const APPS: &str = owing!(
    "apps",
    "o.standing",
    "app_uid",
    "CAST(NULL AS bigint)",
    "EXISTS (SELECT 1 FROM jobs j WHERE j.app_uid = o.uid AND j.state <> 'DELETING')",
    " OR EXISTS (SELECT 1 FROM jobs j WHERE j.app_uid = o.uid)"
);
const JOBS: &str = owing!("jobs", "o.state", "job_uid", "o.delete_grace", "(1 = 0)", "");

impl Store {
    /// A step for each App that is on its way out.
    pub async fn apps_clear(&self) -> Result<Steps, StoreError> {
        self.clear(APPS, Owner::App).await
    }

    /// A step for each Job that is on its way out.
    pub async fn jobs_clear(&self) -> Result<Steps, StoreError> {
        self.clear(JOBS, Owner::Job).await
    }

    /// A step for each Space that is on its way out: its Apps follow it, and it goes after the last of them.
    pub async fn spaces_clear(&self) -> Result<Steps, StoreError> {
        const TEXT: &str = "SELECT s.uid, CAST(NULL AS bigint) AS grace, \
                 EXISTS (SELECT 1 FROM apps a WHERE a.space = s.name AND a.standing = 'ACTIVE') AS parts, \
                 (1 = 0) AS live, EXISTS (SELECT 1 FROM services i WHERE i.space_uid = s.uid) AS over, \
                 EXISTS (SELECT 1 FROM apps a WHERE a.space = s.name) AS \"full\" \
             FROM spaces s WHERE s.standing = 'DELETING' AND s.uid > $1 ORDER BY s.uid LIMIT $2";
        let (mut all, mut after) = (Steps::default(), Uuid::nil());
        loop {
            let found: Vec<Owing> = self.read(sql::all(self.db(), TEXT, [after.into(), PAGE.into()])).await?;
            let Some(last) = found.last() else { return Ok(all) };
            after = last.uid;
            for Owing { uid, parts, over, full, .. } in found {
                let moved = async {
                    if parts {
                        return Ok(self.space_apps_delete(uid, PARTS).await? > 0);
                    }
                    if over && !full {
                        return self.space_services_delete(uid).await;
                    }
                    Ok(!full && self.space_remove(uid).await?)
                };
                all.moved |= readable("space", uid, moved.await)?;
            }
        }
    }

    /// No App is left that could be bound to them.
    async fn space_services_delete(&self, space: Uuid) -> Result<bool, StoreError> {
        let Some(row) = self.read(space::Entity::find_by_id(space).one(self.db())).await? else { return Ok(false) };
        let name = SpaceName(Row::new("spaces", space).parsed("name", &row.name)?);
        let services = self.service_list(&name, None, PARTS).await?;
        for service in &services {
            match self.service_delete(&service.clone().delete(self.now().await?)).await {
                // Somebody else was at it.
                Ok(()) | Err(StoreError::NotFound(_) | StoreError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(!services.is_empty())
    }

    async fn clear(&self, text: &'static str, of: fn(Uuid) -> Owner) -> Result<Steps, StoreError> {
        let (mut all, mut after) = (Steps::default(), Uuid::nil());
        loop {
            let found: Vec<Owing> = self.read(sql::all(self.db(), text, [after.into(), PAGE.into()])).await?;
            let Some(last) = found.last() else { return Ok(all) };
            after = last.uid;
            for todo in found {
                let (uid, mut steps) = (todo.uid, Steps::default());
                let done = self.step(of(uid), &todo, &mut steps).await;
                readable("what is being deleted", uid, done.map(|()| true))?;
                all = Steps { moved: all.moved | steps.moved, marked: all.marked | steps.marked };
            }
        }
    }

    async fn step(&self, owner: Owner, todo: &Owing, steps: &mut Steps) -> Result<(), StoreError> {
        let grace = Duration::from_micros(u64::try_from(todo.grace.unwrap_or_default()).unwrap_or_default());
        if let (true, Owner::App(uid)) = (todo.parts, owner) {
            steps.moved |= self.app_jobs_delete(uid, PARTS).await? > 0;
        }
        if todo.live {
            steps.moved |= self.tasks_end(owner, grace, ENDS).await? > 0;
        }
        if todo.over {
            let of = match owner {
                Owner::App(uid) => RemovalOf::App(AppUid(uid)),
                Owner::Job(uid) => RemovalOf::Job(JobUid(uid)),
            };
            let marked = self.removal_mark(of, Cause::Deleted, MARKS).await? > 0;
            *steps = Steps { moved: steps.moved | marked, marked: steps.marked | marked };
        }
        if !todo.full {
            steps.moved |= match owner {
                Owner::App(uid) => self.app_remove(uid).await?,
                Owner::Job(uid) => self.job_remove(uid).await?,
            };
        }
        Ok(())
    }

    /// Asks up to `limit` live Tasks to end, those too that were asked more gently before. Says how many.
    async fn tasks_end(&self, owner: Owner, grace: Duration, limit: u32) -> Result<u32, StoreError> {
        self.write("tasks_end", move |txn| Box::pin(async move { end(txn, owner, grace, limit).await })).await
    }

    /// Marks up to `limit` Apps of a Space that is on its way out. Says how many.
    async fn space_apps_delete(&self, space: Uuid, limit: u32) -> Result<u32, StoreError> {
        self.write("space_apps_delete", move |txn| Box::pin(async move { mark_apps(txn, space, limit).await })).await
    }
}

/// The others need not wait for somebody to mend what cannot be read.
fn readable(what: &str, uid: Uuid, moved: Result<bool, StoreError>) -> Result<bool, StoreError> {
    match moved {
        Err(StoreError::Corrupt(corrupt)) => {
            tracing::error!(%uid, %corrupt, "{what} cannot be cleared");
            Ok(false)
        }
        moved => moved,
    }
}

macro_rules! live {
    ($of:literal, $lock:literal) => {
        concat!(
            "SELECT * FROM tasks WHERE ",
            $of,
            " = $1 AND state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING') \
                 AND (state <> 'CANCELLING' OR cancel_grace IS NULL OR cancel_grace > $2) ORDER BY id LIMIT $3",
            $lock
        )
    };
}

async fn end(txn: &Txn, owner: Owner, grace: Duration, limit: u32) -> Result<u32, Fault> {
    let (uid, sqlite, postgres) = match owner {
        Owner::App(uid) => (uid, live!("app_uid", ""), live!("app_uid", " FOR UPDATE SKIP LOCKED")),
        Owner::Job(uid) => (uid, live!("job_uid", ""), live!("job_uid", " FOR UPDATE SKIP LOCKED")),
    };
    let micros = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
    let values = [uid.into(), micros.into(), i64::from(limit).into()];
    let rows: Vec<task::Model> = sql::all(&txn.db, sql::choose(&txn.db, sqlite, postgres), values).await?;
    let (now, mut asked) = (txn.now().await?, 0);
    for row in rows {
        match Task::try_from(row) {
            Ok(task) => {
                if let Some(step) = task.cancel_within(Some(grace), now)
                    && tasks::change(txn, &step, None).await?
                {
                    asked += 1;
                }
            }
            Err(corrupt) => tracing::error!(%corrupt, "a task cannot be ended"),
        }
    }
    Ok(asked)
}

async fn mark_apps(txn: &Txn, space: Uuid, limit: u32) -> Result<u32, Fault> {
    let text = sql::choose(
        &txn.db,
        "SELECT a.*, r.spec FROM apps a LEFT JOIN app_revisions r ON r.app_uid = a.uid AND r.revision = a.revision \
         WHERE a.space_uid = $1 AND a.standing = 'ACTIVE' ORDER BY a.uid LIMIT $2",
        "SELECT a.*, r.spec FROM apps a LEFT JOIN app_revisions r ON r.app_uid = a.uid AND r.revision = a.revision \
         WHERE a.space_uid = $1 AND a.standing = 'ACTIVE' ORDER BY a.uid LIMIT $2 FOR UPDATE OF a SKIP LOCKED",
    );
    let rows: Vec<app::WithSpec> = sql::all(&txn.db, text, [space.into(), i64::from(limit).into()]).await?;
    let (now, mut events) = (txn.now().await?, Vec::with_capacity(rows.len()));
    for row in rows {
        match row.open(&txn.secrets) {
            Ok(app) => {
                let Some(change) = app.delete(now) else { continue };
                apps::advance(txn, &change.app).await?;
                events.push(change.event);
            }
            Err(corrupt) => tracing::error!(%corrupt, "an app cannot be deleted"),
        }
    }
    event::append_all(txn, &events).await?;
    Ok(u32::try_from(events.len()).unwrap_or(u32::MAX))
}
