//! How long it takes from the answer of RunTask until a run is made: an api, an executor and NATS between them, beside one commit
//! of the same database.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use taskplane_testkit::nats::Nats;
use taskplane_testkit::postgres::Postgres;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::task;
use crate::kit::System;
use crate::pgbench::Pgbench;
use crate::spread::{Spread, millis, quantile};
use crate::ticks::beside;

/// What two cores start without a queue.
const PER_SECOND: u32 = 5;
const TASKS: u32 = 60;
const SLICES: u32 = 3;
/// Before these, nothing is warm.
const WARM: u32 = 5;

pub async fn measure() {
    println!(
        "\nfrom the answer of RunTask until the run is made, {PER_SECOND} Tasks a second on the local backend; beside a commit of one \
         Task's rows by pgbench; {SLICES} slices of {TASKS} Tasks\n"
    );
    let postgres = tokio::task::spawn_blocking(|| Postgres::start_on_disk().unwrap()).await.unwrap();
    let nats = tokio::task::spawn_blocking(|| Nats::start().unwrap()).await.unwrap();
    let url = postgres.create_database();
    let mut system = System::on(url.clone());
    system.extra.control = vec!["--nats-url".into(), nats.url()];
    system.launch(&["api-1"]).await;
    system.client("api-1").app(&[("x", "x")]).await;
    system.kill("api-1");
    let copy = postgres.copy_database(&url);
    system.processes.clear();
    system.launch(&["api-2"]).await;
    let db = beside(&url).await;
    // Nobody runs it yet: its rows are those of an acceptance.
    system.client("api-2").run("true").await;
    let raw = Pgbench::like(&db, copy).await;
    system.launch(&["executor-1"]).await;
    slice(&system, &db, WARM).await;

    println!("{:>9} {:>9} {:>10} {:>7}", "p50", "p99", "commit", "ratio");
    let (mut middles, mut lates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..SLICES {
        let latencies = slice(&system, &db, TASKS).await;
        let commit = millis(raw.run(number, 1, Duration::from_secs(3), "simple").await.latency);
        let (middle, late) = (millis(quantile(&latencies, 0.5)), millis(quantile(&latencies, 0.99)));
        println!("{middle:>6.1} ms {late:>6.1} ms {commit:>7.2} ms {:>7.1}", middle / commit);
        middles.push(middle);
        lates.push(late);
        ratios.push(middle / commit);
    }
    println!("\nin the middle of {SLICES} slices (least–most):");
    println!("  p50 {:.1} ms, p99 {:.1} ms", Spread::of(middles), Spread::of(lates));
    println!("  p50 to one commit {:.1}", Spread::of(ratios));
    db.close().await.unwrap();
}

/// In order. Both clocks are this machine's.
async fn slice(system: &System, db: &DatabaseConnection, count: u32) -> Vec<Duration> {
    let client = system.client("api-2");
    let mut beat = interval(Duration::from_secs(1) / PER_SECOND);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = HashMap::new();
    for _ in 0..count {
        beat.tick().await;
        let task = client.run_task(task("true")).await.unwrap();
        answered.insert(task.uid, SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    }
    let made = all_made(db, &answered).await;
    assert_eq!(made.len(), answered.len(), "each Task has one run");
    let mut latencies: Vec<Duration> = made.iter().map(|(uid, at)| at.saturating_sub(answered[uid])).collect();
    latencies.sort_unstable();
    latencies
}

/// When the database was told of the runs, once all of them are over.
async fn all_made(db: &DatabaseConnection, tasks: &HashMap<String, Duration>) -> HashMap<String, Duration> {
    let text = "SELECT task_uid::text AS uid, made_at FROM attempts WHERE made_at IS NOT NULL";
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), text)).await.unwrap();
        let made = rows.iter().map(|row| {
            let (uid, at): (String, i64) = (row.try_get("", "uid").unwrap(), row.try_get("", "made_at").unwrap());
            (uid, Duration::from_micros(at.cast_unsigned()))
        });
        let made: HashMap<_, _> = made.filter(|(uid, _)| tasks.contains_key(uid)).collect();
        if made.len() == tasks.len() {
            return made;
        }
        assert!(Instant::now() < until, "{} of {} Tasks are over", made.len(), tasks.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
