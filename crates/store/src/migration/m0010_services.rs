//! Services with their revisions.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let (uuid, blob) = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => ("uuid", "bytea"),
            _ => ("blob", "blob"),
        };
        for statement in STATEMENTS {
            db.execute_unprepared(&statement.replace("UUID", uuid).replace("BLOB", blob)).await?;
        }
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// UUID and BLOB stand for what the engine calls them.
const STATEMENTS: [&str; 4] = [
    "CREATE TABLE services (uid UUID NOT NULL PRIMARY KEY, space_uid UUID NOT NULL, space text NOT NULL, \
         name text NOT NULL, revision bigint NOT NULL, created_at bigint NOT NULL, updated_at bigint NOT NULL)",
    "CREATE UNIQUE INDEX services_by_name ON services (space, name)",
    // Immutable: one row per change of a service.
    "CREATE TABLE service_revisions (service_uid UUID NOT NULL, revision bigint NOT NULL, spec BLOB NOT NULL, \
         PRIMARY KEY (service_uid, revision))",
    // The binary before would run the Tasks of bound Apps without their services: it is not served any more.
    "UPDATE meta SET schema_version = 10, oldest_served = 10 WHERE id = 1",
];
