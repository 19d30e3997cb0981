//! What a Space says of its Apps' Tasks: what is kept, what may be live, what each may use.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let blob = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => "bytea",
            _ => "blob",
        };
        db.execute_unprepared(&format!("ALTER TABLE spaces ADD COLUMN rules {blob}")).await?;
        for column in ["live_quota", "running_quota", "waiting_quota"] {
            // Null means the default.
            db.execute_unprepared(&format!("ALTER TABLE spaces ADD COLUMN {column} bigint")).await?;
        }
        db.execute_unprepared("UPDATE meta SET schema_version = 4 WHERE id = 1").await?;
        Ok(())
    }

    /// All or nothing on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
