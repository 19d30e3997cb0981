//! What trimming needs: how far each Space's feed was cleared, when a revision of an environment came, and a way to the ends
//! of histories.

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
    // By name, since a Space's feed is read by name: the next one of that name goes on behind it.
    "CREATE TABLE feed_horizons (space text NOT NULL PRIMARY KEY, position bigint NOT NULL)",
    // Nobody knows when those came that are there already.
    "ALTER TABLE space_envs ADD COLUMN created_at bigint",
    "CREATE INDEX events_ends ON events (feed_position) WHERE fact IN ('removed', 'deleted')",
    "UPDATE meta SET schema_version = 6 WHERE id = 1",
];
