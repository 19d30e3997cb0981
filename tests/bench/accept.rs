//! How fast Tasks are accepted: calls of a real api process, in turns with PostgreSQL inserting the same rows by itself on the same
//! server.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use taskplane_proto::v1 as pb;
use taskplane_testkit::postgres::Postgres;

use crate::client::{image_source, spec};
use crate::kit::System;
use crate::load::Load;
use crate::pgbench::Pgbench;
use crate::spread::{Spread, millis, quantile};
use crate::ticks::beside;

/// At once, on either side.
const CLIENTS: u32 = 64;
/// How many it takes until more of them get no more.
const CROWD: u32 = 512;
/// Of what the crowd gets: the rate at which latencies are measured.
const SHARE: f64 = 0.5;
const SLICES: u32 = 3;

struct Slice {
    ours: f64,
    crowd: f64,
    raw: f64,
    prepared: f64,
    wal: f64,
    raw_wal: f64,
}

pub async fn measure(window: Duration) {
    println!(
        "\nRunTask by {CLIENTS} callers at once, beside `pgbench -n -f` with {CLIENTS} clients inserting the same rows, a transaction \
         each; {SLICES} slices of {} s in turns\n",
        window.as_secs()
    );
    let postgres = tokio::task::spawn_blocking(|| Postgres::start_on_disk().unwrap()).await.unwrap();
    let url = postgres.create_database();
    // Beside the rows of the Tasks nothing is to be written: so the Apps are there before the copy is made.
    let mut system = started(&url).await;
    prepare(&system).await;
    system.kill("api-1");
    let copy = postgres.copy_database(&url);
    drop(system);
    system = started(&url).await;

    let load = Load::new(&system.address("api-1"));
    let (db, other) = (beside(&url).await, beside(&copy).await);
    let mut acked = load.closed(CLIENTS, Duration::from_secs(2)).await.acked();
    let raw = Pgbench::like(&db, copy).await;
    let mut inserted = raw.run(0, CLIENTS, Duration::from_secs(2), "simple").await.transactions;

    println!(
        "{:>9} {:>11} {:>11} {:>11} {:>7} {:>9}",
        "acked/s", "of 512", "pgbench/s", "prepared/s", "ratio", "WAL/Task"
    );
    let (mut slices, mut opened) = (Vec::new(), Vec::new());
    for number in 0..SLICES {
        let before = wal(&db).await;
        let ours = load.closed(CLIENTS, window).await;
        settled(&db).await;
        let between = wal(&db).await;
        let simple = raw.run(2 * number + 1, CLIENTS, window, "simple").await;
        let after = wal(&db).await;
        let prepared = raw.run(2 * number + 2, CLIENTS, window, "prepared").await;
        let crowd = load.closed(CROWD, window).await;
        settled(&db).await;
        let at = crowd.rate() * SHARE;
        let open = load.open(at, window).await;
        settled(&db).await;
        for heard in [&ours, &crowd, &open] {
            assert!(heard.refused.is_none(), "nobody is to be refused: {:?}", heard.refused);
            acked += heard.acked();
        }
        inserted += simple.transactions + prepared.transactions;
        let slice = Slice {
            ours: ours.rate(),
            crowd: crowd.rate(),
            raw: simple.rate,
            prepared: prepared.rate,
            wal: each(between - before, ours.acked()),
            raw_wal: each(after - between, simple.transactions),
        };
        let Slice { ours, crowd, raw, prepared, wal, .. } = &slice;
        println!("{ours:>9.0} {crowd:>11.0} {raw:>11.0} {prepared:>11.0} {:>7.2} {wal:>7.0} B", ours / raw);
        slices.push(slice);
        opened.push((at, open.latencies));
    }
    // What was counted is what there is.
    for (db, count, tasks) in [(&db, acked, acked), (&other, inserted, inserted)] {
        assert_eq!(number(db, "SELECT count(*) FROM tasks").await, tasks);
        assert_eq!(number(db, "SELECT count(*) FROM idempotency").await, count);
        assert_eq!(number(db, "SELECT count(*) FROM events WHERE task_id IS NOT NULL").await, count);
    }
    assert_eq!(number(&db, "SELECT max(id) FROM tasks").await, acked, "numbers without a gap");

    let of = |what: fn(&Slice) -> f64| Spread::of(slices.iter().map(what));
    println!("\nin the middle of {SLICES} slices (least–most):");
    println!(
        "  ratio, {CLIENTS} callers to {CLIENTS} clients         {:.2}   (goal 1.0, floor 0.35)",
        of(|slice| slice.ours / slice.raw)
    );
    println!("  ratio, {CROWD} callers to {CLIENTS} clients        {:.2}", of(|slice| slice.crowd / slice.raw));
    println!("  ratio, {CLIENTS} callers to prepared statements {:.2}", of(|slice| slice.ours / slice.prepared));
    println!(
        "  bytes of WAL for each Task           {:.0}, pgbench {:.0}",
        of(|slice| slice.wal),
        of(|slice| slice.raw_wal)
    );
    for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
        let latency = Spread::of(opened.iter().map(|(_, latencies)| millis(quantile(latencies, share))));
        let rate = Spread::of(opened.iter().map(|(rate, _)| *rate));
        println!("  {name} at {rate:.0}/s, open loop    {latency:.1} ms");
    }
    db.close().await.unwrap();
    other.close().await.unwrap();
}

async fn started(url: &str) -> System {
    let mut system = System::on(url.to_owned());
    // No Space is to be held back.
    system.extra.api = ["--run-task-rate", "1000000", "--run-task-burst", "1000000"].map(str::to_owned).into();
    system.launch(&["api-1"]).await;
    system
}

async fn prepare(system: &System) {
    let client = system.client("api-1");
    let quota = pb::SpaceQuota { live_tasks: 1_000_000, ..Default::default() };
    let space = pb::Space { quota: Some(quota), ..Default::default() };
    let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) };
    client.spaces.clone().create_space(request).await.unwrap();
    client.push(spec("a", image_source("registry.example/app:1")), Vec::new()).await.unwrap();
}

/// The api's relay goes on after the last answer; what it writes is a part of what a Task costs.
async fn settled(db: &DatabaseConnection) {
    while number(db, "SELECT count(*) FROM (SELECT 1 FROM events WHERE published_at IS NULL LIMIT 1) first").await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn wal(db: &DatabaseConnection) -> u64 {
    number(db, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").await
}

async fn number(db: &DatabaseConnection, text: &str) -> u64 {
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), text)).await.unwrap().unwrap();
    row.try_get_by_index::<i64>(0).unwrap().cast_unsigned()
}

#[expect(clippy::cast_precision_loss, reason = "bytes and counts")]
fn each(bytes: u64, count: u64) -> f64 {
    bytes as f64 / count as f64
}
