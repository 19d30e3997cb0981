//! Events, written in the transaction of the change they tell of.

use sea_orm::EntityTrait;
use taskplane_domain::event::Event;

use crate::error::Fault;
use crate::row::event;
use crate::txn::Txn;

pub(crate) async fn append(txn: &Txn, event: &Event) -> Result<(), Fault> {
    append_all(txn, [event]).await
}

/// A number that is taken already was given by another change of the same thing.
pub(crate) async fn append_all<'e>(txn: &Txn, events: impl IntoIterator<Item = &'e Event>) -> Result<(), Fault> {
    let rows: Vec<event::ActiveModel> = events.into_iter().map(event::ActiveModel::from).collect();
    if rows.is_empty() {
        return Ok(());
    }
    match event::Entity::insert_many(rows).exec_without_returning(&txn.db).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::taken(error, "the event")),
    }
}
