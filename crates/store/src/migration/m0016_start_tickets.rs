//! Whether the command of a run starts only with a ticket, and which pod and process has it.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

const STATEMENTS: [&str; 4] = [
    "ALTER TABLE tasks ADD COLUMN guarded boolean NOT NULL DEFAULT false",
    "ALTER TABLE tasks ADD COLUMN ticket_pod text",
    "ALTER TABLE tasks ADD COLUMN ticket_nonce text",
    "UPDATE meta SET schema_version = 16 WHERE id = 1",
];
