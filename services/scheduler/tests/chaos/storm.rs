//! Schedulers are killed, held up and started again, each believing another time, while their Jobs are due each minute.
//!
//! Between one start and the next, minutes pass: a replica's clock is the database's, that far ahead. Whatever is done, the
//! [oracle](crate::oracle) must find the plans carried out to the letter.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::Rng as _;
use rand::rngs::StdRng;
use taskplane_store::{DatabaseClock, Keyring, Store, StoreOptions};
use taskplane_testkit::postgres::Postgres;

use crate::history::History;
use crate::oracle::{self, Marks};
use crate::replica::Replica;
use crate::scene::{self, brief};

const MINUTE: i64 = 60_000_000;
/// How far a replica's clock may be off, either way.
const SKEW: i64 = 5 * MINUTE;
const REPLICAS: usize = 3;
/// Until all that is due has been decided; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Time as the replicas are told it.
struct Time {
    /// What has passed so far.
    passed: i64,
    /// The furthest that any replica has been told.
    furthest: i64,
}

impl Time {
    fn begin() -> Self {
        Self { passed: 0, furthest: 0 }
    }

    /// Lets minutes go by, and says what the next replica takes the time for.
    fn next(&mut self, rng: &mut StdRng, skew: i64) -> i64 {
        self.passed += rng.random_range(0..3 * MINUTE);
        let told = self.passed + rng.random_range(-skew..=skew);
        self.furthest = self.furthest.max(told);
        told
    }

    /// Later than all that was told.
    fn last(&mut self) -> i64 {
        self.furthest += 2 * MINUTE;
        self.furthest
    }
}

#[tokio::test]
async fn three_replicas_carry_out_the_plan_whatever_becomes_of_them() {
    const TEST: &str = "storm::three_replicas_carry_out_the_plan_whatever_becomes_of_them";
    if tokio::task::spawn_blocking(Replica::lived).await.unwrap() {
        return;
    }
    let (mut history, mut rng) = History::begin();
    let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
    let store = connect(&url, 0).await;
    store.migrate().await.unwrap();
    scene::prepare(&store).await;

    let (mut time, mut marks) = (Time::begin(), Marks::default());
    let pace = pace(TEST, &url, &mut time, &mut history).await;
    let mut replicas: Vec<Replica> = Vec::new();
    // One is held up in the midst of what it does, and wakes when everything is over.
    let mut sleeper = Replica::spawn(TEST, &url, time.next(&mut rng, SKEW));
    tokio::time::sleep(pace.mul_f64(rng.random_range(0.3..1.0))).await;
    sleeper.stop();
    history.tells(format!("{} is held up to the end", sleeper.id()));
    let over = Instant::now() + History::storm(1.0);
    let mut spawned = 0;
    while Instant::now() < over {
        // Some begin at the same moment and find the same ticks due, some beside others that are at it.
        while replicas.len() < REPLICAS {
            let ahead = time.next(&mut rng, SKEW);
            let replica = Replica::spawn(TEST, &url, ahead);
            history.tells(format!("{} starts, {:.1} min ahead", replica.id(), ahead as f64 / MINUTE as f64));
            replicas.push(replica);
            spawned += 1;
        }
        // It is random moments that are wanted here, not a condition.
        tokio::time::sleep(pace.mul_f64(rng.random_range(0.0..0.7))).await;
        for replica in &mut replicas {
            assert!(!replica.is_gone(), "{} ended by itself", replica.id());
        }
        let chosen = rng.random_range(0..replicas.len());
        match rng.random_range(0..10) {
            0..4 => {
                let killed = replicas.swap_remove(chosen);
                history.tells(format!("{} is killed", killed.id()));
            }
            4 => {
                history.tells("all are killed".into());
                replicas.clear();
            }
            5..7 if !replicas[chosen].stopped => {
                history.tells(format!("{} is held up", replicas[chosen].id()));
                replicas[chosen].stop();
            }
            5..8 if replicas[chosen].stopped => {
                history.tells(format!("{} goes on", replicas[chosen].id()));
                replicas[chosen].go_on();
            }
            8 => history.tells(format!("somebody {}", scene::meddle(&store, &mut rng).await)),
            9 if rng.random_bool(0.2) => {
                history.tells("all tasks end".into());
                scene::end_all(&store).await;
            }
            _ => marks.look(&store).await,
        }
    }
    // Those that were held up finish what they had begun, if they still can, beside the last one.
    sleeper.go_on();
    replicas.iter_mut().for_each(Replica::go_on);
    let last = time.last();
    let looking = connect(&url, last).await;
    replicas.push(Replica::spawn(TEST, &url, last));
    let latest = quiet(&looking, &mut marks, &mut history).await;
    drop((replicas, sleeper));
    let found = oracle::check(&looking, latest).await;
    eprintln!("{spawned} replicas lived on PostgreSQL, at a pace of {pace:?}; {found}");
}

