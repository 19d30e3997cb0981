//! What every bus must show while it is in good health. [`conformance!`](crate::conformance!) makes a test of each sentence.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use taskplane_domain::event::{Event, EventData, Fact, StreamMark, Subject, TaskSnapshot};
use taskplane_domain::name::{AppName, Name, SpaceName};
use taskplane_domain::task::{Exit, StateKind};
use uuid::Uuid;

use crate::{Bus, Ring, Topic};

/// However slow the machine, a ring that comes at all comes within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A test for each sentence of the suite. `$make` is an expression for a future of a [`Bus`] of its own, evaluated once per
/// test; `$overflow` is a number of events that no subscriber can lag behind without losing any.
#[macro_export]
macro_rules! conformance {
    ($make:expr, overflow = $overflow:expr) => {
        $crate::conformance!(@each $make;
            every_subscriber_of_a_topic_hears_of_it,
            a_topic_hears_nothing_of_others,
            what_is_published_right_after_subscribing_is_heard,
            what_was_published_before_subscribing_is_not_waited_for,
            an_event_arrives_as_it_was_published,
            a_subscriber_that_leaves_disturbs_nobody,
            publishing_to_nobody_is_fine,
            only_who_asks_for_removals_hears_of_them,
            a_stream_that_is_known_stays_the_same,
        );

        #[tokio::test]
        async fn a_slow_subscriber_holds_nobody_up_and_learns_what_it_missed() {
            let bus = $make.await;
            $crate::conformance::a_slow_subscriber_holds_nobody_up_and_learns_what_it_missed(&bus, $overflow).await;
        }
    };
    (@each $make:expr; $($sentence:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $sentence() {
            let bus = $make.await;
            $crate::conformance::$sentence(&bus).await;
        }
    )*};
}

pub async fn every_subscriber_of_a_topic_hears_of_it(bus: &impl Bus) {
    let topics = [Topic::all(), Topic::apps(), Topic::of(name("shop"), None), Topic::apps()];
    let mut subscribers = topics.map(|topic| bus.subscribe(topic));
    publish(bus, &pushed("shop", "web", 1)).await;
    for subscriber in &mut subscribers {
        assert_eq!(heard(subscriber).await, pushed("shop", "web", 1));
    }
}

pub async fn a_topic_hears_nothing_of_others(bus: &impl Bus) {
    let mut one_app = bus.subscribe(Topic::tasks_of(name("shop"), Some(name("web"))));
    let mut one_space = bus.subscribe(Topic::tasks_of(name("shop"), None));
    let mut tasks = bus.subscribe(Topic::tasks());
    let mut spaces = bus.subscribe(Topic::spaces());
    for event in [
        pushed("shop", "web", 1),
        requested("bank", "web", 2),
        requested("shop", "mail", 3),
        requested("shop", "web", 4),
        created("shop", 5),
    ] {
        publish(bus, &event).await;
    }
    assert_eq!(sequences(&mut one_app, 1).await, [4]);
    assert_eq!(sequences(&mut one_space, 2).await, [3, 4]);
    assert_eq!(sequences(&mut tasks, 3).await, [2, 3, 4]);
    assert_eq!(sequences(&mut spaces, 1).await, [5]);
}

pub async fn what_is_published_right_after_subscribing_is_heard(bus: &impl Bus) {
    for sequence in 1..=100 {
        let mut subscriber = bus.subscribe(Topic::all());
        publish(bus, &created("shop", sequence)).await;
        assert_eq!(heard(&mut subscriber).await.sequence, sequence);
    }
}

pub async fn what_was_published_before_subscribing_is_not_waited_for(bus: &impl Bus) {
    publish(bus, &created("shop", 1)).await;
    let mut subscriber = bus.subscribe(Topic::all());
    publish(bus, &created("shop", 2)).await;
    while heard(&mut subscriber).await.sequence != 2 {}
}

pub async fn an_event_arrives_as_it_was_published(bus: &impl Bus) {
    let mut subscriber = bus.subscribe(Topic::all());
    let trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    for event in [created("shop", 1), Event { trace, ..pushed("shop", "web", 7) }] {
        publish(bus, &event).await;
        assert_eq!(heard(&mut subscriber).await, event);
    }
}

pub async fn a_subscriber_that_leaves_disturbs_nobody(bus: &impl Bus) {
    let mut stays = bus.subscribe(Topic::all());
    let mut leaves = bus.subscribe(Topic::all());
    publish(bus, &created("shop", 1)).await;
    assert_eq!(heard(&mut leaves).await.sequence, 1);
    drop(leaves);
    drop(bus.subscribe(Topic::tasks()));
    publish(bus, &created("shop", 2)).await;
    assert_eq!(sequences(&mut stays, 2).await, [1, 2]);
}

