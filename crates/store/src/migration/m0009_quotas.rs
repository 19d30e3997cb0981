//! Quotas of Spaces: the indexes by which live, running and waiting Tasks of one Space are found without looking at others.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let uuid = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => "uuid",
            _ => "blob",
        };
        for statement in STATEMENTS {
            db.execute_unprepared(&statement.replace("UUID", uuid)).await?;
        }
        db.execute_unprepared("UPDATE meta SET schema_version = 9 WHERE id = 1").await?;
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// UUID stands for what the engine calls it.
const STATEMENTS: [&str; 6] = [
    // One row for each cluster: the Space that had the last place.
    "CREATE TABLE turns (cluster text NOT NULL PRIMARY KEY, space_uid UUID NOT NULL)",
    // Counted from the index alone.
    "CREATE INDEX tasks_live_of_space ON tasks (space_uid, state, session_uid) \
         WHERE state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')",
    "CREATE INDEX tasks_waiting_of_space ON tasks (cluster, space_uid, created_at, uid) \
         WHERE state = 'PENDING' AND session_uid IS NULL",
    "CREATE INDEX tasks_waiting_for_their_time ON tasks (cluster, not_before) \
         WHERE state = 'PENDING' AND session_uid IS NULL AND not_before IS NOT NULL",
    "CREATE INDEX spaces_with_running_quota ON spaces (uid) WHERE running_quota IS NOT NULL",
    // Its rows are found Space by Space now; without it the release before is slower, and as right.
    "DROP INDEX tasks_unclaimed",
];
