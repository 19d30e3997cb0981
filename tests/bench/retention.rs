//! What the reaper costs: taking away what 2 000 Apps have too many, beside a raw DELETE by key of the same rows; and accepting
//! Tasks while it is at that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, TransactionTrait};
use taskplane_domain::name::AppName;
use taskplane_domain::retention::Retention;
use taskplane_domain::space::{Quota, Space, SpaceSettings};
use taskplane_domain::uid::{AppUid, SpaceUid};
use taskplane_store::Store;
use taskplane_testkit::postgres::Postgres;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::claims::{a_task, clock};
use crate::ticks::{beside, is_postgres, opened, push};

const APPS: u32 = 2_000;
const KEPT: u32 = 50;
/// As the reaper and the store have it.
const BATCH: u32 = 200;
const PURGE: u32 = 1_000;
const ACCEPTS: u32 = 800;
const CALLERS: u32 = 8;

pub async fn measure(excess: u32) {
    println!(
        "\n{excess} Tasks too many in {APPS} Apps, each keeping {KEPT}: marked and removed, beside a raw DELETE by key\n"
    );
    println!("{:<11} {:>9} {:>10} {:>10} {:>7}", "database", "rows/s", "removed in", "raw in", "ratio");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("sqlite:{}", directory.path().join(name).display());
    compare("SQLite", &file("trim.db"), &file("raw.db"), excess).await;
    let database = || Postgres::shared().create_database();
    compare("PostgreSQL", &database(), &database(), excess).await;
    println!(
        "\naccepting {ACCEPTS} Tasks for {CALLERS} callers at once, without the reaper and with it at full work\n"
    );
    println!("{:<11} {:>10} {:>10} {:>7}", "database", "without", "with", "ratio");
    accept("SQLite", &file("accept-trim.db"), excess).await;
    accept("PostgreSQL", &database(), excess).await;
}

async fn compare(name: &str, url: &str, raw: &str, excess: u32) {
    let (store, db) = filled(url, excess).await;
    let begun = Instant::now();
    let gone = trim(&store, &AtomicBool::new(false)).await;
    let took = begun.elapsed();
    assert_eq!(gone, excess, "all of it, and nothing else");
    let (_other, plain) = filled(raw, excess).await;
    let begun = Instant::now();
    delete(&plain).await;
    let raw = begun.elapsed();
    println!(
        "{name:<11} {:>9.0} {:>8.2} s {:>8.2} s {:>7.2}",
        f64::from(excess) / took.as_secs_f64(),
        took.as_secs_f64(),
        raw.as_secs_f64(),
        took.as_secs_f64() / raw.as_secs_f64(),
    );
    db.close().await.unwrap();
}

/// A batch of each App in turn, and removal on its heels.
async fn trim(store: &Store, stop: &AtomicBool) -> u32 {
    let mut apps: Vec<AppName> = Vec::new();
    loop {
        let page = store.retention_rules(None, apps.last(), 500).await.unwrap();
        if page.is_empty() {
            break;
        }
        apps.extend(page.into_iter().map(|rule| rule.name));
    }
    let mut gone = 0;
    while !apps.is_empty() && !stop.load(Ordering::Relaxed) {
        let mut more = Vec::new();
        for app in apps {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if store.retention_mark(&app, BATCH).await.unwrap().tasks == BATCH {
                more.push(app);
            }
            if store.removals_ready(PURGE).await.unwrap() == PURGE {
                gone += store.removals_purge(PURGE).await.unwrap();
            }
        }
        apps = more;
    }
    loop {
        match store.removals_purge(PURGE).await.unwrap() {
            0 => return gone,
            some => gone += some,
        }
    }
}

