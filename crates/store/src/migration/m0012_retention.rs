//! How many Tasks an App keeps, where it does not leave that to its Space.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared("ALTER TABLE apps ADD COLUMN task_retention_count bigint").await?;
        db.execute_unprepared("UPDATE meta SET schema_version = 12 WHERE id = 1").await?;
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
