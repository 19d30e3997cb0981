//! Under which keys secrets were sealed. What is sealed itself stands in the cells that held it open before.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = [
            "CREATE TABLE secret_keys (id text NOT NULL PRIMARY KEY, created_at bigint NOT NULL)",
            // The binary before would take a sealed environment for an empty one: it is not served any more.
            "UPDATE meta SET schema_version = 5, oldest_served = 5 WHERE id = 1",
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
