//! Requests known again by their keys: what one made is answered to whoever sends it again.

use std::collections::{BTreeSet, HashMap};

use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use taskplane_domain::task::Task;
use taskplane_domain::uid::SpaceUid;

use crate::error::{Fault, StoreError};
use crate::row::{key, task};
use crate::txn::Txn;

/// Rows of one statement: engines bound how many values it may have.
const ROWS: usize = 400;

/// Whose request it was, and what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    pub principal: String,
    pub key: String,
    /// Of the whole request: the same key with another hash is another request.
    pub hash: [u8; 32],
}

/// For each key the Task that the same request made before; None where there was none, or no key.
pub(crate) async fn made_before(
    txn: &Txn,
    space: SpaceUid,
    method: &str,
    keys: Vec<Option<&RequestKey>>,
) -> Result<Vec<Option<Result<Task, StoreError>>>, Fault> {
    let (mut found, mut tasks): (HashMap<_, _>, HashMap<_, _>) = Default::default();
    if keys.iter().any(Option::is_some) {
        let asked = || keys.iter().flatten();
        let rows = key::Entity::find()
            .filter(key::Column::SpaceUid.eq(space.0))
            .filter(key::Column::Principal.is_in(asked().map(|key| &*key.principal).collect::<BTreeSet<_>>()))
            .filter(key::Column::Method.eq(method))
            .filter(key::Column::Key.is_in(asked().map(|key| &*key.key)));
        found.extend(rows.all(&txn.db).await?.into_iter().map(|row| ((row.principal.clone(), row.key.clone()), row)));
    }
    if !found.is_empty() {
        let rows = task::Entity::find().filter(task::Column::Uid.is_in(found.values().map(|row| row.task_uid)));
        tasks.extend(rows.all(&txn.db).await?.into_iter().map(|row| (row.uid, row)));
    }
    let before = |key: &RequestKey| {
        let row: &key::Model = found.get(&(key.principal.clone(), key.key.clone()))?;
        Some(match tasks.get(&row.task_uid) {
            _ if row.request_hash != key.hash => Err(StoreError::KeyReused),
            None => Err(StoreError::NotFound(row.task_name.clone())),
            Some(task) => Task::try_from(task.clone()).map_err(StoreError::from),
        })
    };
    Ok(keys.into_iter().map(|key| key.and_then(before)).collect())
}

/// The same of one request.
pub(crate) async fn made_before_by(
    txn: &Txn,
    space: SpaceUid,
    method: &str,
    key: Option<&RequestKey>,
) -> Result<Option<Task>, Fault> {
    let made = made_before(txn, space, method, vec![key]).await?;
    Ok(made.into_iter().flatten().next().transpose()?)
}

/// Somebody may have kept the same key since it was looked up: then the next try finds it.
pub(crate) async fn keep(txn: &Txn, method: &str, made: &[(Task, &RequestKey)]) -> Result<(), Fault> {
    if made.is_empty() {
        return Ok(());
    }
    let now = txn.now().await?.as_microsecond();
    let row = |(task, key): &(Task, &RequestKey)| key::ActiveModel {
        space_uid: Set(task.space_uid.0),
        principal: Set(key.principal.clone()),
        method: Set(method.to_owned()),
        key: Set(key.key.clone()),
        request_hash: Set(key.hash.to_vec()),
        task_uid: Set(task.uid.0),
        task_name: Set(task.name.to_string()),
        app_uid: Set(task.app_uid.0),
        created_at: Set(now),
    };
    for some in made.chunks(ROWS) {
        let done = key::Entity::insert_many(some.iter().map(row)).exec_without_returning(&txn.db).await;
        done.map_err(|error| Fault::taken(error, "the request id"))?;
    }
    Ok(())
}
