//! The acceptance of a Task: its number, its row, its event and its idempotency key, or none of them.

use std::sync::Arc;

use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait, SqlErr};
use taskplane_domain::task::{Birth, Task, Transition};
use taskplane_domain::uid::SpaceUid;

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::quota::{self, Room, Turn};
use crate::row::{key, task};
use crate::txn::Txn;
use crate::{app, event, sql};

const METHOD: &str = "RunTask";

/// Whose request it was, and what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    pub principal: String,
    pub key: String,
    /// Of the whole request: the same key with another hash is another request.
    pub hash: [u8; 32],
}

#[derive(Debug, Clone)]
pub struct Accepted {
    pub task: Task,
    /// The request was accepted before; this is the Task it made then, as it is now.
    pub repeated: bool,
}

impl Store {
    /// `Conflict` when the App has another revision than the one the Task was made from: read it again. `LiveQuota` when the
    /// Space has no room for it.
    pub async fn task_accept(&self, birth: Birth, key: Option<RequestKey>) -> Result<Accepted, StoreError> {
        let birth = birth.sealed(|uid, env| self.secrets().seal_task(uid, env));
        let asked = Arc::new((birth, key));
        let mut turn = Turn::Shared;
        loop {
            let asked = Arc::clone(&asked);
            let accepted = self.write("task_accept", move |txn| {
                let asked = Arc::clone(&asked);
                Box::pin(async move { accept(txn, &asked.0, asked.1.as_ref(), turn).await })
            });
            match accepted.await? {
                Some(accepted) => return Ok(accepted),
                None => turn = Turn::Alone,
            }
        }
    }
}

/// None: whether there is room can only be said by one that has the Space to itself.
async fn accept(txn: &Txn, birth: &Birth, key: Option<&RequestKey>, turn: Turn) -> Result<Option<Accepted>, Fault> {
    let space = birth.task().space_uid;
    if let Some(task) = accepted_before(txn, space, METHOD, key).await? {
        return Ok(Some(Accepted { task, repeated: true }));
    }
    match quota::room(txn, space, turn).await? {
        Room::Enough => {}
        Room::Scarce => return Ok(None),
        Room::None { quota } => {
            // What took the last place may have been this very request.
            let before = accepted_before(txn, space, METHOD, key).await?;
            let full = || quota::full(&birth.task().name.space, quota);
            return Ok(Some(Accepted { task: before.ok_or_else(full)?, repeated: true }));
        }
    }
    let id = next_id(txn, birth.task()).await?;
    let step = birth.clone().numbered(id);
    if let Some(key) = key {
        keep_key(txn, step.task(), METHOD, key).await?;
    }
    insert(txn, &step).await.map_err(|fault| match (fault, key) {
        // Its key is forgotten, but what it made has left a trace.
        (Fault::Again(StoreError::AlreadyExists(_)), Some(_)) => StoreError::KeyReused.into(),
        (Fault::Again(error), _) => Fault::Store(error),
        (fault, _) => fault,
    })?;
    Ok(Some(Accepted { task: step.into_task(), repeated: false }))
}

/// The Task that the same request made before.
pub(crate) async fn accepted_before(
    txn: &Txn,
    space: SpaceUid,
    method: &str,
    key: Option<&RequestKey>,
) -> Result<Option<Task>, Fault> {
    let Some(key) = key else { return Ok(None) };
    let id = (space.0, key.principal.clone(), method.to_owned(), key.key.clone());
    let Some(found) = key::Entity::find_by_id(id).one(&txn.db).await? else { return Ok(None) };
    if found.request_hash != key.hash {
        return Err(StoreError::KeyReused.into());
    }
    let first = task::Entity::find_by_id(found.task_uid).one(&txn.db).await?;
    let first = first.ok_or(StoreError::NotFound(found.task_name))?;
    Ok(Some(first.try_into()?))
}

/// Takes the next number of the App, and holds the App's row until the transaction is over: numbers are given in order, and
/// one that comes to nothing is given again.
async fn next_id(txn: &Txn, asked: &Task) -> Result<u64, Fault> {
    const TEXT: &str = "UPDATE apps SET next_task_id = next_task_id + 1 WHERE uid = $1 AND revision = $2 AND standing = 'ACTIVE' \
         AND EXISTS (SELECT 1 FROM space_envs WHERE space_uid = $3 AND revision = $4) RETURNING next_task_id - 1 AS value";
    let (app, env) = (i64::from(asked.app_revision), i64::from(asked.space_env_revision));
    let values = [asked.app_uid.0.into(), app.into(), asked.space_uid.0.into(), env.into()];
    if let Some(id) = sql::number(&txn.db, TEXT, values).await? {
        return Ok(id.unsigned_abs());
    }
    Err(app::refused(txn, asked.app_uid, asked.name.app_name()).await?)
}

/// Somebody may have kept the same key since it was looked up: then the next try finds it.
pub(crate) async fn keep_key(txn: &Txn, task: &Task, method: &str, key: &RequestKey) -> Result<(), Fault> {
    let row = key::ActiveModel {
        space_uid: Set(task.space_uid.0),
        principal: Set(key.principal.clone()),
        method: Set(method.to_owned()),
        key: Set(key.key.clone()),
        request_hash: Set(key.hash.to_vec()),
        task_uid: Set(task.uid.0),
        task_name: Set(task.name.to_string()),
        app_uid: Set(task.app_uid.0),
        created_at: Set(txn.now().await?.as_microsecond()),
    };
    match key::Entity::insert(row).exec_without_returning(&txn.db).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::taken(error, "the request id")),
    }
}

async fn insert(txn: &Txn, step: &Transition) -> Result<(), Fault> {
    let row = task::ActiveModel::from(task::Model::from(step.task()));
    match task::Entity::insert(row).exec_without_returning(&txn.db).await {
        Ok(_) => event::append(txn, step.event()).await,
        Err(error) => match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => {
                Err(Fault::Again(StoreError::AlreadyExists(step.task().name.to_string())))
            }
            _ => Err(error.into()),
        },
    }
}
