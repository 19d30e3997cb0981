//! The bus on NATS keeps the promises of a bus, and what it says of its stream.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use futures::StreamExt;
use futures::stream::BoxStream;
use taskplane_bus::conformance::{created, pushed, requested};
use taskplane_bus::{Bus, BusError, NatsBus, NatsOptions, Ring, Topic};
use taskplane_domain::event::{Event, StreamMark};
use taskplane_testkit::nats::{Nats, NatsSetup};

/// However slow the machine, what happens at all happens within this time.
const PATIENCE: Duration = Duration::from_secs(60);

fn server() -> &'static Nats {
    static SERVER: OnceLock<Nats> = OnceLock::new();
    SERVER.get_or_init(|| Nats::start().unwrap())
}

/// Of its own for each test, since they share a server.
fn options(nats: &Nats) -> NatsOptions {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let names = NatsOptions::new(vec![nats.url()], "tests");
    NatsOptions { prefix: format!("test{number}"), stream: format!("TEST_{number}"), ..names }
}

async fn connected(options: NatsOptions) -> NatsBus {
    let bus = NatsBus::connect(options).unwrap();
    bus.connected().await;
    bus
}

async fn a_bus() -> NatsBus {
    let backlog = NonZeroUsize::new(16).unwrap();
    connected(NatsOptions { backlog, ..options(server()) }).await
}

taskplane_bus::conformance!(a_bus(), overflow = 200);

async fn raw(options: &NatsOptions) -> jetstream::Context {
    jetstream::new(async_nats::connect(&options.servers[0]).await.unwrap())
}

