//! What is said of a Task since its last run was made.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let column = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => "ALTER TABLE tasks ADD COLUMN conditions bytea",
            _ => "ALTER TABLE tasks ADD COLUMN conditions blob",
        };
        db.execute_unprepared(column).await?;
        db.execute_unprepared("UPDATE meta SET schema_version = 3 WHERE id = 1").await?;
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
