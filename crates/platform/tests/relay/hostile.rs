//! What cannot be published, and what comes late or twice.

use std::sync::Arc;

use taskplane_bus::{Bus, NatsBus, outside};
use taskplane_testkit::nats::NatsSetup;

use crate::world::{World, in_order};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_server_does_not_take_holds_back_its_own_task_only() {
    let setup = NatsSetup { config: "max_payload: 8192\n".to_owned(), ..NatsSetup::default() };
    let world = Arc::new(World::without_server(2, &setup).await);
    world.nats.run().unwrap();
    let too_long = world.live_through(Some("x".repeat(10_000))).await;
    world.live_through_many(10).await;
    // Its first event stays where it is, and hides the others.
    world
        .until(async || {
            let left = world.store.outbox_heads(0, 10).await.unwrap().events;
            left.len() == 1 && left[0].1.uid == too_long.0
        })
        .await;
    let history = in_order(outside::history(&world.options).await.unwrap());
    assert_eq!(history.len(), 2 + 10 * 4);
    Arc::into_inner(world).unwrap().end().await;
}

/// A process that stood still for a while goes on with what it had read before: it publishes again what the others have long
/// published, and its marks come late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_and_twice_is_a_repeat_and_no_more() {
    let world = Arc::new(World::new(1).await);
    let late = NatsBus::connect(world.options.clone()).unwrap();
    late.connected().await;
    let stale = world.store.outbox_heads(0, 100).await.unwrap().events;
    world.live_through_many(10).await;
    world.read_whole().await;
    let known = world.store.outbox_stream().await.unwrap().unwrap();
    let into = late.stream(Some(&known)).await.unwrap();
    for (row, event) in stale.iter().rev() {
        for _ in 0..3 {
            late.publish(event, into.as_ref()).await.unwrap();
        }
        assert!(world.store.outbox_mark(&[*row], into.as_ref()).await.unwrap());
    }
    assert_eq!(world.read_whole().await, world.told().await);

    // The stream is lost meanwhile: the late one's events are refused, and its marks do not count.
    outside::delete_stream(&world.options).await.unwrap();
    world
        .until(async || {
            world.store.outbox_stream().await.unwrap().is_some_and(|now| now.incarnation != known.incarnation)
        })
        .await;
    let told = world.told().await;
    for event in told.values().flatten() {
        assert!(late.publish(event, into.as_ref()).await.is_err());
    }
    assert!(!world.store.outbox_mark(&[1, 2, 3], into.as_ref()).await.unwrap());
    assert_eq!(world.read_whole().await, told);
    Arc::into_inner(world).unwrap().end().await;
}
