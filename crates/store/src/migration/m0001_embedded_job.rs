//! Spaces, Apps, Tasks with their attempts, sessions, events and what goes with them.
//!
//! Times are microseconds since 1970, UTC. States and reasons are the words the domain has for them. There are no foreign
//! keys: events, keys and removals are meant to outlive what they speak of, and everything else goes in one transaction.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, blob, boolean, integer_null, pk_uuid, text, text_null, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [spaces(), apps(), tasks(), sessions(), events(), ledgers()];
        for table in tables.into_iter().flatten() {
            manager.create_table(table).await?;
        }
        for index in INDEXES {
            manager.get_connection().execute_unprepared(index).await?;
        }
        let rows = [
            "INSERT INTO feed (id, position) VALUES (1, 0)",
            "INSERT INTO meta (id, schema_version, oldest_served) VALUES (1, 1, 1)",
        ];
        for row in rows {
            manager.get_connection().execute_unprepared(row).await?;
        }
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

fn table(name: &'static str, columns: impl IntoIterator<Item = ColumnDef>) -> TableCreateStatement {
    let mut table = Table::create().table(name).take();
    for column in columns {
        table.col(column);
    }
    table
}

fn keyed<const N: usize>(mut table: TableCreateStatement, columns: [&'static str; N]) -> TableCreateStatement {
    let mut key = Index::create();
    for column in columns {
        key.col(column);
    }
    table.primary_key(&mut key);
    table
}

fn spaces() -> Vec<TableCreateStatement> {
    let spaces = table(
        "spaces",
        [
            pk_uuid("uid"),
            text("name"),
            big_integer("env_revision"),
            big_integer("task_retention_count"),
            big_integer_null("log_cap"),
            big_integer("version"),
            big_integer("created_at"),
            big_integer("updated_at"),
        ],
    );
    // Immutable: one row per revision of a Space's environment.
    let envs = table("space_envs", [uuid("space_uid"), big_integer("revision"), blob("env")]);
    vec![spaces, keyed(envs, ["space_uid", "revision"])]
}

fn apps() -> Vec<TableCreateStatement> {
    let apps = table(
        "apps",
        [
            pk_uuid("uid"),
            uuid("space_uid"),
            text("space"),
            text("name"),
            big_integer("revision"),
            big_integer("next_task_id"),
            big_integer("version"),
            big_integer("created_at"),
            big_integer("updated_at"),
        ],
    );
    // Immutable: one row per push.
    let revisions = table("app_revisions", [uuid("app_uid"), big_integer("revision"), blob("spec")]);
    vec![apps, keyed(revisions, ["app_uid", "revision"])]
}

fn tasks() -> Vec<TableCreateStatement> {
    let tasks = table(
        "tasks",
        [
            pk_uuid("uid"),
            uuid("space_uid"),
            uuid("app_uid"),
            text("space"),
            text("app"),
            big_integer("id"),
            text("display_name"),
            text("cluster"),
            text_null("job"),
            text("state"),
            big_integer("version"),
            big_integer("attempt"),
            big_integer_null("not_before"),
            text_null("run_uid"),
            big_integer_null("made_at"),
            big_integer_null("started_at"),
            big_integer_null("cancel_since"),
            big_integer_null("finished_at"),
            text_null("reason"),
            text_null("message"),
            integer_null("exit_code"),
            integer_null("signal"),
            blob("spec"),
            big_integer("app_revision"),
            big_integer("space_env_revision"),
            text_null("trace"),
            big_integer("created_at"),
            // Who holds it. Only claims and their end touch these two, and they never touch the version.
            uuid_null("session_uid"),
            big_integer("fence"),
        ],
    );
    // The ones that ended; the present one stands in its Task's row.
    let attempts = table(
        "attempts",
        [
            uuid("task_uid"),
            big_integer("number"),
            text_null("run_uid"),
            big_integer_null("made_at"),
            big_integer_null("started_at"),
            big_integer("finished_at"),
            text("state"),
            text_null("reason"),
            text_null("message"),
            integer_null("exit_code"),
            integer_null("signal"),
        ],
    );
    vec![tasks, keyed(attempts, ["task_uid", "number"])]
}

fn sessions() -> Vec<TableCreateStatement> {
    vec![table(
        "sessions",
        [
            pk_uuid("uid"),
            text("executor"),
            text("cluster"),
            boolean("adoptable"),
            boolean("runs_images"),
            text_null("logs_address"),
            big_integer("opened_at"),
            big_integer("lease_until"),
            big_integer_null("closed_at"),
        ],
    )]
}

fn events() -> Vec<TableCreateStatement> {
    let events = table(
        "events",
        [
            big_pk_auto("id"),
            uuid("uid"),
            big_integer("sequence"),
            text("space"),
            text_null("app"),
            big_integer_null("task_id"),
            text("kind"),
            text("fact"),
            big_integer("at"),
            blob("data"),
            text_null("trace"),
            big_integer_null("feed_position"),
            big_integer_null("published_at"),
        ],
    );
    // One row: the last position given. Its lock puts those who give positions in a row.
    let feed = table("feed", [big_integer("id"), big_integer("position")]);
    vec![events, keyed(feed, ["id"])]
}

fn ledgers() -> Vec<TableCreateStatement> {
    let keys = table(
        "idempotency",
        [
            uuid("space_uid"),
            text("principal"),
            text("method"),
            text("key"),
            blob("request_hash"),
            uuid("task_uid"),
            text("task_name"),
            uuid("app_uid"),
            big_integer("created_at"),
        ],
    );
    // What is left of deleted things in the object store, to be cleared and then forgotten.
    let removals = table(
        "removals",
        [big_pk_auto("id"), uuid("space_uid"), uuid("app_uid"), uuid("task_uid"), big_integer("created_at")],
    );
    let meta = table("meta", [big_integer("id"), big_integer("schema_version"), big_integer("oldest_served")]);
    vec![keyed(keys, ["space_uid", "principal", "method", "key"]), removals, keyed(meta, ["id"])]
}

/// Partial ones wherever only a few rows of a table are ever looked for.
const INDEXES: [&str; 16] = [
    "CREATE UNIQUE INDEX spaces_by_name ON spaces (name)",
    "CREATE UNIQUE INDEX apps_by_name ON apps (space, name)",
    "CREATE UNIQUE INDEX tasks_by_id ON tasks (app_uid, id)",
    "CREATE UNIQUE INDEX tasks_by_name ON tasks (space, app, id)",
    "CREATE INDEX tasks_by_age ON tasks (space, created_at, uid)",
    "CREATE INDEX tasks_unclaimed ON tasks (cluster, created_at, uid) WHERE state = 'PENDING' AND session_uid IS NULL",
    "CREATE INDEX tasks_held ON tasks (session_uid) WHERE session_uid IS NOT NULL",
    "CREATE UNIQUE INDEX sessions_open ON sessions (executor) WHERE closed_at IS NULL",
    "CREATE UNIQUE INDEX events_by_sequence ON events (uid, sequence)",
    "CREATE UNIQUE INDEX events_by_position ON events (feed_position) WHERE feed_position IS NOT NULL",
    "CREATE INDEX events_of_space ON events (space, feed_position)",
    "CREATE INDEX events_unassigned ON events (id) WHERE feed_position IS NULL",
    "CREATE INDEX events_unpublished ON events (id) WHERE published_at IS NULL",
    "CREATE INDEX events_unpublished_of ON events (uid, sequence) WHERE published_at IS NULL",
    "CREATE INDEX idempotency_by_task ON idempotency (task_uid)",
    "CREATE INDEX idempotency_by_app ON idempotency (app_uid)",
];
