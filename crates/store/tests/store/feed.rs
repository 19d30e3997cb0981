//! The feed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use taskplane_domain::event::Subject;
use taskplane_domain::task::Task;
use taskplane_store::{FeedMark, FeedQuery};
use tokio::task::JoinSet;

use crate::kit::{Kit, name};

crate::on_both_engines![
    positions_are_given_in_steps_and_never_again,
    positions_have_no_gaps_and_keep_each_tasks_order,
    a_reader_sees_what_it_asked_for,
];

async fn positions_are_given_in_steps_and_never_again(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    assert_eq!(kit.store.feed_head().await.unwrap(), 0);
    assert_eq!(kit.store.feed_assign(2).await.unwrap(), 2);
    assert_eq!(kit.store.feed_assign(2).await.unwrap(), 1);
    assert_eq!(kit.store.feed_assign(2).await.unwrap(), 0);
    assert_eq!(kit.store.feed_head().await.unwrap(), 3);
    kit.cancelled(&task).await;
    let positions: Vec<_> = kit.events("s").await.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, [1, 2, 3, 4]);
}

async fn positions_have_no_gaps_and_keep_each_tasks_order(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let mut tasks = Vec::new();
    for _ in 0..24 {
        tasks.push(kit.a_task(&space, &app).await);
    }
    let kit = Arc::new(kit);
    let over = Arc::new(AtomicBool::new(false));
    let mut assigners = JoinSet::new();
    for _ in 0..4 {
        let (kit, over) = (Arc::clone(&kit), Arc::clone(&over));
        assigners.spawn(async move {
            while kit.store.feed_assign(5).await.unwrap() > 0 || !over.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        });
    }
    let mut lives = JoinSet::new();
    for task in tasks {
        let kit = Arc::clone(&kit);
        lives.spawn(async move {
            let running: Task = kit.running(&task).await;
            let cancelling = kit.cancelled(&running).await;
            kit.observed(&cancelling, kit.end(&task, 0)).await;
        });
    }
    lives.join_all().await;
    over.store(true, Ordering::SeqCst);
    assigners.join_all().await;

    let events = kit.events("s").await;
    let positions: Vec<_> = events.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (1..=2 + 24 * 5).collect::<Vec<_>>());
    assert_eq!(kit.store.feed_head().await.unwrap(), 2 + 24 * 5);
    let mut last = HashMap::new();
    for (_, event) in &events {
        let before = last.insert(event.uid, event.sequence).unwrap_or_default();
        assert_eq!(event.sequence, before + 1, "{}", event.subject);
    }
}

async fn a_reader_sees_what_it_asked_for(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let other = kit.an_app(&space, "b").await;
    kit.a_task(&space, &other).await;
    kit.a_task(&space, &app).await;
    kit.a_space("t").await;
    kit.cancelled(&task).await;
    kit.events("s").await;
    let all = FeedQuery { space: name("s"), app: None, task_id: None, tasks_only: false };
    let of_tasks = FeedQuery { tasks_only: true, ..all.clone() };
    let of_app = FeedQuery { app: Some(name("a")), ..all.clone() };
    let of_task = FeedQuery { app: Some(name("a")), task_id: Some(1), ..of_tasks.clone() };
    for (query, expected) in [(&all, 7), (&of_tasks, 4), (&of_app, 4), (&of_task, 2)] {
        assert_eq!(kit.store.feed_read(query, FeedMark::START, 100).await.unwrap().len(), expected, "{query:?}");
    }
    let events = kit.store.feed_read(&of_task, FeedMark::START, 100).await.unwrap();
    assert!(events.iter().all(|(_, event)| event.subject == Subject::Task(task.name.clone())));
    assert_eq!(kit.store.feed_read(&of_task, events[0].0, 100).await.unwrap(), events[1..]);
    assert_eq!(kit.store.feed_read(&all, FeedMark::START, 2).await.unwrap().len(), 2);
}
