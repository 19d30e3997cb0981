//! The in-process bus keeps the promises of a bus, and its own.

use std::num::NonZeroUsize;

use futures::StreamExt;
use taskplane_bus::conformance::{created, requested};
use taskplane_bus::{Bus, InProcessBus, Ring, Topic};

const CAPACITY: NonZeroUsize = NonZeroUsize::new(16).expect("not 0");

async fn a_bus() -> InProcessBus {
    InProcessBus::new(CAPACITY)
}

taskplane_bus::conformance!(a_bus(), overflow = 100);

#[tokio::test]
async fn events_of_one_publisher_arrive_in_its_order() {
    let bus = InProcessBus::new(NonZeroUsize::new(1000).unwrap());
    let subscriber = bus.subscribe(Topic::tasks());
    for sequence in 1..=500 {
        bus.publish(&requested("shop", "web", sequence), None).await.unwrap();
        bus.publish(&created("shop", sequence), None).await.unwrap();
    }
    drop(bus);
    let heard: Vec<_> = subscriber.collect().await;
    let sequences = heard.iter().map(|ring| match ring {
        Ring::Event(event) => event.sequence,
        Ring::Removals | Ring::Missed => 0,
    });
    assert!(sequences.eq(1..=500));
}

#[tokio::test]
async fn what_was_missed_is_said_once_and_before_what_is_left() {
    let bus = a_bus().await;
    let subscriber = bus.subscribe(Topic::all());
    for sequence in 1..=50 {
        bus.publish(&created("shop", sequence), None).await.unwrap();
    }
    drop(bus);
    let heard: Vec<_> = subscriber.collect().await;
    assert!(matches!(heard[0], Ring::Missed));
    assert_eq!(heard.len(), 1 + CAPACITY.get());
    assert!(heard[1..].iter().all(|ring| matches!(ring, Ring::Event(_))));
}

#[tokio::test]
async fn clones_are_the_same_bus_and_the_last_one_ends_it() {
    let bus = a_bus().await;
    let mut subscriber = bus.subscribe(Topic::all());
    let clone = bus.clone();
    drop(bus);
    clone.publish(&created("shop", 1), None).await.unwrap();
    assert!(matches!(subscriber.next().await, Some(Ring::Event(_))));
    drop(clone);
    assert!(subscriber.next().await.is_none());
}
