//! The outbox.

use std::collections::HashMap;

use crate::kit::Kit;

crate::on_both_engines![each_aggregate_shows_its_oldest_event_only, all_is_published_in_the_order_of_each_aggregate,];

async fn each_aggregate_shows_its_oldest_event_only(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    kit.running(&task).await;
    let heads = kit.store.outbox_heads(10).await.unwrap();
    let shown: Vec<_> = heads.iter().map(|(_, event)| (event.uid, event.sequence)).collect();
    assert_eq!(shown, [(space.uid.0, 1), (app.uid.0, 1), (task.uid.0, 1)]);
    assert_eq!(kit.store.outbox_heads(2).await.unwrap(), heads[..2]);
    kit.store.outbox_mark(&[heads[2].0]).await.unwrap();
    kit.store.outbox_mark(&[heads[2].0, heads[0].0]).await.unwrap();
    kit.store.outbox_mark(&[]).await.unwrap();
    let shown: Vec<_> = kit.store.outbox_heads(10).await.unwrap().into_iter().map(|(_, event)| event.id()).collect();
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
        let heads = kit.store.outbox_heads(4).await.unwrap();
        if heads.is_empty() {
            break;
        }
        for (_, event) in &heads {
            let before = last.insert(event.uid, event.sequence).unwrap_or_default();
            assert_eq!(event.sequence, before + 1);
            published += 1;
        }
        let ids: Vec<_> = heads.iter().map(|(id, _)| *id).collect();
        kit.store.outbox_mark(&ids).await.unwrap();
    }
    assert_eq!(published, 3 + 5 * 4);
}
