//! Claims.

use std::collections::HashSet;
use std::time::Duration;

use taskplane_domain::task::{Class, RetryPolicy, RunTask};
use taskplane_domain::uid::{Fence, SessionUid, TaskUid};
use taskplane_store::{NewSession, StoreError};
use tokio::task::JoinSet;

use crate::kit::{Kit, asked, name};

crate::on_both_engines![
    the_oldest_waiting_tasks_are_claimed_first,
    eight_at_once_never_claim_the_same_task,
    a_task_is_claimed_when_it_is_due_and_not_before,
    a_task_goes_to_its_cluster_only,
    a_claim_neither_makes_a_version_nor_an_event,
    a_closed_session_claims_nothing,
    a_cancelled_task_is_not_claimed,
];

async fn the_oldest_waiting_tasks_are_claimed_first(kit: Kit) {
    let (space, app, first) = kit.the_usual().await;
    kit.advance(1);
    let second = kit.a_task(&space, &app).await;
    kit.advance(1);
    kit.a_task(&space, &app).await;
    let session = kit.a_session("e").await;
    assert_eq!(kit.store.work_claim(session.uid, 0).await.unwrap(), 0);
    assert_eq!(kit.store.work_claim(session.uid, 2).await.unwrap(), 2);
    let held = kit.store.work_held(session.uid).await.unwrap();
    let held: Vec<_> = held.into_iter().map(|held| (held.task, held.fence)).collect();
    assert_eq!(held, [(first, Fence(1)), (second, Fence(1))]);
    assert_eq!(kit.store.work_claim(session.uid, 2).await.unwrap(), 1);
    assert_eq!(kit.store.work_claim(session.uid, 2).await.unwrap(), 0);
    assert_eq!(kit.store.work_held(session.uid).await.unwrap().len(), 3);
}

async fn eight_at_once_never_claim_the_same_task(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    for _ in 0..159 {
        kit.a_task(&space, &app).await;
    }
    let mut claimers = JoinSet::new();
    for claimer in 0..8 {
        let (store, session) = (kit.store.clone(), kit.a_session(&format!("e{claimer}")).await);
        claimers.spawn(async move {
            while store.work_claim(session.uid, 7).await.unwrap() > 0 {}
            let held = store.work_held(session.uid).await.unwrap();
            assert!(held.iter().all(|held| held.fence == Fence(1)));
            held.into_iter().map(|held| held.task.uid).collect::<Vec<_>>()
        });
    }
    let claimed: Vec<_> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 160);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 160);
}

async fn a_task_is_claimed_when_it_is_due_and_not_before(kit: Kit) {
    let (space, app, other) = kit.the_usual().await;
    kit.cancelled(&other).await;
    let retry = RetryPolicy::parse(2, Some(Duration::from_secs(60)), vec![Class::User], false).unwrap();
    let birth = kit.a_birth_as(TaskUid(kit.uid()), &space, &app, RunTask { retry, ..asked(&app) });
    let task = kit.store.task_accept(birth, None).await.unwrap().task;
    assert_eq!(kit.store.work_next_due(&name("local")).await.unwrap(), None);
    let running = kit.running(&task).await;
    kit.observed(&running, kit.end(&task, 1)).await;
    let session = kit.a_session("e").await;
    kit.advance(20);
    assert_eq!(kit.store.work_claim(session.uid, 1).await.unwrap(), 0);
    assert_eq!(kit.store.work_next_due(&name("local")).await.unwrap(), Some(Duration::from_secs(40)));
    assert_eq!(kit.store.work_next_due(&name("far")).await.unwrap(), None);
    kit.advance(40);
    assert_eq!(kit.store.work_claim(session.uid, 1).await.unwrap(), 1);
}

async fn a_task_goes_to_its_cluster_only(kit: Kit) {
    kit.the_usual().await;
    let new = NewSession { cluster: name("far"), ..kit.new_session("e") };
    let session = kit.store.session_open(new, Duration::from_secs(15), |_, _| None).await.unwrap();
    assert_eq!(kit.store.work_claim(session.uid, 1).await.unwrap(), 0);
}

async fn a_claim_neither_makes_a_version_nor_an_event(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let before = kit.events("s").await.len();
    let session = kit.a_session("e").await;
    kit.store.work_claim(session.uid, 1).await.unwrap();
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), task);
    assert_eq!(kit.events("s").await.len(), before);
}

async fn a_closed_session_claims_nothing(kit: Kit) {
    kit.the_usual().await;
    let session = kit.a_session("e").await;
    kit.store.session_close(session.uid).await.unwrap();
    assert!(matches!(kit.store.work_claim(session.uid, 1).await, Err(StoreError::Fenced)));
    let unknown = kit.store.work_claim(SessionUid(kit.uid()), 1).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
}

async fn a_cancelled_task_is_not_claimed(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    kit.cancelled(&task).await;
    let session = kit.a_session("e").await;
    assert_eq!(kit.store.work_claim(session.uid, 1).await.unwrap(), 0);
}
