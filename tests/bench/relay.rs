//! How fast the relay takes a filled outbox onto the bus, beside a plain JetStream publish of the same messages.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use futures::StreamExt as _;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use taskplane_proto::keyring::Keyring;
use taskplane_store::{Store, StoreOptions};
use taskplane_testkit::nats::Nats;
use taskplane_testkit::postgres::Postgres;

use crate::claims::{a_birth, a_space};
use crate::kit::System;
use crate::spread::Spread;
use crate::ticks::beside;

const STREAM: &str = "TASKPLANE_EVENTS";
/// Under way at once, as the relay has it.
const PIPELINE: usize = 256;
const SLICES: u32 = 3;
/// Tasks that are accepted at once.
const TOGETHER: u32 = 256;

struct Said {
    subject: Subject,
    headers: HeaderMap,
    payload: Bytes,
}

pub async fn measure(events: u32) {
    println!(
        "\nan outbox of {events} events, each of another Task, taken to JetStream by the relay of a scheduler from its start; beside \
         a plain publish of the same messages, {PIPELINE} at once; {SLICES} slices in turns\n"
    );
    let postgres = tokio::task::spawn_blocking(|| Postgres::start_on_disk().unwrap()).await.unwrap();
    let nats = tokio::task::spawn_blocking(|| Nats::start().unwrap()).await.unwrap();
    let jetstream = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    println!("{:>10} {:>10} {:>7}", "relay", "plain", "ratio");
    let mut ratios = Vec::new();
    for _ in 0..SLICES {
        let url = postgres.create_database();
        let written = fill(&url, events).await;
        let relayed = written / drained(&url, &nats).await.as_secs_f64();
        let messages = read(&jetstream).await;
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let count = messages.len() as f64;
        assert!((count - written).abs() < 0.5, "{count} of {written} events are in the stream");
        jetstream.delete_stream(STREAM).await.unwrap();
        let plain = count / published(&jetstream, messages).await.as_secs_f64();
        jetstream.delete_stream(STREAM).await.unwrap();
        println!("{relayed:>8.0}/s {plain:>8.0}/s {:>7.2}", relayed / plain);
        ratios.push(relayed / plain);
    }
    println!("\nratio in the middle of {SLICES} slices (least–most): {:.2}", Spread::of(ratios));
}

/// Says how many there are.
async fn fill(url: &str, events: u32) -> f64 {
    // The key that the processes of the kit are given.
    let options = StoreOptions::new(Keyring::new(&[[0x22; 32]]));
    let store = Store::connect(url, options).await.unwrap();
    store.migrate().await.unwrap();
    let (space, app) = a_space(&store, "s").await;
    let mut left = events;
    while left > 0 {
        let some = left.min(TOGETHER);
        let at = store.now().await.unwrap();
        let births = (0..some).map(|_| (a_birth(&space, &app, at), None)).collect();
        for answer in store.tasks_accept(births).await {
            answer.unwrap();
        }
        left -= some;
    }
    store.close().await.unwrap();
    let db = beside(url).await;
    let count = unpublished(&db).await;
    db.close().await.unwrap();
    assert!(count >= i64::from(events), "{count} events of {events} Tasks");
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let count = count as f64;
    count
}

/// From the start of the process until all are marked as published.
async fn drained(url: &str, nats: &Nats) -> Duration {
    let mut system = System::on(url.to_owned());
    system.extra.control = vec!["--nats-url".into(), nats.url()];
    let db = beside(url).await;
    let begun = Instant::now();
    system.launch(&["scheduler-1"]).await;
    while unpublished(&db).await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    db.close().await.unwrap();
    took
}

async fn unpublished(db: &DatabaseConnection) -> i64 {
    let text = "SELECT count(*) AS value FROM events WHERE published_at IS NULL";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), text)).await.unwrap().unwrap();
    row.try_get("", "value").unwrap()
}

async fn read(jetstream: &Context) -> Vec<Said> {
    let mut stream = jetstream.get_stream(STREAM).await.unwrap();
    let left = stream.info().await.unwrap().state.messages;
    let everything = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    let messages = stream.create_consumer(everything).await.unwrap().messages().await.unwrap();
    let said = messages.take(usize::try_from(left).unwrap()).map(|message| {
        let (message, _) = message.unwrap().split();
        Said { subject: message.subject, headers: message.headers.unwrap_or_default(), payload: message.payload }
    });
    said.collect().await
}

async fn published(jetstream: &Context, messages: Vec<Said>) -> Duration {
    let count = messages.len();
    let config = Config {
        name: STREAM.into(),
        subjects: vec!["taskplane.v1.>".into()],
        storage: StorageType::File,
        ..Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let begun = Instant::now();
    let answers = futures::stream::iter(messages).map(|Said { subject, headers, payload }| async move {
        jetstream.publish_with_headers(subject, headers, payload).await.unwrap().await.unwrap();
    });
    assert_eq!(answers.buffer_unordered(PIPELINE).count().await, count);
    let took = begun.elapsed();
    let mut stream = jetstream.get_stream(STREAM).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, count as u64, "all of them are kept");
    took
}
