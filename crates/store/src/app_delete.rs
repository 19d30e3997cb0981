//! The end of an App: all that speaks of it goes in one transaction, and each of its Tasks says goodbye.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use taskplane_domain::app::{App, AppChange};
use taskplane_domain::task::StateKind;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::removed::{self, Owner};
use crate::row::task;
use crate::txn::Txn;
use crate::{app, event, job, sql};

/// A repeated request is recognised at least this long, whatever becomes of its Task.
const KEYS_KEPT: SignedDuration = SignedDuration::from_hours(24);

impl Store {
    /// Refused while a Task of it is not over.
    pub async fn app_delete(&self, change: &AppChange, at: Timestamp) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("app_delete", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { delete(txn, &change, at).await })
        })
        .await
    }
}

async fn delete(txn: &Txn, change: &AppChange, at: Timestamp) -> Result<(), Fault> {
    let app = &change.app;
    // The row first: whoever accepts a Task locks it too, so none can slip in while they are counted.
    app::advance(txn, app).await?;
    refuse_jobs(txn, app).await?;
    refuse_live(txn, app).await?;
    removed::tasks(txn, Owner::App(app.uid.0), at).await?;
    for text in [
        "DELETE FROM app_revisions WHERE app_uid = $1",
        "DELETE FROM bindings WHERE owner_uid = $1",
        "DELETE FROM apps WHERE uid = $1",
    ] {
        sql::execute(&txn.db, text, [app.uid.0.into()]).await?;
    }
    let old = txn.now().await?.checked_sub(KEYS_KEPT).unwrap_or(Timestamp::MIN).as_microsecond();
    let keys = "DELETE FROM idempotency WHERE app_uid = $1 AND created_at < $2";
    sql::execute(&txn.db, keys, [app.uid.0.into(), old.into()]).await?;
    event::append(txn, &change.event).await
}

async fn refuse_jobs(txn: &Txn, app: &App) -> Result<(), Fault> {
    let what = match job::count_of_app(txn, app.uid.0).await? {
        0 => return Ok(()),
        1 => "1 job".to_owned(),
        jobs => format!("{jobs} jobs"),
    };
    Err(StoreError::InUse { name: app.name.to_string(), what }.into())
}

async fn refuse_live(txn: &Txn, app: &App) -> Result<(), Fault> {
    let live = task::Entity::find()
        .filter(task::Column::AppUid.eq(app.uid.0))
        .filter(task::Column::State.is_in(StateKind::LIVE.map(StateKind::as_str)))
        .count(&txn.db)
        .await?;
    if live == 0 {
        return Ok(());
    }
    let name = app.name.to_string();
    let what = if live == 1 { "1 live task".to_owned() } else { format!("{live} live tasks") };
    Err(StoreError::InUse { name, what }.into())
}
