//! The end of a Space: once it has no Apps, it goes with everything that is its own.

use std::sync::Arc;

use sea_orm::entity::prelude::*;
use taskplane_domain::space::SpaceChange;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{app, space};
use crate::txn::Txn;
use crate::{event, security_group, service, space as spaces, sql};

/// What is the Space's own and has no history: it goes in the transaction that the Space goes in.
const ITS_OWN: [&str; 1] = ["DELETE FROM space_envs WHERE space_uid = $1"];

impl Store {
    /// `change` is its last one. Refused while the Space has Apps.
    pub async fn space_delete(&self, change: &SpaceChange) -> Result<(), StoreError> {
        let change = Arc::new(change.clone());
        self.write("space_delete", move |txn| {
            let change = Arc::clone(&change);
            Box::pin(async move { delete(txn, &change).await })
        })
        .await
    }

    /// The Space goes if it is on its way out and has no Apps. Says whether it went.
    pub(crate) async fn space_remove(&self, uid: Uuid) -> Result<bool, StoreError> {
        self.write("space_remove", move |txn| Box::pin(async move { remove(txn, uid).await })).await
    }
}

async fn delete(txn: &Txn, change: &SpaceChange) -> Result<(), Fault> {
    let space = &change.space;
    // The row first: whoever makes an App locks it too, so none can slip in while they are counted.
    let done = space::Entity::delete_many()
        .filter(space::Column::Uid.eq(space.uid.0))
        .filter(space::Column::Version.eq(crate::row::big(space.version - 1)))
        .exec(&txn.db)
        .await?;
    if done.rows_affected != 1 {
        return Err(spaces::moved(txn, space).await?);
    }
    let apps = app::Entity::find().filter(app::Column::SpaceUid.eq(space.uid.0)).count(&txn.db).await?;
    if apps > 0 {
        let name = space.name.to_string();
        let what = if apps == 1 { "1 app".to_owned() } else { format!("{apps} apps") };
        return Err(StoreError::InUse { name, what }.into());
    }
    match service::count_of_space(txn, space.uid).await? {
        0 => {}
        count => {
            let what = if count == 1 { "1 service".to_owned() } else { format!("{count} services") };
            return Err(StoreError::InUse { name: space.name.to_string(), what }.into());
        }
    }
    for text in ITS_OWN {
        sql::execute(&txn.db, text, [space.uid.0.into()]).await?;
    }
    security_group::delete_all_of(txn, space.uid.0).await?;
    event::append(txn, &change.event).await
}

async fn remove(txn: &Txn, uid: Uuid) -> Result<bool, Fault> {
    let text = sql::choose(
        &txn.db,
        "SELECT s.*, e.env, e.security_groups FROM spaces s LEFT JOIN space_envs e ON e.space_uid = s.uid AND e.revision = s.env_revision \
         WHERE s.uid = $1 AND s.standing = 'DELETING' \
         AND NOT EXISTS (SELECT 1 FROM apps a WHERE a.space = s.name)",
        "SELECT s.*, e.env, e.security_groups FROM spaces s LEFT JOIN space_envs e ON e.space_uid = s.uid AND e.revision = s.env_revision \
         WHERE s.uid = $1 AND s.standing = 'DELETING' \
         AND NOT EXISTS (SELECT 1 FROM apps a WHERE a.space = s.name) FOR UPDATE OF s SKIP LOCKED",
    );
    let Some(row) = sql::one::<space::WithEnv>(&txn.db, text, [uid.into()]).await? else { return Ok(false) };
    delete(txn, &row.open(&txn.secrets)?.deleted(txn.now().await?)).await?;
    Ok(true)
}