#[tokio::test]
async fn one_process_on_sqlite_carries_out_the_plan_however_often_it_is_killed() {
    const TEST: &str = "storm::one_process_on_sqlite_carries_out_the_plan_however_often_it_is_killed";
    if tokio::task::spawn_blocking(Replica::lived).await.unwrap() {
        return;
    }
    let (mut history, mut rng) = History::begin();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("taskplane.db").display());
    let store = connect(&url, 0).await;
    store.migrate().await.unwrap();
    scene::prepare(&store).await;
    closed(store).await;

    let (mut time, mut marks) = (Time::begin(), Marks::default());
    let begun = Instant::now();
    let ahead = time.last();
    let first = Replica::spawn(TEST, &url, ahead);
    // Nobody can look into the file meanwhile; how long a life must be to matter is tried out.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(first);
    let pace = begun.elapsed();
    let over = Instant::now() + History::storm(0.6);
    let mut spawned = 1;
    while Instant::now() < over {
        let ahead = time.next(&mut rng, MINUTE);
        let mut replica = Replica::spawn(TEST, &url, ahead);
        spawned += 1;
        // Short lives more often than long ones: most of what can be broken is done early.
        tokio::time::sleep(pace.mul_f64(rng.random_range(0.0..1.0_f64).powi(2))).await;
        assert!(!replica.is_gone(), "{} ended by itself", replica.id());
        history.tells(format!("{} is killed, {:.1} min ahead", replica.id(), ahead as f64 / MINUTE as f64));
        drop(replica);
        if rng.random_bool(0.3) {
            let store = connect(&url, ahead).await;
            marks.look(&store).await;
            history.tells(format!("somebody {}", scene::meddle(&store, &mut rng).await));
            closed(store).await;
        }
    }
    let last = time.last();
    let (store, latest) = loop {
        let replica = Replica::spawn(TEST, &url, last);
        tokio::time::sleep(pace).await;
        drop(replica);
        let store = connect(&url, last).await;
        marks.look(&store).await;
        let now = store.now().await.unwrap();
        let idle = is_idle(&store).await;
        history.tells(format!("the last one, at {}: idle {idle}", brief(now)));
        if idle {
            break (store, now);
        }
        closed(store).await;
        assert!(over.elapsed() < PATIENCE, "ticks stay due");
    };
    let found = oracle::check(&store, latest).await;
    eprintln!("{spawned} processes lived on SQLite, at a pace of {pace:?}; {found}");
}

/// How long a replica takes here and now, from its start until it has dealt with what was due.
async fn pace(test: &str, url: &str, time: &mut Time, history: &mut History) -> Duration {
    let ahead = time.last();
    let looking = connect(url, ahead).await;
    let begun = Instant::now();
    let first = Replica::spawn(test, url, ahead);
    quiet(&looking, &mut Marks::default(), history).await;
    drop(first);
    begun.elapsed()
}

/// Waits until nothing is due, and gives a time by which nothing is.
async fn quiet(store: &Store, marks: &mut Marks, history: &mut History) -> Timestamp {
    let begun = Instant::now();
    loop {
        marks.look(store).await;
        let now = store.now().await.unwrap();
        if is_idle(store).await {
            history.tells(format!("nothing is due at {}", brief(now)));
            return now;
        }
        assert!(begun.elapsed() < PATIENCE, "ticks stay due");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn is_idle(store: &Store) -> bool {
    store.ticks_next_due().await.unwrap().is_none_or(|next| !next.is_zero())
}

async fn connect(url: &str, ahead: i64) -> Store {
    let options =
        StoreOptions { max_connections: 4, clock: DatabaseClock::Ahead(ahead), secrets: Keyring::new(&[[7; 32]]) };
    Store::connect(url, options).await.unwrap()
}

async fn closed(store: Store) {
    store.close().await.unwrap();
}
