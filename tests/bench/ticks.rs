//! Thousands of schedules due at one instant, against a plain insert of the rows that their ticks make.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use taskplane_domain::app::{App, Command, Push, Source};
use taskplane_domain::env::Env;
use taskplane_domain::job::{ConcurrencyPolicy, Job, Plan, TaskTemplate, decide};
use taskplane_domain::name::{AppName, Name};
use taskplane_domain::quantity::Resources;
use taskplane_domain::schedule::{GapRule, OverlapRule};
use taskplane_domain::space::{Quota, Space, SpaceSettings};
use taskplane_domain::uid::{AppUid, JobUid, ScheduleUid, SpaceUid};
use taskplane_store::{DatabaseClock, Keyring, Store, StoreOptions};
use taskplane_testkit::postgres::Postgres;
use uuid::Uuid;

/// Jobs of one pass, as the scheduler has it.
const BATCH: u32 = 500;
/// Rows of one statement, as the store has it.
const ROWS: usize = 400;
const TABLES: [&str; 3] = ["job_runs", "tasks", "events"];

pub async fn measure(counts: &[u32]) {
    println!(
        "schedules due at one instant, {BATCH} in a transaction; beside them the same rows inserted raw, in as many transactions\n"
    );
    println!(
        "{:<11} {:>9} {:>9} {:>10} {:>9} {:>9} {:>7}",
        "database", "schedules", "ticks/s", "ticks took", "rows", "raw took", "ratio"
    );
    for count in counts {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| format!("sqlite:{}", directory.path().join(name).display());
        compare("SQLite", &file("ticks.db"), &file("raw.db"), *count).await;
        let database = || Postgres::shared().create_database();
        compare("PostgreSQL", &database(), &database(), *count).await;
    }
}

