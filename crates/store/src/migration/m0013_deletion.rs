//! Apps and Spaces on their way out, Tasks that are to go once they are over, and how gently a deleted Job's Tasks are ended.

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

const STATEMENTS: [&str; 8] = [
    "ALTER TABLE spaces ADD COLUMN standing text NOT NULL DEFAULT 'ACTIVE'",
    "ALTER TABLE apps ADD COLUMN standing text NOT NULL DEFAULT 'ACTIVE'",
    // Null: by force, as an earlier release did it.
    "ALTER TABLE jobs ADD COLUMN delete_grace bigint",
    "ALTER TABLE tasks ADD COLUMN remove_asked boolean NOT NULL DEFAULT false",
    "CREATE INDEX spaces_deleting ON spaces (uid) WHERE standing = 'DELETING'",
    "CREATE INDEX apps_deleting ON apps (uid) WHERE standing = 'DELETING'",
    "CREATE INDEX tasks_asked ON tasks (uid) WHERE remove_asked AND remove_since IS NULL",
    "UPDATE meta SET schema_version = 13 WHERE id = 1",
];
