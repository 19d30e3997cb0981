//! Source archives, each upload by itself; and which of them a revision of an App needs.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let uuid = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => "uuid",
            _ => "blob",
        };
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(&statement.replace("UUID", uuid)).await?;
        }
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// UUID stands for what the engine calls it.
const STATEMENTS: [&str; 7] = [
    "CREATE TABLE sources (name text NOT NULL PRIMARY KEY, sha256 text NOT NULL, upload UUID, \
         kept boolean NOT NULL, removing boolean NOT NULL, touched_at bigint NOT NULL)",
    "CREATE INDEX sources_digest ON sources (sha256)",
    "CREATE INDEX sources_removing ON sources (name) WHERE removing",
    // Null: of an earlier release. What it needs stands in its spec, and the reaper reads it there.
    "ALTER TABLE app_revisions ADD COLUMN source text",
    "CREATE INDEX app_revisions_source ON app_revisions (source)",
    "CREATE INDEX app_revisions_unread ON app_revisions (app_uid, revision) WHERE source IS NULL",
    // An older binary would look for archives under their digests: it is not served any more.
    "UPDATE meta SET schema_version = 14, oldest_served = 14 WHERE id = 1",
];
