//! Runs that outlive their executor are taken over by another one of the same cluster, once, and never from one that is there.

use std::sync::Arc;

use taskplane_domain::session::{BEAT_GAP, LEASE, Session};
use taskplane_domain::task::Task;
use taskplane_domain::uid::Fence;
use taskplane_store::{NewSession, StoreError};
use tokio::task::JoinSet;

use crate::kit::{Kit, name};
use crate::session_kit::{a_session_with_two, up, whole_lease};

crate::on_both_engines![
    nobody_takes_from_an_executor_that_is_there,
    a_silent_executors_runs_are_taken_over_under_a_new_fence,
    a_late_heartbeat_renews_what_nobody_took,
    an_orderly_end_hands_over_at_once,
    only_the_same_cluster_and_only_who_can_take_over_does,
    runs_that_cannot_be_taken_over_are_not,
    an_outage_of_the_control_plane_hands_nothing_over,
    a_batch_at_a_time_is_taken_and_nothing_is_left_behind,
    of_two_that_take_over_at_once_each_task_has_one,
    the_next_lapse_is_known_while_there_is_something_to_take,
];

fn adoptable(kit: &Kit, executor: &str) -> NewSession {
    NewSession { adoptable: true, ..kit.new_session(executor) }
}

async fn opened(kit: &Kit, new: NewSession) -> Session {
    kit.store.session_open(new, LEASE, |_, _| None).await.unwrap()
}

async fn held(kit: &Kit, session: &Session) -> Vec<(Task, Fence)> {
    let held = kit.store.work_held(session.uid).await.unwrap();
    held.into_iter().map(|held| (held.task, held.fence)).collect()
}

async fn nobody_takes_from_an_executor_that_is_there(kit: Kit) {
    let (first, ..) = a_session_with_two(&kit, adoptable(&kit, "e")).await;
    let second = opened(&kit, adoptable(&kit, "f")).await;
    for _ in 0..6 {
        up(&kit, 5).await;
        kit.store.session_heartbeat(first.uid, LEASE).await.unwrap();
        assert_eq!(kit.store.work_adopt(second.uid, 10).await.unwrap(), 0);
    }
}

async fn a_silent_executors_runs_are_taken_over_under_a_new_fence(kit: Kit) {
    let (first, running, waiting) = a_session_with_two(&kit, adoptable(&kit, "e")).await;
    up(&kit, whole_lease() - 1).await;
    let second = opened(&kit, adoptable(&kit, "f")).await;
    assert_eq!(kit.store.work_adopt(second.uid, 10).await.unwrap(), 0);
    up(&kit, 1).await;
    assert_eq!(kit.store.work_adopt(second.uid, 10).await.unwrap(), 1);
    assert_eq!(held(&kit, &second).await, [(running.clone(), Fence(2))]);
    assert!(kit.store.task_owner(waiting.uid).await.unwrap().is_none(), "what had not started is anybody's");
    // The one before wakes up: it changes nothing, whatever it has to say.
    assert!(matches!(kit.store.session_heartbeat(first.uid, LEASE).await, Err(StoreError::Fenced)));
    assert!(matches!(kit.store.work_claim(first.uid, 1).await, Err(StoreError::Fenced)));
    let end = running.clone().observe(kit.end(&running, 0), kit.now()).unwrap().unwrap();
    assert!(matches!(kit.store.task_report(&end, first.uid, Fence(1)).await, Err(StoreError::Fenced)));
    assert_eq!(kit.store.task_get(&running.name).await.unwrap(), running);
    kit.store.task_report(&end, second.uid, Fence(2)).await.unwrap();
    // Opened again under its name, it has nothing to settle.
    kit.store.session_open(adoptable(&kit, "e"), LEASE, |_, _| panic!("it holds nothing")).await.unwrap();
}

async fn a_late_heartbeat_renews_what_nobody_took(kit: Kit) {
    let (first, running, _) = a_session_with_two(&kit, adoptable(&kit, "e")).await;
    up(&kit, 1000).await;
    kit.store.session_heartbeat(first.uid, LEASE).await.unwrap();
    let second = opened(&kit, adoptable(&kit, "f")).await;
    assert_eq!(kit.store.work_adopt(second.uid, 10).await.unwrap(), 0);
    assert_eq!(held(&kit, &first).await[0], (running, Fence(1)));
}

async fn an_orderly_end_hands_over_at_once(kit: Kit) {
    let (first, running, waiting) = a_session_with_two(&kit, adoptable(&kit, "e")).await;
    let cancelling = kit.cancelled(&running).await;
    let second = opened(&kit, adoptable(&kit, "f")).await;
    kit.store.session_close(first.uid).await.unwrap();
    assert_eq!(kit.store.work_adopt(second.uid, 10).await.unwrap(), 1);
    assert_eq!(held(&kit, &second).await, [(cancelling, Fence(2))]);
    assert!(kit.store.task_owner(waiting.uid).await.unwrap().is_none());
}

