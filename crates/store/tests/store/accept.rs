//! The acceptance of Tasks: numbers and idempotency.

use std::sync::Arc;

use taskplane_domain::task::Task;
use taskplane_domain::uid::TaskUid;
use taskplane_store::{Accepted, RequestKey, StoreError};
use tokio::task::JoinSet;

use crate::kit::{Kit, asked, touch};

crate::on_both_engines![
    an_accepted_task_comes_back_as_it_was_accepted,
    two_hundred_at_once_are_numbered_without_gap_or_double,
    a_number_that_came_to_nothing_is_given_again,
    the_same_key_is_the_same_task,
    the_same_key_for_another_request_is_refused,
    twenty_at_once_with_one_key_make_one_task,
    keys_belong_to_their_principal,
    a_repeat_tells_of_the_task_as_it_is_now,
    a_key_outlives_its_task,
    a_task_is_not_made_from_a_revision_that_was_replaced,
    a_task_needs_its_app,
];

fn key(text: &str, hash: u8) -> Option<RequestKey> {
    Some(RequestKey { principal: "anna".into(), key: text.into(), hash: [hash; 32] })
}

async fn an_accepted_task_comes_back_as_it_was_accepted(kit: Kit) {
    let (_, app, task) = kit.the_usual().await;
    assert_eq!((task.name.id, task.app_uid), (1, app.uid));
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), task);
    assert_eq!(kit.store.task_get_by_uid(task.uid).await.unwrap(), task);
    let unknown = kit.store.task_get(&app.name.task(2)).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound(name) if name == "spaces/s/apps/a/tasks/2"));
    assert!(matches!(kit.store.task_get_by_uid(TaskUid(kit.uid())).await, Err(StoreError::NotFound(_))));
}

async fn two_hundred_at_once_are_numbered_without_gap_or_double(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let (store, birth) = (kit.store.clone(), kit.a_birth(&space, &app));
        calls.spawn(async move { store.task_accept(birth, None).await.unwrap().task.name.id });
    }
    let mut ids = calls.join_all().await;
    ids.sort_unstable();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    // The feed tells of them in the same order.
    let events = kit.events("s").await;
    let requested: Vec<_> = events.iter().filter(|(_, event)| event.fact.as_str() == "requested").collect();
    let names: Vec<_> = requested.iter().map(|(_, event)| event.subject.to_string()).collect();
    assert_eq!(names, (1..=200).map(|id| app.name.task(id).to_string()).collect::<Vec<_>>());
}

async fn a_number_that_came_to_nothing_is_given_again(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let twice = kit.a_birth_as(task.uid, &space, &app, asked(&app));
    assert!(matches!(kit.store.task_accept(twice, None).await, Err(StoreError::AlreadyExists(_))));
    assert_eq!(kit.a_task(&space, &app).await.name.id, 2);
}

async fn accept_with(kit: &Kit, text: &str, hash: u8) -> Result<Accepted, StoreError> {
    let space = kit.store.space_get(&"spaces/s".parse().unwrap()).await.unwrap();
    let app = kit.store.app_get(&"spaces/s/apps/a".parse().unwrap()).await.unwrap();
    let uid = TaskUid::requested(space.uid, "anna", text);
    kit.store.task_accept(kit.a_birth_as(uid, &space, &app, asked(&app)), key(text, hash)).await
}

async fn the_same_key_is_the_same_task(kit: Kit) {
    kit.the_usual().await;
    let first = accept_with(&kit, "k", 1).await.unwrap();
    let second = accept_with(&kit, "k", 1).await.unwrap();
    assert_eq!((first.repeated, second.repeated), (false, true));
    assert_eq!(first.task, second.task);
    assert_eq!(accept_with(&kit, "l", 1).await.unwrap().task.name.id, 3);
}

async fn the_same_key_for_another_request_is_refused(kit: Kit) {
    kit.the_usual().await;
    accept_with(&kit, "k", 1).await.unwrap();
    assert!(matches!(accept_with(&kit, "k", 2).await, Err(StoreError::KeyReused)));
    assert_eq!(accept_with(&kit, "l", 2).await.unwrap().task.name.id, 3);
}

async fn twenty_at_once_with_one_key_make_one_task(kit: Kit) {
    let (_, app, _) = kit.the_usual().await;
    let kit = Arc::new(kit);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let kit = Arc::clone(&kit);
        calls.spawn(async move { accept_with(&kit, "k", 1).await.unwrap() });
    }
    let accepted = calls.join_all().await;
    assert_eq!(accepted.iter().filter(|accepted| !accepted.repeated).count(), 1);
    assert!(accepted.iter().all(|accepted| accepted.task.name == app.name.task(2)));
    assert_eq!(accept_with(&kit, "l", 1).await.unwrap().task.name.id, 3);
}

async fn keys_belong_to_their_principal(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    accept_with(&kit, "k", 1).await.unwrap();
    let other = RequestKey { principal: "bert".into(), key: "k".into(), hash: [2; 32] };
    let uid = TaskUid::requested(space.uid, "bert", "k");
    let birth = kit.a_birth_as(uid, &space, &app, asked(&app));
    assert!(!kit.store.task_accept(birth, Some(other)).await.unwrap().repeated);
}

async fn a_repeat_tells_of_the_task_as_it_is_now(kit: Kit) {
    kit.the_usual().await;
    let first = accept_with(&kit, "k", 1).await.unwrap().task;
    let now: Task = kit.cancelled(&first).await;
    assert_eq!(accept_with(&kit, "k", 1).await.unwrap().task, now);
}

async fn a_key_outlives_its_task(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let first = accept_with(&kit, "k", 1).await.unwrap().task;
    kit.cancelled(&task).await;
    kit.cancelled(&first).await;
    kit.delete_app(&app, false).await.unwrap();
    kit.reaped().await;
    kit.an_app(&space, "a").await;
    // The same call again, late: what it made is gone, and it must not run twice.
    let late = accept_with(&kit, "k", 1).await.unwrap_err();
    assert!(matches!(late, StoreError::NotFound(name) if name == "spaces/s/apps/a/tasks/2"));
}

async fn a_task_is_not_made_from_a_revision_that_was_replaced(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    let birth = kit.a_birth(&space, &app);
    let change = app.clone().push(touch(kit.a_push(&space, "a"), "2"), kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
    let stale = kit.store.task_accept(birth, None).await.unwrap_err();
    assert!(matches!(stale, StoreError::Conflict(name) if name == "spaces/s/apps/a"));
    assert_eq!(kit.a_task(&space, &change.app).await.name.id, 2);
}

async fn a_task_needs_its_app(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    kit.delete_app(&app, false).await.unwrap();
    let refused = kit.store.task_accept(kit.a_birth(&space, &app), None).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound(name) if name == "spaces/s/apps/a"));
}