/// The same rows by their keys, as many at a time.
async fn delete(db: &DatabaseConnection) {
    let excess = format!(
        "SELECT uid FROM tasks t WHERE id <= (SELECT max(id) - {KEPT} FROM tasks o WHERE o.app_uid = t.app_uid)"
    );
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), excess)).await.unwrap();
    let uids: Vec<Uuid> = rows.iter().map(|row| row.try_get("", "uid").unwrap()).collect();
    for some in uids.chunks(BATCH as usize) {
        let marks: Vec<String> = (1..=some.len()).map(|number| format!("${number}")).collect();
        let text = format!("DELETE FROM tasks WHERE uid IN ({})", marks.join(", "));
        let values = some.iter().map(|uid| (*uid).into());
        let txn = db.begin().await.unwrap();
        txn.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), text, values)).await.unwrap();
        txn.commit().await.unwrap();
    }
}

async fn accept(name: &str, url: &str, excess: u32) {
    let (store, _db) = filled(url, excess).await;
    let (space, app) = crate::claims::a_space(&store, "accepting").await;
    let accepts = async || {
        let begun = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (store, space, app) = (store.clone(), space.clone(), app.clone());
            callers.spawn(async move {
                for _ in 0..ACCEPTS / CALLERS {
                    a_task(&store, &space, &app).await;
                }
            });
        }
        callers.join_all().await;
        f64::from(ACCEPTS) / begun.elapsed().as_secs_f64()
    };
    let alone = accepts().await;
    let stop = Arc::new(AtomicBool::new(false));
    let reaper = tokio::spawn({
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        async move { trim(&store, &stop).await }
    });
    let beside = accepts().await;
    let remark = if reaper.is_finished() { "  (the reaper had too little to do: measure with more)" } else { "" };
    stop.store(true, Ordering::Relaxed);
    reaper.await.unwrap();
    println!("{name:<11} {alone:>8.0}/s {beside:>8.0}/s {:>7.2}{remark}", beside / alone);
}

/// One Space with all the Apps, each with what it keeps and its share of what is too much; all of it is over.
async fn filled(url: &str, excess: u32) -> (Store, DatabaseConnection) {
    let store = opened(url, &clock()).await;
    let db = beside(url).await;
    let at = store.now().await.unwrap();
    let retention = Retention { count: KEPT, minimum_finished: KEPT, age: None, failed: None };
    let quota = Quota { live: 1_000_000, ..Quota::default() };
    let settings = SpaceSettings { retention, quota, ..SpaceSettings::default() };
    let space = Space::create(SpaceUid(Uuid::now_v7()), "spaces/full".parse().unwrap(), settings, at);
    store.space_create(&space).await.unwrap();
    let space = space.space;
    let name = "spaces/full/apps/a".parse().unwrap();
    let app = taskplane_domain::app::App::create(AppUid(Uuid::now_v7()), space.uid, push(name), at).unwrap();
    store.app_create(&app).await.unwrap();
    a_task(&store, &space, &app.app).await;
    let fresh = if is_postgres(&db) { "gen_random_uuid()" } else { "randomblob(16)" };
    let each = KEPT + excess / APPS;
    let apps = format!(
        "INSERT INTO apps (uid, space_uid, space, name, revision, next_task_id, version, created_at, updated_at) \
         WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < {APPS}) \
         SELECT {fresh}, space_uid, space, 'a-' || n, revision, next_task_id, version, created_at, updated_at FROM apps, numbers"
    );
    let tasks = format!(
        "INSERT INTO tasks (uid, space_uid, app_uid, space, app, id, display_name, cluster, state, version, attempt, spec, \
         app_revision, space_env_revision, created_at, fence, finished_at, exit_code) \
         WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {each}) \
         SELECT {fresh}, t.space_uid, a.uid, t.space, a.name, n, t.display_name, t.cluster, 'SUCCEEDED', 4, 1, t.spec, 1, 1, \
         t.created_at, 1, t.created_at, 0 FROM tasks t, apps a, numbers WHERE n > 1 OR a.name <> 'a'"
    );
    let next = format!("UPDATE apps SET next_task_id = {}", each + 1);
    let first = "UPDATE tasks SET state = 'SUCCEEDED', finished_at = created_at, exit_code = 0";
    for statement in [&*apps, &*tasks, &*next, first, "DELETE FROM events", "ANALYZE"] {
        db.execute_unprepared(statement).await.unwrap();
    }
    (store, db)
}
