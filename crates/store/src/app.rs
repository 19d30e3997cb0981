//! Apps and their revisions.

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use std::sync::Arc;
use taskplane_domain::app::{App, AppChange, AppSpec};
use taskplane_domain::name::{AppName, Name, SpaceName};
use taskplane_domain::standing::Standing;
use taskplane_domain::uid::AppUid;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{app, app_revision, big};
use crate::txn::Txn;
use crate::{binding, event, service, source, space, sql};

impl Store {
    pub async fn app_get(&self, name: &AppName) -> Result<App, StoreError> {
        const TEXT: &str = "SELECT a.*, r.spec FROM apps a \
             LEFT JOIN app_revisions r ON r.app_uid = a.uid AND r.revision = a.revision \
             WHERE a.space = $1 AND a.name = $2";
        let row = self
            .read(sql::one::<app::WithSpec>(self.db(), TEXT, [name.space.as_str().into(), name.app.as_str().into()]))
            .await?;
        Ok(row.ok_or_else(|| StoreError::NotFound(name.to_string()))?.open(self.secrets())?)
    }

    /// By name.
    pub async fn app_list(&self, space: &SpaceName, after: Option<&Name>, limit: u32) -> Result<Vec<App>, StoreError> {
        const TEXT: &str = "SELECT a.*, r.spec FROM apps a \
             LEFT JOIN app_revisions r ON r.app_uid = a.uid AND r.revision = a.revision \
             WHERE a.space = $1 AND a.name > $2 ORDER BY a.name LIMIT $3";
        let after = after.map(Name::as_str).unwrap_or_default();
        let values = [space.0.as_str().into(), after.into(), i64::from(limit).into()];
        let rows = self.read(sql::all::<app::WithSpec>(self.db(), TEXT, values)).await?;
        rows.into_iter().map(|row| Ok(row.open(self.secrets())?)).collect()
    }

    /// `AlreadyExists` when another push was first, `NotFound` when the Space is gone.
    pub async fn app_create(&self, change: &AppChange) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("app_create", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { create(txn, &change).await })
        })
        .await
    }

    pub async fn app_update(&self, change: &AppChange) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("app_update", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { update(txn, &change).await })
        })
        .await
    }

    /// A revision of an App, as a Task froze it.
    pub async fn app_spec(&self, app: AppUid, revision: u32) -> Result<AppSpec, StoreError> {
        let key = (app.0, i64::from(revision));
        let found = self.read(app_revision::Entity::find_by_id(key).one(self.db())).await?;
        let row = found.ok_or_else(|| StoreError::NotFound(format!("revision {revision} of app {app}")))?;
        Ok(app_revision::open(key, &row.spec, self.secrets())?)
    }
}

async fn create(txn: &Txn, change: &AppChange) -> Result<(), Fault> {
    let app = &change.app;
    space::lock(txn, app.space_uid, &app.name.space).await?;
    service::lock(txn, app).await?;
    let inserted = app::Entity::insert(active(app)).exec_without_returning(&txn.db).await;
    inserted.map_err(|error| Fault::exists(error, &app.name))?;
    keep_spec(txn, app).await?;
    event::append(txn, &change.event).await
}

fn active(app: &App) -> app::ActiveModel {
    app::Model::from(app).into()
}

pub(crate) fn revision_row(txn: &Txn, app: &App) -> app_revision::ActiveModel {
    let key = (app.uid.0, i64::from(app.revision));
    app_revision::ActiveModel {
        app_uid: Set(key.0),
        revision: Set(key.1),
        spec: Set(app_revision::sealed(key, &app.spec, &txn.secrets)),
        source: Set(Some(source::needed(&app.spec.source))),
    }
}

/// Why what an App was asked for met no row: it is gone, on its way out, or not what it was.
pub(crate) async fn refused(txn: &Txn, uid: AppUid, name: AppName) -> Result<Fault, Fault> {
    Ok(Fault::Store(match app::Entity::find_by_id(uid.0).one(&txn.db).await? {
        None => StoreError::NotFound(name.to_string()),
        Some(row) if row.standing != Standing::Active.as_str() => StoreError::AppDeleting(name),
        Some(_) => StoreError::Conflict(name.to_string()),
    }))
}

/// What is no part of the spec may change without it; then its revision is there already.
async fn keep_spec(txn: &Txn, app: &App) -> Result<(), Fault> {
    let key = (app.uid.0, i64::from(app.revision));
    if app_revision::Entity::find_by_id(key).count(&txn.db).await? > 0 {
        return Ok(());
    }
    source::hold(txn, &app.spec.source).await?;
    app_revision::Entity::insert(revision_row(txn, app)).exec_without_returning(&txn.db).await?;
    binding::keep(txn, binding::owner_of(app), binding::of_app(app)).await?;
    service::refuse_too_many(txn, app).await
}

pub(crate) async fn update(txn: &Txn, change: &AppChange) -> Result<(), Fault> {
    service::lock(txn, &change.app).await?;
    let app = &change.app;
    advance(txn, app).await?;
    keep_spec(txn, app).await?;
    event::append(txn, &change.event).await
}

/// Moves the row from the version before to this one, and holds it until the transaction is over.
pub(crate) async fn advance(txn: &Txn, app: &App) -> Result<(), Fault> {
    let cells = app::ActiveModel {
        revision: Set(app.revision.into()),
        task_retention_count: Set(app.task_retention_count.map(Into::into)),
        standing: Set(app.standing.as_str().to_owned()),
        version: Set(big(app.version)),
        updated_at: Set(app.updated_at.as_microsecond()),
        ..Default::default()
    };
    let done = app::Entity::update_many()
        .set(cells)
        .filter(app::Column::Uid.eq(app.uid.0))
        .filter(app::Column::Version.eq(big(app.version - 1)))
        .exec(&txn.db)
        .await?;
    if done.rows_affected == 1 {
        return Ok(());
    }
    let name = app.name.to_string();
    let there = app::Entity::find_by_id(app.uid.0).count(&txn.db).await? > 0;
    Err(if there { StoreError::Conflict(name) } else { StoreError::NotFound(name) }.into())
}
