//! The end of an App. Its mark, after which nothing new is taken in; and its last moment, once nothing is left of it.

use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use taskplane_domain::app::{App, AppChange};
use taskplane_domain::task::StateKind;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{app, job, task};
use crate::txn::Txn;
use crate::{app as apps, event, sql};

impl Store {
    /// Marks the App; one that has nothing goes at once. Refused while it has Jobs or live Tasks, unless it is by `force`.
    pub async fn app_delete(&self, change: &AppChange, force: bool) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("app_delete", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { mark(txn, &change, force).await })
        })
        .await
    }

    /// The App goes if it is on its way out and nothing is left of it. Says whether it went.
    pub(crate) async fn app_remove(&self, uid: Uuid) -> Result<bool, StoreError> {
        self.write("app_remove", move |txn| Box::pin(async move { remove(txn, uid).await })).await
    }
}

async fn mark(txn: &Txn, change: &AppChange, force: bool) -> Result<(), Fault> {
    let app = &change.app;
    // The row first: whoever accepts a Task or makes a Job locks it too, so none can slip in while they are counted.
    apps::advance(txn, app).await?;
    let jobs = jobs(txn, app.uid.0).await?;
    let live = task::Column::State.is_in(StateKind::LIVE.map(StateKind::as_str));
    let live = task::Entity::find().filter(task::Column::AppUid.eq(app.uid.0)).filter(live).count(&txn.db).await?;
    if !force {
        refuse(app, jobs, "job")?;
        refuse(app, live, "live task")?;
    }
    event::append(txn, &change.event).await?;
    if jobs == 0 && !has_tasks(txn, app.uid.0).await? {
        let now = txn.now().await?;
        end(txn, app.clone(), now).await?;
    }
    Ok(())
}

fn refuse(app: &App, count: u64, one: &str) -> Result<(), StoreError> {
    let what = match count {
        0 => return Ok(()),
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    Err(StoreError::InUse { name: app.name.to_string(), what })
}

async fn jobs(txn: &Txn, app: Uuid) -> Result<u64, Fault> {
    Ok(job::Entity::find().filter(job::Column::AppUid.eq(app)).count(&txn.db).await?)
}

async fn has_tasks(txn: &Txn, app: Uuid) -> Result<bool, Fault> {
    Ok(task::Entity::find().filter(task::Column::AppUid.eq(app)).one(&txn.db).await?.is_some())
}

async fn remove(txn: &Txn, uid: Uuid) -> Result<bool, Fault> {
    let text = sql::choose(
        &txn.db,
        "SELECT a.*, r.spec FROM apps a LEFT JOIN app_revisions r ON r.app_uid = a.uid AND r.revision = a.revision \
         WHERE a.uid = $1 AND a.standing = 'DELETING'",
        "SELECT a.*, r.spec FROM apps a LEFT JOIN app_revisions r ON r.app_uid = a.uid AND r.revision = a.revision \
         WHERE a.uid = $1 AND a.standing = 'DELETING' FOR UPDATE OF a SKIP LOCKED",
    );
    let Some(row) = sql::one::<app::WithSpec>(&txn.db, text, [uid.into()]).await? else { return Ok(false) };
    if jobs(txn, uid).await? > 0 || has_tasks(txn, uid).await? {
        return Ok(false);
    }
    end(txn, row.open(&txn.secrets)?, txn.now().await?).await?;
    Ok(true)
}

/// Everything that goes with an App itself. Its idempotency keys go with the histories of its Tasks.
async fn end(txn: &Txn, app: App, at: Timestamp) -> Result<(), Fault> {
    for text in [
        "DELETE FROM app_revisions WHERE app_uid = $1",
        "DELETE FROM bindings WHERE owner_uid = $1",
        "DELETE FROM apps WHERE uid = $1",
    ] {
        sql::execute(&txn.db, text, [app.uid.0.into()]).await?;
    }
    event::append(txn, &app.deleted(at).event).await
}
