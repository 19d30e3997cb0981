//! Security groups, and what Apps and Spaces are bound to.

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
        // The binary before would write revisions of Apps and Spaces that have lost their groups: it is not served any more.
        db.execute_unprepared("UPDATE meta SET schema_version = 8, oldest_served = 8 WHERE id = 1").await?;
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// UUID and BLOB stand for what the engine calls them.
const STATEMENTS: [&str; 6] = [
    "CREATE TABLE security_groups (uid UUID NOT NULL PRIMARY KEY, space_uid UUID NOT NULL, space text NOT NULL, \
         name text NOT NULL, revision bigint NOT NULL, created_at bigint NOT NULL, updated_at bigint NOT NULL)",
    // Immutable: they outlive their group, for the Tasks that froze them.
    "CREATE TABLE security_group_revisions (group_uid UUID NOT NULL, revision bigint NOT NULL, space_uid UUID NOT NULL, \
         rules BLOB NOT NULL, PRIMARY KEY (group_uid, revision))",
    // Immutable: what each revision of an App, or of a Space's environment, refers to.
    "CREATE TABLE bindings (owner_uid UUID NOT NULL, owner_revision bigint NOT NULL, bound_uid UUID NOT NULL, \
         bound_revision bigint NOT NULL, PRIMARY KEY (owner_uid, owner_revision, bound_uid))",
    // None: written before there were any.
    "ALTER TABLE space_envs ADD COLUMN security_groups BLOB",
    "CREATE UNIQUE INDEX security_groups_by_name ON security_groups (space, name)",
    "CREATE INDEX bindings_by_bound ON bindings (bound_uid, bound_revision)",
];
