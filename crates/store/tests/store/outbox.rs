//! The outbox.

use std::collections::HashMap;

use taskplane_domain::event::StreamMark;

use crate::kit::Kit;

crate::on_both_engines![
    each_aggregate_shows_its_oldest_event_only,
    all_is_published_in_the_order_of_each_aggregate,
    one_that_cannot_be_read_holds_back_its_own_aggregate_only,
    another_stream_has_everything_published_again_before_anything_is_marked,
    a_mark_about_a_former_stream_is_none,
    a_stream_that_is_gone_is_forgotten,
];

async fn each_aggregate_shows_its_oldest_event_only(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    kit.running(&task).await;
    let heads = kit.store.outbox_heads(0, 10).await.unwrap().events;
    let shown: Vec<_> = heads.iter().map(|(_, event)| (event.uid, event.sequence)).collect();
    assert_eq!(shown, [(space.uid.0, 1), (app.uid.0, 1), (task.uid.0, 1)]);
    assert_eq!(kit.store.outbox_heads(0, 2).await.unwrap().events, heads[..2]);
    kit.store.outbox_mark(&[heads[2].0], None).await.unwrap();
    kit.store.outbox_mark(&[heads[2].0, heads[0].0], None).await.unwrap();
    kit.store.outbox_mark(&[], None).await.unwrap();
    let shown: Vec<_> =
        kit.store.outbox_heads(0, 10).await.unwrap().events.into_iter().map(|(_, event)| event.id()).collect();
    assert_eq!(shown, [format!("{}:1", app.uid), format!("{}:2", task.uid)]);
}

async fn all_is_published_in_the_order_of_each_aggregate(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    for _ in 0..5 {
        let task = kit.running(&kit.a_task(&space, &app).await).await;
        kit.observed(&task, kit.end(&task, 0)).await;
    }
    let mut last = HashMap::new();
    let mut published = 0;
    loop {
        let heads = kit.store.outbox_heads(0, 4).await.unwrap().events;
        if heads.is_empty() {
            break;
        }
        for (_, event) in &heads {
            let before = last.insert(event.uid, event.sequence).unwrap_or_default();
            assert_eq!(event.sequence, before + 1);
            published += 1;
        }
        let ids: Vec<_> = heads.iter().map(|(id, _)| *id).collect();
        kit.store.outbox_mark(&ids, None).await.unwrap();
    }
    assert_eq!(published, 3 + 5 * 4);
}

async fn one_that_cannot_be_read_holds_back_its_own_aggregate_only(kit: Kit) {
    let (space, _, task) = kit.the_usual().await;
    kit.running(&task).await;
    kit.execute("UPDATE events SET fact = 'dreamt' WHERE kind = 'app'").await;
    let heads = kit.store.outbox_heads(0, 10).await.unwrap();
    let shown: Vec<_> = heads.events.iter().map(|(_, event)| event.id()).collect();
    assert_eq!(shown, [format!("{}:1", space.uid), format!("{}:1", task.uid)]);
    assert_eq!(heads.corrupt.len(), 1);
    assert_eq!(heads.next, None);
    // It takes its place in a page, and the next page begins behind it.
    let first = kit.store.outbox_heads(0, 2).await.unwrap();
    assert_eq!((first.events.len(), first.corrupt.len()), (1, 1));
    let second = kit.store.outbox_heads(first.next.unwrap(), 2).await.unwrap();
    assert_eq!(second.events, heads.events[1..]);
}

fn stream(incarnation: &str, last: u64) -> StreamMark {
    StreamMark { incarnation: incarnation.to_owned(), last }
}

async fn another_stream_has_everything_published_again_before_anything_is_marked(kit: Kit) {
    kit.the_usual().await;
    kit.published().await;
    assert_eq!(kit.store.outbox_stream().await.unwrap(), None);
    let (one, two) = (stream("one", 7), stream("two", 0));
    assert_eq!(kit.store.outbox_refill(None, &one).await.unwrap(), Some(3));
    assert_eq!(kit.store.outbox_stream().await.unwrap(), Some(one.clone()));
    let heads = kit.store.outbox_heads(0, 10).await.unwrap().events;
    let ids: Vec<_> = heads.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 3);
    assert!(kit.store.outbox_mark(&ids, Some(&stream("one", 10))).await.unwrap());
    assert!(kit.store.outbox_mark(&ids[..1], Some(&stream("one", 9))).await.unwrap());
    // It never goes back.
    assert_eq!(kit.store.outbox_stream().await.unwrap(), Some(stream("one", 10)));
    // Whoever still believes in none changes nothing, nor does he who comes second.
    assert_eq!(kit.store.outbox_refill(None, &two).await.unwrap(), None);
    assert_eq!(kit.store.outbox_refill(Some(&one), &two).await.unwrap(), Some(3));
    assert_eq!(kit.store.outbox_refill(Some(&one), &stream("three", 0)).await.unwrap(), None);
    assert_eq!(kit.store.outbox_stream().await.unwrap(), Some(two));
    assert_eq!(kit.store.outbox_heads(0, 10).await.unwrap().events, heads);
}

async fn a_mark_about_a_former_stream_is_none(kit: Kit) {
    kit.the_usual().await;
    let (one, two) = (stream("one", 0), stream("two", 0));
    kit.store.outbox_refill(None, &one).await.unwrap();
    let heads = kit.store.outbox_heads(0, 10).await.unwrap().events;
    let ids: Vec<_> = heads.iter().map(|(id, _)| *id).collect();
    kit.store.outbox_refill(Some(&one), &two).await.unwrap();
    assert!(!kit.store.outbox_mark(&ids, Some(&stream("one", 3))).await.unwrap());
    assert_eq!(kit.store.outbox_heads(0, 10).await.unwrap().events, heads);
    assert_eq!(kit.store.outbox_stream().await.unwrap(), Some(two));
}

async fn a_stream_that_is_gone_is_forgotten(kit: Kit) {
    kit.the_usual().await;
    let one = stream("one", 5);
    kit.store.outbox_refill(None, &one).await.unwrap();
    kit.store.outbox_forget().await.unwrap();
    kit.store.outbox_forget().await.unwrap();
    assert_eq!(kit.store.outbox_stream().await.unwrap(), None);
    kit.published().await;
    // When it comes back it has missed what went by.
    assert_eq!(kit.store.outbox_refill(None, &one).await.unwrap(), Some(3));
}