/// Asked until the bus answers.
async fn stream(bus: &NatsBus, known: Option<&StreamMark>) -> StreamMark {
    let asked = async {
        loop {
            match bus.stream(known).await {
                Ok(mark) => return mark.expect("this bus keeps a stream"),
                Err(_) => bus.connected().await,
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

/// Returns once the bus knows that its connection is gone.
async fn gone(bus: &NatsBus) {
    let lost = async {
        while bus.is_connected() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, lost).await.unwrap();
}

async fn next(rings: &mut BoxStream<'static, Ring>) -> Ring {
    tokio::time::timeout(PATIENCE, rings.next()).await.unwrap().unwrap()
}

/// The next event; what else is heard is passed over.
async fn event(rings: &mut BoxStream<'static, Ring>) -> Event {
    loop {
        if let Ring::Event(event) = next(rings).await {
            return (*event).clone();
        }
    }
}

/// Ids and subjects of all that the stream keeps, in its order.
async fn kept(options: &NatsOptions) -> Vec<(String, String)> {
    let mut stream = raw(options).await.get_stream(&options.stream).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    let mut kept = Vec::new();
    for sequence in state.first_sequence.max(1)..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let id = message.headers.get("Nats-Msg-Id").unwrap().as_str().to_owned();
        kept.push((id, message.subject.to_string()));
    }
    kept
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_is_not_there_and_it_is_found_when_it_comes() {
    let nats = Nats::prepare(&NatsSetup::default()).unwrap();
    let bus = NatsBus::connect(options(&nats)).unwrap();
    let mut rings = bus.subscribe(Topic::all());
    assert!(!bus.is_connected());
    assert!(matches!(bus.stream(None).await, Err(BusError::Unavailable(_))));
    assert!(matches!(bus.publish(&created("shop", 1), None).await, Err(BusError::Unavailable(_))));
    bus.removals();
    nats.run().unwrap();
    assert!(matches!(next(&mut rings).await, Ring::Missed));
    let mark = stream(&bus, None).await;
    bus.publish(&created("shop", 2), Some(&mark)).await.unwrap();
    assert_eq!(event(&mut rings).await.sequence, 2);
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_missed_ring_and_is_made_again() {
    let nats = Nats::start().unwrap();
    let bus = connected(options(&nats)).await;
    let mark = stream(&bus, None).await;
    let mut rings = bus.subscribe(Topic::tasks());
    bus.publish(&requested("shop", "web", 1), Some(&mark)).await.unwrap();
    assert_eq!(event(&mut rings).await.sequence, 1);
    nats.kill().unwrap();
    assert!(matches!(next(&mut rings).await, Ring::Missed));
    nats.run().unwrap();
    assert!(matches!(next(&mut rings).await, Ring::Missed));
    // The store is as it was, so the stream is the same one; but nothing is published before it was looked at.
    assert!(bus.publish(&requested("shop", "web", 2), Some(&mark)).await.is_err());
    assert_eq!(stream(&bus, Some(&mark)).await.incarnation, mark.incarnation);
    bus.publish(&requested("shop", "web", 2), Some(&mark)).await.unwrap();
    assert_eq!(event(&mut rings).await.sequence, 2);
}

#[tokio::test]
async fn events_are_kept_under_their_subjects_with_their_ids_and_repeats_once() {
    let options = options(server());
    let bus = connected(options.clone()).await;
    let mark = stream(&bus, None).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    let first =
        bus.publish(&Event { trace: Some(trace.clone()), ..pushed("shop", "web", 1) }, Some(&mark)).await.unwrap();
    let task = bus.publish(&requested("shop", "web", 2), Some(&mark)).await.unwrap();
    assert_eq!(bus.publish(&pushed("shop", "web", 1), Some(&mark)).await.unwrap(), first);
    let uid = pushed("shop", "web", 1).uid;
    let prefix = &options.prefix;
    let expected = [
        (format!("{uid}:1"), format!("{prefix}.v1.shop.app.web.pushed")),
        (format!("{uid}:2"), format!("{prefix}.v1.shop.task.web.requested")),
    ];
    assert_eq!(kept(&options).await, expected);
    let stream = raw(&options).await.get_stream(&options.stream).await.unwrap();
    let message = stream.get_raw_message(first).await.unwrap();
    assert_eq!(message.headers.get("traceparent").unwrap().as_str(), trace);
    assert_eq!(message.headers.get("Content-Type").unwrap().as_str(), "application/cloudevents+json; charset=UTF-8");
    let message = stream.get_raw_message(task).await.unwrap();
    assert!(message.headers.get("traceparent").is_none());
}

#[tokio::test]
async fn a_stream_is_made_as_declared_and_brought_back_to_it() {
    let options = NatsOptions { max_age: Duration::from_secs(3600), ..options(server()) };
    let mark = stream(&connected(options.clone()).await, None).await;
    let jetstream = raw(&options).await;
    let made = jetstream.get_stream(&options.stream).await.unwrap().cached_info().config.clone();
    assert_eq!(made.max_age, options.max_age);
    assert_eq!(made.duplicate_window, Duration::from_secs(120));
    assert_eq!((made.storage, made.retention), (stream::StorageType::File, stream::RetentionPolicy::Limits));

    let metadata = [("owner".to_owned(), "somebody".to_owned())].into();
    let changed = stream::Config { max_age: Duration::from_secs(7200), max_messages: 10, metadata, ..made.clone() };
    jetstream.update_stream(changed).await.unwrap();
    // A new connection looks at it at once.
    let again = stream(&connected(options.clone()).await, Some(&mark)).await;
    assert_eq!(again.incarnation, mark.incarnation);
    let repaired = jetstream.get_stream(&options.stream).await.unwrap().cached_info().config.clone();
    assert_eq!((repaired.max_age, repaired.max_messages), (made.max_age, -1));
    assert_eq!(repaired.metadata.get("owner").map(String::as_str), Some("somebody"));

    // Other subjects than ours: nobody knows what is in it, so it counts as another one.
    let changed = stream::Config { subjects: vec![format!("{}.x", options.prefix)], subject_transform: None, ..made };
    jetstream.update_stream(changed).await.unwrap();
    assert_ne!(stream(&connected(options.clone()).await, Some(&mark)).await.incarnation, mark.incarnation);
}

#[tokio::test]
async fn a_stream_that_was_deleted_is_made_again_and_takes_nothing_that_was_meant_for_the_former() {
    let options = options(server());
    let (late, bus) = (connected(options.clone()).await, connected(options.clone()).await);
    let former = stream(&bus, None).await;
    assert_eq!(stream(&late, Some(&former)).await, former);
    late.publish(&created("shop", 1), Some(&former)).await.unwrap();
    raw(&options).await.delete_stream(&options.stream).await.unwrap();
    assert!(matches!(bus.publish(&created("shop", 2), Some(&former)).await, Err(BusError::Unavailable(_))));
    let present = stream(&bus, Some(&former)).await;
    assert_ne!(present.incarnation, former.incarnation);

    // It has not heard of it yet.
    assert!(matches!(late.publish(&created("shop", 2), Some(&former)).await, Err(BusError::Unavailable(_))));
    assert_eq!(kept(&options).await, []);
    bus.publish(&created("shop", 1), Some(&present)).await.unwrap();
    assert_eq!(stream(&late, Some(&present)).await.incarnation, present.incarnation);
    late.publish(&created("shop", 2), Some(&present)).await.unwrap();
    assert_eq!(kept(&options).await.len(), 2);
}

#[tokio::test]
async fn a_store_that_lost_its_end_is_another_incarnation_with_what_is_left() {
    let nats = Nats::start().unwrap();
    let options = options(&nats);
    let bus = connected(options.clone()).await;
    let mark = stream(&bus, None).await;
    bus.publish(&created("shop", 1), Some(&mark)).await.unwrap();
    nats.stop().unwrap();
    gone(&bus).await;
    nats.save().unwrap();
    nats.run().unwrap();
    let mark = stream(&bus, Some(&mark)).await;
    let last = bus.publish(&created("shop", 2), Some(&mark)).await.unwrap();
    let known = StreamMark { last, ..mark };
    nats.kill().unwrap();
    gone(&bus).await;
    nats.restore().unwrap();
    nats.run().unwrap();
    let present = stream(&bus, Some(&known)).await;
    assert_ne!(present.incarnation, known.incarnation);
    assert_eq!(present.last, last - 1);
    let uid = created("shop", 1).uid;
    let ids = async || kept(&options).await.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids().await, [format!("{uid}:1")]);
    // A repeat of what is left is no second one; what was lost comes behind it.
    for sequence in 1..=2 {
        bus.publish(&created("shop", sequence), Some(&present)).await.unwrap();
    }
    assert_eq!(ids().await, [format!("{uid}:1"), format!("{uid}:2")]);
}

#[tokio::test]
async fn what_is_no_event_is_counted_and_dropped_and_the_next_one_is_heard() {
    let options = options(server());
    let bus = connected(options.clone()).await;
    let mark = stream(&bus, None).await;
    let mut rings = bus.subscribe(Topic::all());
    let poison: [&[u8]; 6] = [
        b"",
        b"\x00\xff\xfe\x80",
        b"{\"specversion\":\"9.0\"}",
        b"[[[[[[[[",
        br#"{"specversion":"1.0","id":"x","source":"x","type":"x","subject":"x","time":"x","datacontenttype":"x","data":{"fact":"exploded"}}"#,
        &[b'{'; 500_000],
    ];
    let client = async_nats::connect(&options.servers[0]).await.unwrap();
    for message in poison {
        client
            .publish(format!("{}.v1.shop.task.web.requested", options.prefix), message.to_vec().into())
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    bus.publish(&created("shop", 1), Some(&mark)).await.unwrap();
    assert_eq!(event(&mut rings).await.sequence, 1);
    // What came by another connection may be read behind it.
    let mut dropped = bus.dropped();
    let counted = dropped.wait_for(|dropped| *dropped >= 6);
    assert_eq!(*tokio::time::timeout(PATIENCE, counted).await.unwrap().unwrap(), 6);
    assert_eq!(kept(&options).await.len(), 1);
}

#[tokio::test]
async fn a_server_that_stands_still_holds_a_publisher_up_for_the_deadline_and_no_longer() {
    let nats = Nats::start().unwrap();
    let bus = connected(options(&nats)).await;
    let mark = stream(&bus, None).await;
    nats.hold().unwrap();
    let since = std::time::Instant::now();
    assert!(matches!(bus.publish(&created("shop", 1), Some(&mark)).await, Err(BusError::Unavailable(_))));
    assert!(since.elapsed() < Duration::from_secs(15));
    nats.go_on().unwrap();
    // Perhaps it got there after all, which is no harm; and perhaps the connection was given up meanwhile.
    let again = async {
        loop {
            let mark = stream(&bus, Some(&mark)).await;
            if bus.publish(&created("shop", 1), Some(&mark)).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[test]
fn wrong_settings_are_told_before_anything_is_connected() {
    let good = NatsOptions::new(vec!["nats://127.0.0.1:4222".to_owned()], "tests");
    assert!(good.check().is_ok());
    let wrong = [
        NatsOptions { servers: vec![], ..good.clone() },
        NatsOptions { servers: vec!["http://x:y".to_owned()], ..good.clone() },
        NatsOptions { prefix: "a.b".to_owned(), ..good.clone() },
        NatsOptions { prefix: "a.*".to_owned(), ..good.clone() },
        NatsOptions { stream: "a b".to_owned(), ..good.clone() },
        NatsOptions { credentials: Some("/nowhere/to/be.found".into()), ..good.clone() },
    ];
    for options in wrong {
        assert!(options.check().is_err(), "{options:?}");
    }
}
