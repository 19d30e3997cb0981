//! The stream outside that keeps published events: which one they were published to.

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

const STATEMENTS: [&str; 3] = [
    "CREATE TABLE bus_stream (id bigint NOT NULL PRIMARY KEY, incarnation text NOT NULL, last bigint NOT NULL)",
    // Empty: events are kept nowhere outside.
    "INSERT INTO bus_stream (id, incarnation, last) VALUES (1, '', 0)",
    "UPDATE meta SET schema_version = 15 WHERE id = 1",
];
