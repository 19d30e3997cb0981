//! Jobs, their schedules, and the ledger of their runs; and what a Task says of the Job that made it.

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
        for statement in TABLES.into_iter().chain(COLUMNS).chain(INDEXES) {
            db.execute_unprepared(&statement.replace("UUID", uuid).replace("BLOB", blob)).await?;
        }
        // The binary before does not know Tasks that wait for others, and would hand them out: it is not served any more.
        db.execute_unprepared("UPDATE meta SET schema_version = 2, oldest_served = 2 WHERE id = 1").await?;
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// UUID and BLOB stand for what the engine calls them.
const TABLES: [&str; 3] = [
    "CREATE TABLE jobs (uid UUID NOT NULL PRIMARY KEY, space_uid UUID NOT NULL, app_uid UUID NOT NULL, \
         space text NOT NULL, app text NOT NULL, name text NOT NULL, template BLOB NOT NULL, policy text NOT NULL, \
         state text NOT NULL, pause_note text, version bigint NOT NULL, sequence bigint NOT NULL, \
         created_at bigint NOT NULL, updated_at bigint NOT NULL)",
    "CREATE TABLE schedules (uid UUID NOT NULL PRIMARY KEY, job_uid UUID NOT NULL, space text NOT NULL, \
         job text NOT NULL, id text NOT NULL, plan BLOB NOT NULL, suspended boolean NOT NULL, mark bigint NOT NULL, \
         next_at bigint, last_tick bigint, version bigint NOT NULL, created_at bigint NOT NULL, \
         updated_at bigint NOT NULL)",
    "CREATE TABLE job_runs (job_uid UUID NOT NULL, id bigint NOT NULL, space text NOT NULL, job text NOT NULL, \
         schedule_uid UUID, schedule text, tick_at bigint, outcome text NOT NULL, message text NOT NULL, \
         task_uid UUID, app text, task_id bigint, missed bigint NOT NULL, created_at bigint NOT NULL, \
         PRIMARY KEY (job_uid, id))",
];

const COLUMNS: [&str; 6] = [
    "ALTER TABLE meta ADD COLUMN tzdb text",
    "ALTER TABLE tasks ADD COLUMN job_uid UUID",
    "ALTER TABLE tasks ADD COLUMN job_schedule text",
    "ALTER TABLE tasks ADD COLUMN job_tick bigint",
    "ALTER TABLE tasks ADD COLUMN job_waits boolean NOT NULL DEFAULT false",
    "ALTER TABLE tasks ADD COLUMN cancel_grace bigint",
];

const INDEXES: [&str; 11] = [
    "CREATE UNIQUE INDEX jobs_by_name ON jobs (space, name)",
    "CREATE INDEX jobs_of_app ON jobs (app_uid)",
    "CREATE INDEX jobs_deleting ON jobs (uid) WHERE state = 'DELETING'",
    "CREATE UNIQUE INDEX schedules_by_id ON schedules (job_uid, id)",
    "CREATE INDEX schedules_due ON schedules (next_at, job_uid) WHERE next_at IS NOT NULL",
    // A tick's entry outlives everything else of it: there is never a second one.
    "CREATE UNIQUE INDEX job_runs_by_tick ON job_runs (schedule_uid, tick_at) WHERE schedule_uid IS NOT NULL",
    "CREATE INDEX job_runs_by_name ON job_runs (space, job, created_at)",
    "CREATE INDEX job_runs_by_age ON job_runs (created_at)",
    "CREATE INDEX tasks_of_job ON tasks (job_uid, id) WHERE job_uid IS NOT NULL",
    "CREATE INDEX tasks_by_job_name ON tasks (space, job, created_at) WHERE job IS NOT NULL",
    "CREATE INDEX tasks_live_of_job ON tasks (job_uid, created_at, uid) \
         WHERE job_uid IS NOT NULL AND state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')",
];
