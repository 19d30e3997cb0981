//! Tasks that go with what they belong to, all of them in one transaction.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use taskplane_domain::task::Task;

use crate::error::Fault;
use crate::purge;
use crate::row::task;
use crate::txn::Txn;

/// Whose Tasks go.
#[derive(Clone, Copy)]
pub(crate) enum Owner {
    App(Uuid),
    Job(Uuid),
}

/// All of them are over; the caller has seen to it that none comes.
pub(crate) async fn tasks(txn: &Txn, owner: Owner, at: Timestamp) -> Result<(), Fault> {
    loop {
        let of = match owner {
            Owner::App(uid) => task::Column::AppUid.eq(uid),
            Owner::Job(uid) => task::Column::JobUid.eq(uid),
        };
        let found = task::Entity::find().filter(of).order_by_asc(task::Column::Id).limit(u64::from(purge::BATCH));
        let rows = found.all(&txn.db).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let tasks: Result<Vec<Task>, _> = rows.into_iter().map(Task::try_from).collect();
        purge::remove(txn, tasks?, at).await?;
    }
}
