//! Apps.

use std::sync::Arc;

use taskplane_domain::app::App;
use taskplane_domain::uid::AppUid;
use taskplane_store::StoreError;
use tokio::task::JoinSet;

use crate::kit::{Kit, both, spec_of, touch};

crate::on_both_engines![
    an_app_comes_back_as_it_was_written,
    each_push_keeps_the_revisions_before_it,
    of_many_first_pushes_one_makes_the_app,
    an_app_needs_its_space,
    sixty_four_writers_make_one_chain_of_versions,
    apps_are_listed_page_by_page,
    an_app_with_live_tasks_stays,
    a_deleted_app_takes_everything_along,
    deleting_an_app_and_running_a_task_never_both_happen,
    making_an_app_and_deleting_its_space_never_both_happen,
];

async fn an_app_comes_back_as_it_was_written(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    assert_eq!(kit.store.app_get(&app.name).await.unwrap(), app);
    let unknown = kit.store.app_get(&"spaces/s/apps/b".parse().unwrap()).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound(name) if name == "spaces/s/apps/b"));
}

async fn each_push_keeps_the_revisions_before_it(kit: Kit) {
    let space = kit.a_space("s").await;
    let first = kit.an_app(&space, "a").await;
    let push = touch(kit.a_push(&space, "a"), "2");
    let change = first.clone().push(push, kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
    assert_eq!(kit.store.app_get(&first.name).await.unwrap(), change.app);
    assert_eq!(kit.store.app_spec(first.uid, 1).await.unwrap(), spec_of(&first));
    assert_eq!(kit.store.app_spec(first.uid, 2).await.unwrap(), spec_of(&change.app));
    assert!(matches!(kit.store.app_update(&change).await, Err(StoreError::Conflict(_))));
}

async fn of_many_first_pushes_one_makes_the_app(kit: Kit) {
    let space = kit.a_space("s").await;
    let kit = Arc::new(kit);
    let mut pushes = JoinSet::new();
    for _ in 0..8 {
        let change = App::create(AppUid(kit.uid()), space.uid, kit.a_push(&space, "a"), kit.now()).unwrap();
        let kit = Arc::clone(&kit);
        pushes.spawn(async move { kit.store.app_create(&change).await });
    }
    let results = pushes.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let lost = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::AlreadyExists(_)));
    assert_eq!(results.iter().filter(lost).count(), 7);
}

async fn an_app_needs_its_space(kit: Kit) {
    let space = kit.a_space("s").await;
    let change = App::create(AppUid(kit.uid()), space.uid, kit.a_push(&space, "a"), kit.now()).unwrap();
    kit.store.space_delete(&space.deleted(kit.now())).await.unwrap();
    let refused = kit.store.app_create(&change).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound(name) if name == "spaces/s"));
}

