//! How finished Tasks go: what may be left of their last run, whether they are marked, and how they are found by App.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for statement in COLUMNS.into_iter().chain([LIVE]).chain(INDEXES) {
            db.execute_unprepared(statement).await?;
        }
        db.execute_unprepared("UPDATE meta SET schema_version = 7 WHERE id = 1").await?;
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

const COLUMNS: [&str; 6] = [
    "ALTER TABLE tasks ADD COLUMN run_left boolean NOT NULL DEFAULT false",
    "ALTER TABLE tasks ADD COLUMN left_run text",
    "ALTER TABLE tasks ADD COLUMN left_attempt bigint",
    "ALTER TABLE tasks ADD COLUMN executor text",
    "ALTER TABLE tasks ADD COLUMN remove_since bigint",
    "ALTER TABLE tasks ADD COLUMN remove_cause text",
];

/// Of those that are over, an earlier release's executor has removed what there was.
const LIVE: &str = "UPDATE tasks SET run_left = true, left_run = run_uid, left_attempt = attempt, \
         executor = (SELECT s.executor FROM sessions s WHERE s.uid = tasks.session_uid) \
     WHERE state IN ('STARTING', 'RUNNING', 'CANCELLING') AND run_uid IS NOT NULL";

const INDEXES: [&str; 6] = [
    "CREATE INDEX tasks_finished ON tasks (app_uid, id) \
         WHERE state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND remove_since IS NULL",
    "CREATE INDEX tasks_finished_at ON tasks (app_uid, finished_at) \
         WHERE state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') AND remove_since IS NULL",
    "CREATE INDEX tasks_failed ON tasks (app_uid, id) WHERE state = 'FAILED' AND remove_since IS NULL",
    "CREATE INDEX tasks_live ON tasks (app_uid, id) WHERE state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')",
    "CREATE INDEX tasks_removable ON tasks (remove_since, uid) WHERE remove_since IS NOT NULL AND NOT run_left",
    "CREATE INDEX tasks_leaving ON tasks (executor, remove_since) WHERE remove_since IS NOT NULL AND run_left",
];