async fn only_the_same_cluster_and_only_who_can_take_over_does(kit: Kit) {
    let (first, ..) = a_session_with_two(&kit, adoptable(&kit, "e")).await;
    kit.store.session_close(first.uid).await.unwrap();
    let far = opened(&kit, NewSession { cluster: name("far"), ..adoptable(&kit, "f") }).await;
    let local = opened(&kit, kit.new_session("g")).await;
    for session in [&far, &local] {
        assert_eq!(kit.store.work_adopt(session.uid, 10).await.unwrap(), 0);
        assert_eq!(kit.store.work_next_lapse(session.uid).await.unwrap(), None);
    }
    let ended = opened(&kit, adoptable(&kit, "h")).await;
    kit.store.session_close(ended.uid).await.unwrap();
    assert!(matches!(kit.store.work_adopt(ended.uid, 10).await, Err(StoreError::Fenced)));
}

async fn runs_that_cannot_be_taken_over_are_not(kit: Kit) {
    let (first, ..) = a_session_with_two(&kit, kit.new_session("e")).await;
    let second = opened(&kit, adoptable(&kit, "f")).await;
    kit.store.session_close(first.uid).await.unwrap();
    up(&kit, 1000).await;
    assert_eq!(kit.store.work_adopt(second.uid, 10).await.unwrap(), 0);
}

async fn an_outage_of_the_control_plane_hands_nothing_over(kit: Kit) {
    let (first, running, _) = a_session_with_two(&kit, adoptable(&kit, "e")).await;
    up(&kit, 3).await;
    kit.advance(3600);
    let second = opened(&kit, adoptable(&kit, "f")).await;
    assert_eq!(kit.store.work_adopt(second.uid, 10).await.unwrap(), 0);
    up(&kit, whole_lease() - 1).await;
    assert_eq!(kit.store.work_adopt(second.uid, 10).await.unwrap(), 0);
    kit.store.session_heartbeat(first.uid, LEASE).await.unwrap();
    assert_eq!(held(&kit, &first).await[0], (running, Fence(1)));
}

async fn a_batch_at_a_time_is_taken_and_nothing_is_left_behind(kit: Kit) {
    let (space, app, first) = kit.the_usual().await;
    let session = opened(&kit, adoptable(&kit, "e")).await;
    kit.store.work_claim(session.uid, 1).await.unwrap();
    let mut running = vec![kit.running(&first).await];
    for _ in 0..4 {
        let task = kit.a_task(&space, &app).await;
        kit.store.work_claim(session.uid, 1).await.unwrap();
        running.push(kit.made(&task).await);
    }
    up(&kit, whole_lease()).await;
    let second = opened(&kit, adoptable(&kit, "f")).await;
    for taken in [2, 2, 1, 0] {
        assert_eq!(kit.store.work_adopt(second.uid, 2).await.unwrap(), taken);
        kit.store.session_heartbeat(second.uid, LEASE).await.unwrap();
    }
    let mut tasks: Vec<_> = held(&kit, &second).await.into_iter().map(|(task, _)| task).collect();
    tasks.sort_by_key(|task| task.name.id);
    assert_eq!(tasks, running);
}

async fn of_two_that_take_over_at_once_each_task_has_one(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    let first = opened(&kit, adoptable(&kit, "e")).await;
    for _ in 0..12 {
        kit.a_task(&space, &app).await;
    }
    assert_eq!(kit.store.work_claim(first.uid, 100).await.unwrap(), 13);
    for (task, _) in held(&kit, &first).await {
        kit.made(&task).await;
    }
    kit.store.session_close(first.uid).await.unwrap();
    let sessions = [opened(&kit, adoptable(&kit, "f")).await, opened(&kit, adoptable(&kit, "g")).await];
    let kit = Arc::new(kit);
    let mut taking = JoinSet::new();
    for session in &sessions {
        let (kit, uid) = (Arc::clone(&kit), session.uid);
        taking.spawn(async move {
            // What the other one is at is passed over; it may be free at the next look.
            while kit.store.work_adopt(uid, 3).await.unwrap() > 0 {}
        });
    }
    taking.join_all().await;
    kit.store.work_adopt(sessions[0].uid, 100).await.unwrap();
    let mut all = Vec::new();
    for session in &sessions {
        all.extend(held(&kit, session).await);
    }
    assert_eq!(all.len(), 13);
    assert!(all.iter().all(|(_, fence)| *fence == Fence(2)));
}

async fn the_next_lapse_is_known_while_there_is_something_to_take(kit: Kit) {
    let (first, running, _) = a_session_with_two(&kit, adoptable(&kit, "e")).await;
    let second = opened(&kit, adoptable(&kit, "f")).await;
    assert_eq!(kit.store.work_next_lapse(second.uid).await.unwrap(), Some(LEASE + BEAT_GAP));
    up(&kit, 5).await;
    assert_eq!(kit.store.work_next_lapse(second.uid).await.unwrap(), Some(LEASE + BEAT_GAP - LEASE / 3));
    up(&kit, whole_lease()).await;
    assert_eq!(kit.store.work_next_lapse(second.uid).await.unwrap(), None, "it has lapsed");
    kit.store.session_heartbeat(first.uid, LEASE).await.unwrap();
    kit.observed(&running, kit.end(&running, 0)).await;
    kit.store.sessions_lapse(1).await.unwrap();
    assert!(kit.store.work_next_lapse(second.uid).await.unwrap().is_some(), "it still holds the other one");
}
