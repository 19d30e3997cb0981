//! What must hold when callers go away, processes end, and several begin at once.

use std::sync::Arc;
use std::time::Duration;

use taskplane_domain::event::{Event, Subject};
use taskplane_store::{SchemaState, Store, StoreError, StoreOptions};
use taskplane_testkit::postgres::Postgres;
use tokio::task::JoinSet;

use crate::kit::{Kit, keys, name};

crate::on_both_engines![
    everything_is_there_after_a_restart,
    callers_that_go_away_break_nothing,
    the_databases_clock_is_a_clock,
    a_migrated_schema_is_ready_and_migrates_again,
    a_schema_that_does_not_serve_this_binary_is_refused,
];

async fn everything_is_there_after_a_restart(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let running = kit.running(&task).await;
    let before = kit.events("s").await;
    let kit = kit.restarted().await;
    assert_eq!(kit.store.space_get(&space.name).await.unwrap(), space);
    assert_eq!(kit.store.app_get(&app.name).await.unwrap(), app);
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), running);
    assert_eq!(kit.events("s").await, before);
    assert_eq!(kit.a_task(&space, &app).await.name.id, 2);
}

async fn callers_that_go_away_break_nothing(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    let mut dropped = JoinSet::new();
    for turn in 0..200_u64 {
        let (store, birth) = (kit.store.clone(), kit.a_birth(&space, &app));
        dropped.spawn(async move {
            let patience = Duration::from_micros(turn * 97 % 9_000);
            let call = async {
                store.task_accept(birth, None).await?;
                store.feed_assign(10).await?;
                store.outbox_heads(0, 10).await
            };
            let _ = tokio::time::timeout(patience, call).await;
        });
    }
    dropped.join_all().await;
    // Every connection of the pool still works, and what was accepted has its number and its event.
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let (store, birth) = (kit.store.clone(), kit.a_birth(&space, &app));
        calls.spawn(async move { store.task_accept(birth, None).await.unwrap().task.name.id });
    }
    let last = calls.join_all().await.into_iter().max().unwrap();
    let requested = |(_, event): (u64, Event)| match event.subject {
        Subject::Task(name) => Some(name.id),
        Subject::Space(_) | Subject::App(_) | Subject::Service(_) | Subject::Job(_) => None,
    };
    let told: Vec<_> = kit.events("s").await.into_iter().filter_map(requested).collect();
    // A call that was given up may have ended after these.
    assert!(last >= 33 && told.len() >= last.try_into().unwrap());
    assert_eq!(told, (1..=told.len().try_into().unwrap()).collect::<Vec<u64>>());
}

async fn the_databases_clock_is_a_clock(kit: Kit) {
    let url = kit.url.clone();
    kit.store.close().await.unwrap();
    drop(kit.store);
    let store = Store::connect(&url, StoreOptions::new(keys())).await.unwrap();
    store.ping().await.unwrap();
    let first = store.now().await.unwrap();
    let second = store.now().await.unwrap();
    assert!(first <= second && first > "2024-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(store.work_next_due(&name("local")).await.unwrap(), None);
}

async fn a_migrated_schema_is_ready_and_migrates_again(kit: Kit) {
    assert_eq!(kit.store.schema_state().await.unwrap(), SchemaState::Ready);
    kit.store.migrate().await.unwrap();
    // A later release that still serves this binary: nothing to do, nothing to complain of.
    kit.execute("UPDATE meta SET schema_version = 99; INSERT INTO seaql_migrations VALUES ('m0002_later', 0)").await;
    kit.store.migrate().await.unwrap();
    assert_eq!(kit.store.schema_state().await.unwrap(), SchemaState::Ready);
}

async fn a_schema_that_does_not_serve_this_binary_is_refused(kit: Kit) {
    kit.execute("UPDATE meta SET schema_version = 9, oldest_served = 99").await;
    assert_eq!(kit.store.schema_state().await.unwrap(), SchemaState::Ahead);
    assert!(matches!(kit.store.migrate().await, Err(StoreError::Unusable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_that_migrate_at_once_all_succeed() {
    let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
    let store = Store::connect(&url, StoreOptions::new(keys())).await.unwrap();
    assert_eq!(store.schema_state().await.unwrap(), SchemaState::Behind);
    let url = Arc::new(url);
    let mut replicas = JoinSet::new();
    for _ in 0..4 {
        let url = Arc::clone(&url);
        replicas.spawn(async move {
            let store = Store::connect(&url, StoreOptions::new(keys())).await.unwrap();
            store.migrate().await
        });
    }
    for result in replicas.join_all().await {
        result.unwrap();
    }
    assert_eq!(store.schema_state().await.unwrap(), SchemaState::Ready);
}

#[tokio::test]
async fn a_sqlite_file_belongs_to_one_process() {
    let kit = Kit::on_sqlite().await;
    let refused = Store::connect(&kit.url, StoreOptions::new(keys())).await.unwrap_err();
    assert!(refused.to_string().ends_with("taskplane.db is in use by another process"), "{refused}");
    kit.restarted().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_told_at_once_and_never_repeated() {
    for (url, expected) in [
        ("mysql://u:canary@h/d", "the database cannot be used: the address must begin with sqlite: or postgres://"),
        ("sqlite::memory:", "the database cannot be used: sqlite needs a file: sqlite:PATH"),
        ("sqlite:", "the database cannot be used: sqlite needs a file: sqlite:PATH"),
        ("postgres://u:canary@127.0.0.1:1/d", "cannot connect to the database at 127.0.0.1:1"),
    ] {
        let error = Store::connect(url, StoreOptions::new(keys())).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{error:?}").contains("canary"));
    }
    let nowhere = Store::connect("sqlite:/nonexistent/dir/file.db", StoreOptions::new(keys())).await.unwrap_err();
    assert_eq!(nowhere.to_string(), "cannot connect to the database at /nonexistent/dir/file.db");
}