async fn compare(name: &str, url: &str, raw: &str, count: u32) {
    let clock = Arc::new(AtomicI64::new("2030-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_microsecond()));
    let store = opened(url, &clock).await;
    prepare(&store).await;
    let db = beside(url).await;
    multiply(&db, count).await;
    db.execute_unprepared("DELETE FROM events").await.unwrap();

    clock.fetch_add(60_000_000, Ordering::SeqCst);
    let begun = Instant::now();
    let mut tasks = 0;
    loop {
        let ticked = store.ticks_pass(BATCH, "local".parse::<Name>().unwrap(), decide).await.unwrap();
        tasks += ticked.tasks;
        if !ticked.more {
            break;
        }
    }
    let took = begun.elapsed();
    assert_eq!(tasks, count, "each schedule makes one Task");

    let (rows, transactions) = statements(&db, count).await;
    opened(raw, &clock).await.close().await.unwrap();
    let other = beside(raw).await;
    let begun = Instant::now();
    for transaction in transactions {
        let txn = other.begin().await.unwrap();
        for statement in transaction {
            txn.execute_unprepared(&statement).await.unwrap();
        }
        txn.commit().await.unwrap();
    }
    let plain = begun.elapsed();
    let (took, plain) = (took.as_secs_f64(), plain.as_secs_f64());
    println!(
        "{name:<11} {count:>9} {:>9.0} {took:>8.2} s {rows:>9} {plain:>7.2} s {:>7.2}",
        f64::from(count) / took,
        took / plain
    );
    db.close().await.unwrap();
    other.close().await.unwrap();
    store.close().await.unwrap();
}

pub async fn opened(url: &str, clock: &Arc<AtomicI64>) -> Store {
    let options =
        StoreOptions { clock: DatabaseClock::Manual(Arc::clone(clock)), ..StoreOptions::new(Keyring::new(&[[7; 32]])) };
    let store = Store::connect(url, options).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// One connection past the store, which on SQLite syncs as the store's does.
pub async fn beside(url: &str) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url.replace("sqlite:", "sqlite://"));
    options.max_connections(1).sqlx_logging(false);
    options.map_sqlx_sqlite_opts(|sqlite| sqlite.pragma("journal_mode", "WAL").pragma("synchronous", "FULL"));
    Database::connect(options).await.unwrap()
}

/// An App to make Tasks of.
pub fn push(name: AppName) -> Push {
    Push {
        name,
        source: Some(Source::Image("registry.example/app:1".into())),
        command: Some(Command::parse("command", "true".into()).unwrap()),
        env: Env::default(),
        replace_env: false,
        unset_env: Vec::new(),
        resources: Resources::default(),
        services: Vec::new(),
        task_retention_count: None,
        placement: None,
    }
}

/// One Job with one schedule, each minute.
async fn prepare(store: &Store) {
    let at = store.now().await.unwrap();
    // All that fall due at once are to fire at once.
    let quota = Quota { waiting: 1_000_000, ..Quota::default() };
    let settings = SpaceSettings { quota, ..SpaceSettings::default() };
    let space = Space::create(SpaceUid(Uuid::from_u128(1)), "spaces/s".parse().unwrap(), settings, at);
    store.space_create(&space).await.unwrap();
    let app =
        App::create(AppUid(Uuid::from_u128(2)), space.space.uid, push("spaces/s/apps/a".parse().unwrap()), at).unwrap();
    store.app_create(&app).await.unwrap();
    let identity = (JobUid(Uuid::from_u128(3)), "spaces/s/jobs/j".parse().unwrap());
    let job = Job::create(identity, &app.app, TaskTemplate::default(), ConcurrencyPolicy::Always, at);
    let plan = Plan::parse("", "* * * * *", "", (GapRule::default(), OverlapRule::default()), None).unwrap();
    let job = job.scheduled(ScheduleUid(Uuid::from_u128(4)), "at".parse().unwrap(), plan, false);
    store.job_create(job).await.unwrap();
}

/// Copies the one Job with its schedule until there are `count` of them: made one by one they would take most of the time.
async fn multiply(db: &DatabaseConnection, count: u32) {
    let fresh = if is_postgres(db) { "gen_random_uuid()" } else { "randomblob(16)" };
    let jobs = format!(
        "INSERT INTO jobs (uid, space_uid, app_uid, space, app, name, template, policy, state, version, sequence, created_at, \
         updated_at) WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count}) \
         SELECT {fresh}, space_uid, app_uid, space, app, 'j-' || n, template, policy, state, version, sequence, created_at, \
         updated_at FROM jobs, numbers"
    );
    let schedules = format!(
        "INSERT INTO schedules (uid, job_uid, space, job, id, plan, suspended, mark, next_at, version, created_at, updated_at) \
         SELECT {fresh}, j.uid, s.space, j.name, s.id, s.plan, s.suspended, s.mark, s.next_at, s.version, s.created_at, \
         s.updated_at FROM schedules s, jobs j WHERE j.uid <> s.job_uid"
    );
    for statement in [&*jobs, &*schedules, "ANALYZE"] {
        db.execute_unprepared(statement).await.unwrap();
    }
}

/// All rows that the ticks made, as statements that make them again: the rows of one pass in each transaction. And how many.
async fn statements(db: &DatabaseConnection, count: u32) -> (usize, Vec<Vec<String>>) {
    let passes = count.div_ceil(BATCH) as usize;
    let mut transactions = vec![Vec::new(); passes];
    let mut total = 0;
    for table in TABLES {
        let rows = literals(db, table).await;
        total += rows.len();
        for (transaction, some) in transactions.iter_mut().zip(rows.chunks(rows.len().div_ceil(passes))) {
            let insert = |rows: &[String]| format!("INSERT INTO {table} VALUES {}", rows.join(", "));
            transaction.extend(some.chunks(ROWS).map(insert));
        }
    }
    (total, transactions)
}

/// A table's rows, each in parentheses as SQL has them.
async fn literals(db: &DatabaseConnection, table: &str) -> Vec<String> {
    let columns = if is_postgres(db) {
        "SELECT 'quote_nullable(' || column_name || '::text)' AS value FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position"
    } else {
        "SELECT 'quote(' || name || ')' AS value FROM pragma_table_info($1) ORDER BY cid"
    };
    let backend = db.get_database_backend();
    let columns = texts(db, Statement::from_sql_and_values(backend, columns, [table.into()])).await;
    let rows = format!("SELECT '(' || {} || ')' AS value FROM {table}", columns.join(" || ', ' || "));
    texts(db, Statement::from_string(backend, rows)).await
}

async fn texts(db: &DatabaseConnection, statement: Statement) -> Vec<String> {
    let rows = db.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get("", "value").unwrap()).collect()
}

pub fn is_postgres(db: &DatabaseConnection) -> bool {
    db.get_database_backend() == DbBackend::Postgres
}