pub async fn publishing_to_nobody_is_fine(bus: &impl Bus) {
    publish(bus, &created("shop", 1)).await;
}

pub async fn only_who_asks_for_removals_hears_of_them(bus: &impl Bus) {
    let mut asks = bus.subscribe(Topic::removals());
    let mut others = bus.subscribe(Topic::all());
    bus.removals();
    assert!(matches!(ring(&mut asks).await, Ring::Removals));
    publish(bus, &created("shop", 1)).await;
    assert_eq!(heard(&mut others).await.sequence, 1);
}

/// And goes on growing, if there is one.
pub async fn a_stream_that_is_known_stays_the_same(bus: &impl Bus) {
    let Some(first) = bus.stream(None).await.expect("the bus is in good health") else { return };
    let mut last = first.last;
    for sequence in 1..=3 {
        let place = bus.publish(&created("shop", sequence), Some(&first)).await.expect("the bus is in good health");
        assert!(place > last, "{place} comes after {last}");
        last = place;
    }
    let known = StreamMark { last, ..first.clone() };
    let again = bus.stream(Some(&known)).await.expect("the bus is in good health").expect("a bus that keeps a stream");
    assert_eq!(again.incarnation, first.incarnation);
}

/// It must not believe to have heard everything when it has not.
pub async fn a_slow_subscriber_holds_nobody_up_and_learns_what_it_missed(bus: &impl Bus, overflow: u64) {
    let mut slow = bus.subscribe(Topic::all());
    for sequence in 1..=overflow {
        publish(bus, &created("shop", sequence)).await;
    }
    loop {
        match ring(&mut slow).await {
            Ring::Missed => break,
            Ring::Removals => panic!("nothing is removed here"),
            Ring::Event(event) => {
                assert!(event.sequence < overflow, "all of {overflow} events were kept, or lost unsaid")
            }
        }
    }
    // It goes on as before.
    publish(bus, &created("shop", overflow + 1)).await;
    loop {
        match ring(&mut slow).await {
            Ring::Event(event) if event.sequence == overflow + 1 => break,
            Ring::Event(_) | Ring::Removals | Ring::Missed => {}
        }
    }
}

async fn publish(bus: &impl Bus, event: &Event) {
    let told = async {
        let stream = bus.stream(None).await?;
        bus.publish(event, stream.as_ref()).await
    };
    let published = tokio::time::timeout(PATIENCE, told).await;
    published.expect("publishing waits for somebody").expect("the bus is in good health");
}

async fn ring(subscriber: &mut BoxStream<'static, Ring>) -> Ring {
    let next = tokio::time::timeout(PATIENCE, subscriber.next()).await;
    next.expect("no ring came").expect("the bus ended")
}

async fn heard(subscriber: &mut BoxStream<'static, Ring>) -> Event {
    match ring(subscriber).await {
        Ring::Event(event) => (*event).clone(),
        Ring::Removals => panic!("a ring that was not asked for"),
        Ring::Missed => panic!("a subscriber that keeps up missed a ring"),
    }
}

/// Of the next `count` events, sorted: order is not promised.
async fn sequences(subscriber: &mut BoxStream<'static, Ring>, count: usize) -> Vec<u64> {
    let mut sequences = Vec::new();
    while sequences.len() < count {
        sequences.push(heard(subscriber).await.sequence);
    }
    sequences.sort_unstable();
    sequences
}

fn name(text: &str) -> Name {
    text.parse().expect("a label")
}

fn event(subject: Subject, fact: Fact, data: EventData, sequence: u64) -> Event {
    Event { uid: Uuid::from_u128(1), sequence, subject, fact, at: Timestamp::UNIX_EPOCH, data, trace: None }
}

/// An event of a Space.
pub fn created(space: &str, sequence: u64) -> Event {
    event(Subject::Space(SpaceName(name(space))), Fact::SpaceCreated, EventData::Space, sequence)
}

/// An event of an App.
pub fn pushed(space: &str, app: &str, sequence: u64) -> Event {
    let app = AppName { space: name(space), app: name(app) };
    event(Subject::App(app), Fact::AppPushed, EventData::App { revision: 1 }, sequence)
}

/// An event of a Task.
pub fn requested(space: &str, app: &str, sequence: u64) -> Event {
    let app = AppName { space: name(space), app: name(app) };
    let snapshot = TaskSnapshot {
        id: 1,
        display_name: "report".to_owned(),
        state: StateKind::Pending,
        reason: None,
        exit: Exit { code: None, signal: None },
        attempt: 1,
        app_revision: 1,
        job: None,
        created_at: Timestamp::UNIX_EPOCH,
        started_at: None,
        finished_at: None,
        waiting: None,
    };
    event(Subject::Task(app.task(1)), Fact::TaskRequested, EventData::Task(snapshot), sequence)
}
