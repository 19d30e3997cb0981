//! What is bound to what: a row for each reference that a revision of an App, or of a Space's environment, makes to a revision
//! of something else. Rows never change. What is bound *now* is what the present revision of an owner refers to.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::Uuid;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use taskplane_domain::app::{App, AppChange};

use crate::app::revision_row;
use crate::error::{Fault, StoreError};
use crate::row::{app, app_revision, binding};
use crate::txn::Txn;
use crate::{event, sql};

/// Rows written with one statement.
const CHUNK: usize = 100;

/// One revision of an App or of a Space's environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub uid: Uuid,
    pub revision: u32,
}

/// One revision of what it refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub uid: Uuid,
    pub revision: u32,
}

fn rows(owner: Owner, bound: impl Iterator<Item = Bound>) -> impl Iterator<Item = binding::ActiveModel> {
    bound.map(move |bound| binding::ActiveModel {
        owner_uid: Set(owner.uid),
        owner_revision: Set(owner.revision.into()),
        bound_uid: Set(bound.uid),
        bound_revision: Set(bound.revision.into()),
    })
}

/// Everything that a new revision of an App refers to.
pub(crate) fn of_app(app: &App) -> impl Iterator<Item = Bound> {
    let groups = app.spec.security_groups.iter().map(|group| Bound { uid: group.uid.0, revision: group.revision });
    let services = app.spec.services.iter();
    groups.chain(services.map(|binding| Bound { uid: binding.service.0, revision: binding.revision }))
}

/// Keeps what a new revision refers to.
pub(crate) async fn keep(txn: &Txn, owner: Owner, bound: impl Iterator<Item = Bound>) -> Result<(), Fault> {
    let rows: Vec<_> = rows(owner, bound).collect();
    if !rows.is_empty() {
        binding::Entity::insert_many(rows).exec_without_returning(&txn.db).await?;
    }
    Ok(())
}

/// Forgets what revisions referred to that are gone.
pub(crate) async fn forget(txn: &Txn, owner: Uuid, revisions: BTreeSet<i64>) -> Result<(), Fault> {
    let which = binding::Entity::delete_many()
        .filter(binding::Column::OwnerUid.eq(owner))
        .filter(binding::Column::OwnerRevision.is_in(revisions));
    which.exec(&txn.db).await?;
    Ok(())
}

/// A new revision of each App whose present one refers to `before`, all in this transaction: the caller holds what they are
/// bound to, so that none is bound meanwhile. `renew` says what the next revision of an App is, or that there can be none.
pub(crate) async fn renew_apps<F>(txn: &Txn, before: Bound, at: Timestamp, renew: F) -> Result<(), Fault>
where
    F: Fn(App) -> Result<Option<AppChange>, Fault>,
{
    const MOVED: &str = "UPDATE apps SET revision = revision + 1, version = version + 1, updated_at = $3 WHERE uid IN \
         (SELECT b.owner_uid FROM bindings b WHERE b.bound_uid = $1 AND b.bound_revision = $2 \
             AND b.owner_uid = apps.uid AND b.owner_revision = apps.revision)";
    let apps = bound_apps(txn, before).await?.into_iter();
    let changes = apps.filter_map(|app| renew(app).transpose()).collect::<Result<Vec<AppChange>, Fault>>()?;
    let values = [before.uid.into(), i64::from(before.revision).into(), at.as_microsecond().into()];
    if sql::execute(&txn.db, MOVED, values).await? != changes.len() as u64 {
        // They are locked; a row that makes no sense is all that is left.
        return Err(Fault::Again(StoreError::Conflict("an app bound to it".to_owned())));
    }
    for changes in changes.chunks(CHUNK) {
        let revisions = changes.iter().map(|change| revision_row(txn, &change.app));
        app_revision::Entity::insert_many(revisions).exec_without_returning(&txn.db).await?;
        let bindings: Vec<_> =
            changes.iter().flat_map(|AppChange { app, .. }| rows(owner_of(app), of_app(app))).collect();
        if !bindings.is_empty() {
            binding::Entity::insert_many(bindings).exec_without_returning(&txn.db).await?;
        }
        event::append_all(txn, changes.iter().map(|change| &change.event)).await?;
    }
    Ok(())
}

pub(crate) fn owner_of(app: &App) -> Owner {
    Owner { uid: app.uid.0, revision: app.revision }
}

/// The Apps whose present revision refers to `bound`, locked in the order of their uids.
async fn bound_apps(txn: &Txn, bound: Bound) -> Result<Vec<App>, Fault> {
    let locked = sql::choose(
        &txn.db,
        "SELECT a.* FROM apps a WHERE EXISTS (SELECT 1 FROM bindings b WHERE b.bound_uid = $1 AND b.bound_revision = $2 \
             AND b.owner_uid = a.uid AND b.owner_revision = a.revision) ORDER BY a.uid",
        "SELECT a.* FROM apps a WHERE EXISTS (SELECT 1 FROM bindings b WHERE b.bound_uid = $1 AND b.bound_revision = $2 \
             AND b.owner_uid = a.uid AND b.owner_revision = a.revision) ORDER BY a.uid FOR UPDATE OF a",
    );
    // Only what is read after they are locked is what they are.
    const PRESENT: &str = "SELECT a.*, r.spec FROM apps a \
         JOIN bindings b ON b.owner_uid = a.uid AND b.owner_revision = a.revision \
         LEFT JOIN app_revisions r ON r.app_uid = a.uid AND r.revision = a.revision \
         WHERE b.bound_uid = $1 AND b.bound_revision = $2 ORDER BY a.uid";
    let values = || [bound.uid.into(), i64::from(bound.revision).into()];
    sql::all::<app::Model>(&txn.db, locked, values()).await?;
    let rows = sql::all::<app::WithSpec>(&txn.db, PRESENT, values()).await?;
    Ok(rows.into_iter().map(|row| row.open(&txn.secrets)).collect::<Result<Vec<_>, _>>()?)
}
