//! What Tasks wait for before they start, and of which class an end is when that is not its reason's own.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let waiting = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => "ALTER TABLE tasks ADD COLUMN waiting bytea",
            _ => "ALTER TABLE tasks ADD COLUMN waiting blob",
        };
        for step in [
            waiting,
            "ALTER TABLE tasks ADD COLUMN reason_class text",
            "ALTER TABLE attempts ADD COLUMN reason_class text",
            "UPDATE meta SET schema_version = 21 WHERE id = 1",
        ] {
            db.execute_unprepared(step).await?;
        }
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
