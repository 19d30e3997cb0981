//! Handing work out when one Space has ten thousand Tasks waiting, against a claim that takes the oldest; and accepting Tasks
//! where many are live.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, TransactionTrait};
use taskplane_domain::app::App;
use taskplane_domain::env::Env;
use taskplane_domain::label::Labels;
use taskplane_domain::quantity::Resources;
use taskplane_domain::session::LEASE;
use taskplane_domain::space::{Quota, Space, SpaceSettings};
use taskplane_domain::task::{Birth, Override, RetryPolicy, RunTask, Task};
use taskplane_domain::uid::{AppUid, SessionUid, SpaceUid, TaskUid};
use taskplane_store::{NewSession, Store};
use taskplane_testkit::postgres::Postgres;
use uuid::Uuid;

use crate::ticks::{beside, is_postgres, opened, push};

const HOG: u32 = 10_000;
const SMALL: u32 = 50;
const SMALL_TASKS: u32 = 20;
const LIMIT: u32 = 64;
const CLAIMS: u32 = 60;
const ACCEPTS: u32 = 300;
/// Before there were turns: the oldest first, whose they may be.
const PLAIN: &str = "UPDATE tasks SET session_uid = $1, fence = fence + 1 WHERE uid IN (SELECT uid FROM tasks \
     WHERE state = 'PENDING' AND session_uid IS NULL AND cluster = $2 AND (not_before IS NULL OR not_before <= $3) \
     AND (NOT job_waits OR NOT EXISTS (SELECT 1 FROM tasks older WHERE older.job_uid = tasks.job_uid \
     AND older.id < tasks.id AND older.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING'))) \
     ORDER BY created_at, uid LIMIT $4)";
const PLAIN_INDEX: &str =
    "CREATE INDEX plain ON tasks (cluster, created_at, uid) WHERE state = 'PENDING' AND session_uid IS NULL";

pub async fn measure() {
    println!(
        "\n{HOG} Tasks of one Space waiting, then {SMALL_TASKS} in each of {SMALL} others; {CLAIMS} claims of {LIMIT}, beside a claim of \
         the oldest on the same rows\n"
    );
    println!("{:<11} {:>10} {:>10} {:>7}   others' first Task", "database", "claim", "oldest", "ratio");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("sqlite:{}", directory.path().join(name).display());
    compare("SQLite", &file("claims.db"), &file("oldest.db")).await;
    let database = || Postgres::shared().create_database();
    compare("PostgreSQL", &database(), &database()).await;
    println!("\naccepting {ACCEPTS} Tasks one by one, by how many are live in the Space\n");
    println!("{:<11} {:>10} {:>10} {:>10} {:>10}", "database", "none", "1 000", "10 000", "100 000");
    accept("SQLite", &file("accept.db")).await;
    accept("PostgreSQL", &database()).await;
}

async fn compare(name: &str, url: &str, plain: &str) {
    let (store, db) = filled(url).await;
    let session = a_session(&store).await;
    let begun = Instant::now();
    let mut first = 0;
    for claim in 1..=CLAIMS {
        assert_eq!(store.work_claim(session, LIMIT).await.unwrap(), u64::from(LIMIT));
        if first == 0
            && number(&db, "SELECT count(DISTINCT space_uid) AS value FROM tasks WHERE session_uid IS NOT NULL").await
                == i64::from(SMALL) + 1
        {
            first = claim;
        }
    }
    let took = begun.elapsed() / CLAIMS;
    let (other, raw) = filled(plain).await;
    raw.execute_unprepared(PLAIN_INDEX).await.unwrap();
    raw.execute_unprepared("ANALYZE").await.unwrap();
    let session = a_session(&other).await;
    let begun = Instant::now();
    for _ in 0..CLAIMS {
        let values = [session.0.into(), "local".into(), i64::MAX.into(), i64::from(LIMIT).into()];
        let txn = raw.begin().await.unwrap();
        let open = "SELECT uid FROM sessions WHERE uid = $1 AND closed_at IS NULL";
        let backend = raw.get_database_backend();
        txn.query_one_raw(Statement::from_sql_and_values(backend, open, [session.0.into()])).await.unwrap().unwrap();
        txn.execute_raw(Statement::from_sql_and_values(backend, PLAIN, values)).await.unwrap();
        txn.commit().await.unwrap();
    }
    let oldest = begun.elapsed() / CLAIMS;
    println!(
        "{name:<11} {:>10} {:>10} {:>7.2}   in claim {first} of {CLAIMS}; by age after {}",
        millis(took),
        millis(oldest),
        took.as_secs_f64() / oldest.as_secs_f64(),
        HOG / LIMIT
    );
    for open in [&db, &raw] {
        open.clone().close().await.unwrap();
    }
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

async fn number(db: &DatabaseConnection, text: &str) -> i64 {
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), text)).await.unwrap().unwrap();
    row.try_get("", "value").unwrap()
}

