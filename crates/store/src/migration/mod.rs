//! The schema and how it comes about. Migrations only add, so that the binary before and the one after work side by side.

mod m0001_embedded_job;
mod m0002_jobs;
mod m0003_conditions;
mod m0004_space_rules;
mod m0005_secrets;
mod m0006_trimming;
mod m0007_removal;
mod m0008_security_groups;
mod m0009_quotas;
mod m0010_services;
mod m0011_deadlines;
mod m0012_retention;
mod m0013_deletion;
mod m0014_sources;
mod m0015_bus_stream;
mod m0016_start_tickets;
mod m0021_waiting;

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, FromQueryResult, TransactionTrait};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use crate::connect::{Address, Store};
use crate::error::StoreError;
use crate::sql;

/// What this binary is written for. The row in `meta` says what there is, and the oldest binary that can still use it.
const SCHEMA_VERSION: i64 = 21;
/// Names the lock that migrating replicas queue for.
const ADVISORY_LOCK: i64 = 0x7461_736b_706c_616e;

/// How the schema stands to this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    Ready,
    /// Not there, or older than this binary needs: somebody has yet to migrate.
    Behind,
    /// Of a newer release that does not serve this binary any more.
    Ahead,
}

struct Migrator;

#[sea_orm_migration::async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_embedded_job::Migration),
            Box::new(m0002_jobs::Migration),
            Box::new(m0003_conditions::Migration),
            Box::new(m0004_space_rules::Migration),
            Box::new(m0005_secrets::Migration),
            Box::new(m0006_trimming::Migration),
            Box::new(m0007_removal::Migration),
            Box::new(m0008_security_groups::Migration),
            Box::new(m0009_quotas::Migration),
            Box::new(m0010_services::Migration),
            Box::new(m0011_deadlines::Migration),
            Box::new(m0012_retention::Migration),
            Box::new(m0013_deletion::Migration),
            Box::new(m0014_sources::Migration),
            Box::new(m0015_bus_stream::Migration),
            Box::new(m0016_start_tickets::Migration),
            Box::new(m0021_waiting::Migration),
        ]
    }
}

#[derive(FromQueryResult)]
struct Meta {
    schema_version: i64,
    oldest_served: i64,
}

impl Store {
    pub async fn schema_state(&self) -> Result<SchemaState, StoreError> {
        Ok(state_of(self.db()).await?)
    }

    /// Brings the schema up to this binary. Any number of processes may call it at once: one does it, the others wait.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match self.address() {
            // The file is this process's alone.
            Address::Sqlite(_) => {
                bring_up(self.db()).await?;
                self.look_again().await
            }
            Address::Postgres(_) => {
                // The lock belongs to a connection, so there must be exactly one.
                let db = self.address().open(1).await?;
                let result = bring_up_locked(&db).await;
                db.close().await?;
                result
            }
        }
    }
}

impl Store {
    /// Has every connection to SQLite read the schema anew. One that remembers the tables as they were would prepare `SELECT *`
    /// with the columns of then, and the driver cannot cope with the ones that come.
    async fn look_again(&self) -> Result<(), StoreError> {
        let mut all = Vec::new();
        for _ in 0..self.connections() {
            let connection = self.db().begin().await?;
            sql::number(&connection, "SELECT count(*) AS value FROM meta", []).await?;
            all.push(connection);
        }
        for connection in all {
            connection.rollback().await?;
        }
        Ok(())
    }
}

async fn bring_up_locked(db: &DatabaseConnection) -> Result<(), StoreError> {
    db.execute_unprepared("SET statement_timeout = '60s'; SET lock_timeout = '60s'").await?;
    sql::execute(db, "SELECT pg_advisory_lock($1)", [ADVISORY_LOCK.into()]).await?;
    // Readers and writers of the running release must not pile up behind a migration.
    db.execute_unprepared("SET lock_timeout = '2s'").await?;
    bring_up(db).await
}

async fn bring_up(db: &DatabaseConnection) -> Result<(), StoreError> {
    const LONGEST: Duration = Duration::from_secs(120);
    match state_of(db).await? {
        SchemaState::Ready => Ok(()),
        SchemaState::Ahead => {
            Err(StoreError::Unusable("its schema belongs to a newer release that does not serve this one".to_owned()))
        }
        SchemaState::Behind => match tokio::time::timeout(LONGEST, Migrator::up(db, None)).await {
            Ok(result) => Ok(result?),
            Err(late) => Err(StoreError::Unavailable(Box::new(late))),
        },
    }
}

async fn state_of(db: &DatabaseConnection) -> Result<SchemaState, DbErr> {
    if !SchemaManager::new(db).has_table("meta").await? {
        return Ok(SchemaState::Behind);
    }
    let meta = sql::one::<Meta>(db, "SELECT schema_version, oldest_served FROM meta WHERE id = 1", []).await?;
    Ok(match meta {
        Some(Meta { oldest_served, .. }) if oldest_served > SCHEMA_VERSION => SchemaState::Ahead,
        Some(Meta { schema_version, .. }) if schema_version >= SCHEMA_VERSION => SchemaState::Ready,
        Some(_) | None => SchemaState::Behind,
    })
}