async fn sixty_four_writers_make_one_chain_of_versions(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let kit = Arc::new(kit);
    let mut writers = JoinSet::new();
    for writer in 0..64 {
        let kit = Arc::clone(&kit);
        let push = touch(kit.a_push(&space, "a"), &writer.to_string());
        let name = app.name.clone();
        writers.spawn(async move {
            loop {
                let read = kit.store.app_get(&name).await.unwrap();
                let change = read.push(push.clone(), kit.now()).unwrap().unwrap();
                match kit.store.app_update(&change).await {
                    Ok(()) => return change.app.version,
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let mut versions = writers.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (2..=65).collect::<Vec<_>>());
    let events = kit.events("s").await;
    let told: Vec<_> =
        events.iter().filter(|(_, event)| event.uid == app.uid.0).map(|(_, event)| event.sequence).collect();
    assert_eq!(told, (1..=65).collect::<Vec<_>>());
}

async fn apps_are_listed_page_by_page(kit: Kit) {
    let (space, other) = (kit.a_space("s").await, kit.a_space("o").await);
    for text in ["b", "a", "c"] {
        kit.an_app(&space, text).await;
    }
    kit.an_app(&other, "x").await;
    let first = kit.store.app_list(&space.name, None, 2).await.unwrap();
    let second = kit.store.app_list(&space.name, Some(&first[1].name.app), 2).await.unwrap();
    let names: Vec<_> = first.iter().chain(&second).map(|app| app.name.app.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

async fn an_app_with_live_tasks_stays(kit: Kit) {
    let (_, app, task) = kit.the_usual().await;
    let refused = kit.delete_app(&app, false).await.unwrap_err();
    assert_eq!(refused.to_string(), "spaces/s/apps/a still has 1 live task");
    assert_eq!(kit.store.app_get(&app.name).await.unwrap(), app);
    kit.cancelled(&task).await;
    kit.delete_app(&app, false).await.unwrap();
}

async fn a_deleted_app_takes_everything_along(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let running = kit.running(&task).await;
    let ended = kit.observed(&running, kit.end(&task, 3)).await;
    // More than one batch of them.
    for _ in 0..230 {
        let task = kit.a_task(&space, &app).await;
        kit.cancelled(&task).await;
    }
    kit.delete_app(&app, false).await.unwrap();
    kit.reaped().await;
    assert!(matches!(kit.store.app_get(&app.name).await, Err(StoreError::NotFound(_))));
    assert!(matches!(kit.store.task_get(&ended.name).await, Err(StoreError::NotFound(_))));
    assert!(kit.store.task_attempts(ended.uid).await.unwrap().is_empty());
    assert!(matches!(kit.store.app_spec(app.uid, 1).await, Err(StoreError::NotFound(_))));

    let events = kit.events("s").await;
    let removed = events.iter().filter(|(_, event)| event.fact.as_str() == "removed").count();
    assert_eq!(removed, 231);
    let last = events.iter().rfind(|(_, event)| event.uid == ended.uid.0).unwrap();
    assert_eq!((last.1.fact.as_str(), last.1.sequence), ("removed", ended.version + 1));
    assert_eq!(events.last().unwrap().1.fact.as_str(), "deleted");

    // One for each Task, in the order to be cleared.
    let removals = kit.store.removals_list(1000).await.unwrap();
    assert_eq!(removals.len(), 231);
    assert_eq!((removals[0].space, removals[0].app), (space.uid, app.uid));
    assert!(removals.iter().any(|removal| removal.task == ended.uid));
    assert_eq!(kit.store.removals_list(10).await.unwrap(), removals[..10]);
    let ids: Vec<_> = removals[1..].iter().map(|removal| removal.id).collect();
    kit.store.removals_done(&ids).await.unwrap();
    kit.store.removals_done(&[]).await.unwrap();
    assert_eq!(kit.store.removals_list(10).await.unwrap(), removals[..1]);

    // Its name is free, and numbers begin again.
    let second = kit.an_app(&space, "a").await;
    assert_eq!(kit.a_task(&space, &second).await.name.id, 1);
}

async fn deleting_an_app_and_running_a_task_never_both_happen(kit: Kit) {
    let space = kit.a_space("s").await;
    let (mut deleted, mut accepted) = (0, 0);
    for round in 0..40 {
        let app = kit.an_app(&space, &format!("a{round}")).await;
        let change = app.clone().delete(kit.now()).unwrap();
        let delete = kit.store.app_delete(&change, false);
        let accept = kit.store.task_accept(kit.a_birth(&space, &app), None);
        match both(round % 2 == 0, delete, accept).await {
            (Ok(()), Err(StoreError::NotFound(_))) => deleted += 1,
            (Err(StoreError::InUse { .. }), Ok(_)) => accepted += 1,
            (delete, accept) => panic!("{delete:?} and {accept:?}"),
        }
    }
    assert!(deleted > 0 && accepted > 0);
}

async fn making_an_app_and_deleting_its_space_never_both_happen(kit: Kit) {
    let (mut deleted, mut made) = (0, 0);
    for round in 0..40 {
        let space = kit.a_space(&format!("s{round}")).await;
        let gone = space.clone().deleted(kit.now());
        let new = App::create(AppUid(kit.uid()), space.uid, kit.a_push(&space, "a"), kit.now()).unwrap();
        match both(round % 2 == 0, kit.store.space_delete(&gone), kit.store.app_create(&new)).await {
            (Ok(()), Err(StoreError::NotFound(_))) => deleted += 1,
            (Err(StoreError::InUse { .. }), Ok(())) => made += 1,
            (delete, create) => panic!("{delete:?} and {create:?}"),
        }
    }
    assert!(deleted > 0 && made > 0);
}
