//! Tasks: how they are found, and the only shape in which one may change.

use std::sync::Arc;

use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder};
use taskplane_domain::name::TaskName;
use taskplane_domain::session::Session;
use taskplane_domain::task::{Attempt, Task, Transition};
use taskplane_domain::uid::{Fence, SessionUid, TaskUid};

use crate::connect::Store;
use crate::error::{Fault, StoreError};
use crate::row::{Row, attempt, big, session, task};
use crate::txn::Txn;
use crate::{event, left, sql};

#[derive(FromQueryResult)]
struct OwnerRow {
    #[sea_orm(nested)]
    session: session::Model,
    fence: i64,
}

impl Store {
    pub async fn task_get(&self, name: &TaskName) -> Result<Task, StoreError> {
        let found = task::Entity::find()
            .filter(task::Column::Space.eq(name.space.as_str()))
            .filter(task::Column::App.eq(name.app.as_str()))
            .filter(task::Column::Id.eq(big(name.id)));
        let row = self.read(found.one(self.db())).await?;
        Ok(row.ok_or_else(|| StoreError::NotFound(name.to_string()))?.try_into()?)
    }

    pub async fn task_get_by_uid(&self, uid: TaskUid) -> Result<Task, StoreError> {
        let row = self.read(task::Entity::find_by_id(uid.0).one(self.db())).await?;
        Ok(row.ok_or_else(|| StoreError::NotFound(format!("task {uid}")))?.try_into()?)
    }

    /// The attempts that ended, in order. The present one is [`Task::present_attempt`].
    pub async fn task_attempts(&self, uid: TaskUid) -> Result<Vec<Attempt>, StoreError> {
        let found =
            attempt::Entity::find().filter(attempt::Column::TaskUid.eq(uid.0)).order_by_asc(attempt::Column::Number);
        let rows = self.read(found.all(self.db())).await?;
        rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
    }

    /// Who holds it, and with which fence.
    pub async fn task_owner(&self, uid: TaskUid) -> Result<Option<(Session, Fence)>, StoreError> {
        const TEXT: &str = "SELECT s.*, t.fence FROM tasks t JOIN sessions s ON s.uid = t.session_uid WHERE t.uid = $1";
        let Some(OwnerRow { session, fence }) = self.read(sql::one(self.db(), TEXT, [uid.0.into()])).await? else {
            return Ok(None);
        };
        let fence = Fence(Row::new("tasks", uid).count("fence", fence)?);
        Ok(Some((session.try_into()?, fence)))
    }

    /// A change that a user or the control plane decided on. `Conflict`: the Task is not what it was.
    pub async fn task_commit(&self, step: &Transition) -> Result<(), StoreError> {
        let step = Arc::new(step.clone());
        self.write("task_commit", move |txn| {
            let step = Arc::clone(&step);
            Box::pin(async move {
                match change(txn, &step, None).await? {
                    true => Ok(()),
                    false => Err(moved(txn, &step, None).await?),
                }
            })
        })
        .await
    }

    /// A change that an executor reported. `Fenced`: it does not hold the Task any more, and nothing was changed.
    pub async fn task_report(&self, step: &Transition, session: SessionUid, fence: Fence) -> Result<(), StoreError> {
        let step = Arc::new(step.clone());
        self.write("task_report", move |txn| {
            let step = Arc::clone(&step);
            Box::pin(async move {
                let holder = Some((session, fence));
                match change(txn, &step, holder).await? {
                    true => Ok(()),
                    false => Err(moved(txn, &step, holder).await?),
                }
            })
        })
        .await
    }
}

/// One change, one version, one event. False: the row is not what the change was decided on, and nothing was written.
pub(crate) async fn change(txn: &Txn, step: &Transition, holder: Option<(SessionUid, Fence)>) -> Result<bool, Fault> {
    let task = step.task();
    let from = step.from().ok_or_else(|| StoreError::AlreadyExists(task.name.to_string()))?;
    let mut update = task::Entity::update_many()
        .set(task::ActiveModel::changed(step))
        .filter(task::Column::Uid.eq(task.uid.0))
        .filter(task::Column::Version.eq(big(task.version - 1)))
        .filter(task::Column::State.eq(from.as_str()));
    if let Some((session, fence)) = holder {
        update = update.filter(task::Column::SessionUid.eq(session.0)).filter(task::Column::Fence.eq(big(fence.0)));
        update = left::noted(update, step, session);
    }
    if update.exec(&txn.db).await?.rows_affected != 1 {
        return Ok(false);
    }
    if let Some(ended) = step.ended().and_then(|ended| attempt::Model::ended(task.uid, ended)) {
        attempt::Entity::insert(attempt::ActiveModel::from(ended)).exec_without_returning(&txn.db).await?;
    }
    event::append(txn, step.event()).await?;
    Ok(true)
}

/// Why a change met no row.
async fn moved(txn: &Txn, step: &Transition, holder: Option<(SessionUid, Fence)>) -> Result<Fault, Fault> {
    let name = step.task().name.to_string();
    let Some(row) = task::Entity::find_by_id(step.task().uid.0).one(&txn.db).await? else {
        return Ok(StoreError::NotFound(name).into());
    };
    let fence = row.fence()?;
    let held = holder.is_none_or(|(session, known)| row.session_uid == Some(session.0) && fence == known);
    Ok(Fault::Store(if held { StoreError::Conflict(name) } else { StoreError::Fenced }))
}