pub async fn a_space(store: &Store, name: &str) -> (Space, App) {
    let at = store.now().await.unwrap();
    let quota = Quota { live: 1_000_000, ..Quota::default() };
    let settings = SpaceSettings { quota, ..SpaceSettings::default() };
    let space = Space::create(SpaceUid(Uuid::now_v7()), format!("spaces/{name}").parse().unwrap(), settings, at);
    store.space_create(&space).await.unwrap();
    let app = push(format!("spaces/{name}/apps/a").parse().unwrap());
    let app = App::create(AppUid(Uuid::now_v7()), space.space.uid, app, at).unwrap();
    store.app_create(&app).await.unwrap();
    (space.space, app.app)
}

pub async fn a_task(store: &Store, space: &Space, app: &App) {
    let at = store.now().await.unwrap();
    store.task_accept(a_birth(space, app, at), None).await.unwrap();
}

/// A Task that is asked for.
pub fn a_birth(space: &Space, app: &App, at: Timestamp) -> Birth {
    let asked = RunTask {
        app: app.name.clone(),
        display_name: Some("a".into()),
        overrides: Override { command: None, env: Env::default(), resources: Resources::default() },
        timeout: None,
        retry: RetryPolicy::default(),
        labels: Labels::default(),
        request_id: None,
    };
    Task::create(TaskUid(Uuid::now_v7()), space, app, asked, "local".parse().unwrap(), None, at).unwrap()
}

/// Copies the first Task of an App until there are `upto` of them.
async fn multiply(db: &DatabaseConnection, space: &Space, upto: u32) {
    let fresh = if is_postgres(db) { "gen_random_uuid()" } else { "randomblob(16)" };
    let rows = format!(
        "INSERT INTO tasks (uid, space_uid, app_uid, space, app, id, display_name, cluster, state, version, attempt, spec, \
         app_revision, space_env_revision, created_at, fence) \
         WITH RECURSIVE numbers(n) AS (SELECT (SELECT max(id) FROM tasks WHERE space = '{name}') + 1 \
         UNION ALL SELECT n + 1 FROM numbers WHERE n < {upto}) \
         SELECT {fresh}, space_uid, app_uid, space, app, n, display_name, cluster, state, version, attempt, spec, app_revision, \
         space_env_revision, created_at, fence FROM tasks, numbers WHERE space = '{name}' AND id = 1",
        name = space.name.0
    );
    let next = format!("UPDATE apps SET next_task_id = {} WHERE space = '{}'", upto + 1, space.name.0);
    for statement in [&*rows, &*next, "ANALYZE"] {
        db.execute_unprepared(statement).await.unwrap();
    }
}

pub fn clock() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new("2030-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_microsecond()))
}

async fn filled(url: &str) -> (Store, DatabaseConnection) {
    let clock = clock();
    let store = opened(url, &clock).await;
    let db = beside(url).await;
    for (number, tasks) in [HOG].into_iter().chain([SMALL_TASKS; SMALL as usize]).enumerate() {
        let (space, app) = a_space(&store, &format!("s{number}")).await;
        a_task(&store, &space, &app).await;
        multiply(&db, &space, tasks).await;
        clock.fetch_add(1_000_000, std::sync::atomic::Ordering::SeqCst);
    }
    (store, db)
}

async fn a_session(store: &Store) -> SessionUid {
    let new = NewSession {
        uid: SessionUid(Uuid::now_v7()),
        executor: "e".parse().unwrap(),
        cluster: "local".parse().unwrap(),
        adoptable: false,
        runs_images: true,
        logs_address: None,
    };
    store.session_open(new, LEASE, |_, _| None).await.unwrap().uid
}

async fn accept(name: &str, url: &str) {
    let store = opened(url, &clock()).await;
    let db = beside(url).await;
    let mut cells = Vec::new();
    for live in [1, 1_000, 10_000, 100_000] {
        let (space, app) = a_space(&store, &format!("s{live}")).await;
        a_task(&store, &space, &app).await;
        if live > 1 {
            multiply(&db, &space, live).await;
        }
        let begun = Instant::now();
        for _ in 0..ACCEPTS {
            a_task(&store, &space, &app).await;
        }
        cells.push(millis(begun.elapsed() / ACCEPTS));
    }
    println!("{name:<11} {:>10} {:>10} {:>10} {:>10}", cells[0], cells[1], cells[2], cells[3]);
}
