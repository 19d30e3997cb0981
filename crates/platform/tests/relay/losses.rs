//! The stream is lost, in part or whole, beside new events: it is filled again from the database, in order.

use std::sync::Arc;

use taskplane_bus::outside;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_is_filled_again_beside_new_events() {
    let world = Arc::new(World::new(2).await);
    world.live_through_many(20).await;
    world.read_whole().await;
    for _ in 0..3 {
        let beside = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.live_through_many(15).await }
        });
        world.until(async || outside::delete_stream(&world.options).await.unwrap()).await;
        beside.await.unwrap();
        // Whoever reads while it is being filled sees a beginning of it.
        if let Ok(history) = outside::history(&world.options).await {
            crate::world::in_order(history);
        }
    }
    let read = world.read_whole().await;
    assert_eq!(read.len(), 2 + 20 + 3 * 15);
    assert_eq!(read, world.told().await);
    Arc::into_inner(world).unwrap().end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_loses_its_store_gets_everything_again() {
    let world = Arc::new(World::new(2).await);
    world.live_through_many(10).await;
    world.read_whole().await;
    for _ in 0..2 {
        let beside = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.live_through_many(15).await }
        });
        world.nats.kill().unwrap();
        world.nats.wipe().unwrap();
        world.nats.run().unwrap();
        beside.await.unwrap();
    }
    let read = world.read_whole().await;
    assert_eq!(read.len(), 2 + 10 + 2 * 15);
    assert_eq!(read, world.told().await);
    Arc::into_inner(world).unwrap().end().await;
}

/// As after a power cut, when what was acknowledged had not reached the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_lost_its_end_gets_it_again() {
    let world = Arc::new(World::new(2).await);
    world.live_through_many(10).await;
    world.read_whole().await;
    world.nats.stop().unwrap();
    world.nats.save().unwrap();
    world.nats.run().unwrap();
    for _ in 0..2 {
        world.live_through_many(10).await;
        world.read_whole().await;
        let beside = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.live_through_many(5).await }
        });
        world.nats.kill().unwrap();
        world.nats.restore().unwrap();
        world.nats.run().unwrap();
        beside.await.unwrap();
        assert_eq!(world.read_whole().await, world.told().await);
    }
    Arc::into_inner(world).unwrap().end().await;
}
