//! What becomes of the Tasks that an executor's earlier incarnations held.

use std::sync::{Mutex, PoisonError};

use taskplane_domain::session::Session;
use taskplane_domain::task::{Task, Transition};
use taskplane_domain::uid::Fence;

use crate::error::{Fault, StoreError};
use crate::row::task;
use crate::txn::Txn;
use crate::{sql, task as tasks};

/// Leaves nothing with the earlier sessions: each of their Tasks is free, over, or held by `present`.
pub(crate) async fn settle_earlier<F>(txn: &Txn, present: &Session, settle: &Mutex<F>) -> Result<(), Fault>
where
    F: FnMut(&Task, Fence) -> Option<Transition> + Send,
{
    let executor = present.executor.as_str();
    let freed = "UPDATE tasks SET session_uid = NULL \
         WHERE state = 'PENDING' AND session_uid IN (SELECT uid FROM sessions WHERE executor = $1 AND uid <> $2)";
    sql::execute(&txn.db, freed, [executor.into(), present.uid.0.into()]).await?;
    // Locked until the end: what `settle` decides on cannot move.
    let held = sql::choose(
        &txn.db,
        "SELECT * FROM tasks WHERE session_uid IN (SELECT uid FROM sessions WHERE executor = $1 AND uid <> $2) \
         ORDER BY created_at, uid",
        "SELECT * FROM tasks WHERE session_uid IN (SELECT uid FROM sessions WHERE executor = $1 AND uid <> $2) \
         ORDER BY created_at, uid FOR UPDATE",
    );
    let held: Vec<task::Model> = sql::all(&txn.db, held, [executor.into(), present.uid.0.into()]).await?;
    for row in held {
        let fence = row.fence()?;
        let task = Task::try_from(row)?;
        let step = {
            let mut settle = settle.lock().unwrap_or_else(PoisonError::into_inner);
            settle(&task, fence)
        };
        let Some(step) = step else { continue };
        if !tasks::change(txn, &step, None).await? {
            return Err(Fault::Again(StoreError::Conflict(task.name.to_string())));
        }
    }
    let adopted = "UPDATE tasks SET session_uid = $2, fence = fence + 1 \
         WHERE session_uid IN (SELECT uid FROM sessions WHERE executor = $1 AND uid <> $2)";
    sql::execute(&txn.db, adopted, [executor.into(), present.uid.0.into()]).await?;
    Ok(())
}
