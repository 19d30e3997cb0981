//! What a consumer reads while all goes well, or nothing is there.

use std::sync::Arc;

use taskplane_testkit::nats::NatsSetup;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_tell_one_history() {
    let world = Arc::new(World::new(2).await);
    world.live_through_many(40).await;
    let read = world.read_whole().await;
    assert_eq!(read.len(), 2 + 40);
    assert_eq!(read, world.told().await);
    Arc::into_inner(world).unwrap().end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_server_that_is_not_there_and_it_gets_everything_when_it_comes() {
    let world = Arc::new(World::without_server(2, &NatsSetup::default()).await);
    let since = std::time::Instant::now();
    world.live_through_many(10).await;
    let alone = since.elapsed();
    // Positions in the feed are given all the same, so that watchers see what happens.
    world.until(async || world.store.feed_head().await.unwrap() == 2 + 10 * 4).await;
    assert_eq!(world.store.outbox_heads(0, 100).await.unwrap().events.len(), 2 + 10);
    world.nats.run().unwrap();
    assert_eq!(world.read_whole().await, world.told().await);
    assert!(alone < std::time::Duration::from_secs(30), "ten Tasks took {alone:?} while NATS was away");
    Arc::into_inner(world).unwrap().end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_and_goes_loses_nobody_anything() {
    let world = Arc::new(World::new(2).await);
    for round in 0..4 {
        world.live_through_many(5).await;
        world.nats.kill().unwrap();
        world.live_through_many(2).await;
        world.nats.run().unwrap();
        assert_eq!(world.read_whole().await.len(), 2 + 7 * (round + 1));
    }
    assert_eq!(world.read_whole().await, world.told().await);
    Arc::into_inner(world).unwrap().end().await;
}
