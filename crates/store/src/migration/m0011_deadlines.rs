//! What the deadlines of Tasks are judged by: why and how hard they are ended, when they must be over, which logs go with them;
//! which sessions lapsed, and since when the control plane has been up.

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

const STATEMENTS: [&str; 13] = [
    // Empty: somebody asked for it.
    "ALTER TABLE tasks ADD COLUMN cancel_cause text",
    "ALTER TABLE tasks ADD COLUMN cancel_forced bigint",
    // While it runs with a timeout: when that is over.
    "ALTER TABLE tasks ADD COLUMN ends_by bigint",
    // ASKED: its log goes when it is over. LISTED: it stands in removals.
    "ALTER TABLE tasks ADD COLUMN log_delete text",
    "ALTER TABLE sessions ADD COLUMN lapsed boolean NOT NULL DEFAULT false",
    "CREATE TABLE control (id bigint NOT NULL PRIMARY KEY, beat_at bigint NOT NULL, up_since bigint NOT NULL)",
    "INSERT INTO control (id, beat_at, up_since) VALUES (1, 0, 0)",
    "CREATE INDEX tasks_starting ON tasks (made_at, uid) WHERE state = 'STARTING'",
    "CREATE INDEX tasks_cancelling ON tasks (cancel_since, uid) WHERE state = 'CANCELLING'",
    "CREATE INDEX tasks_ends_by ON tasks (ends_by) WHERE ends_by IS NOT NULL",
    "CREATE INDEX tasks_logs_to_delete ON tasks (uid) WHERE log_delete = 'ASKED'",
    "CREATE INDEX sessions_leases ON sessions (lease_until) WHERE closed_at IS NULL",
    // The binary before knows neither the new facts nor the new reason, and could not read their rows.
    "UPDATE meta SET schema_version = 11, oldest_served = 11 WHERE id = 1",
];
