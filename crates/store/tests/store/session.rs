//! Sessions and what becomes of what they held.

use jiff::SignedDuration;
use taskplane_domain::run::{Fate, Observed};
use taskplane_domain::session::LEASE;
use taskplane_domain::task::{StateKind, Task};
use taskplane_domain::uid::{Fence, SessionUid};
use taskplane_store::StoreError;
use tokio::task::JoinSet;

use crate::kit::{Kit, cancel, name, run_of};

crate::on_both_engines![
    a_session_comes_back_as_it_was_opened,
    a_heartbeat_renews_the_lease_by_the_databases_clock,
    a_session_of_the_same_name_ends_the_one_before,
    opening_settles_what_the_session_before_held,
    what_is_not_settled_is_taken_over_under_a_new_fence,
    closing_gives_back_what_has_not_started,
    what_a_closed_session_held_is_settled_when_its_executor_opens_again,
    other_executors_are_left_alone,
    of_many_sessions_of_one_name_one_stays_open,
    a_report_of_an_ended_session_changes_nothing,
];

async fn a_session_comes_back_as_it_was_opened(kit: Kit) {
    let session = kit.a_session("e").await;
    assert_eq!(session.opened_at, kit.now());
    assert_eq!(session.lease_until, kit.now() + LEASE);
    assert_eq!(kit.store.session_get(session.uid).await.unwrap(), session);
    assert_eq!(kit.store.sessions_open(&name("local")).await.unwrap(), [session]);
    assert!(kit.store.sessions_open(&name("far")).await.unwrap().is_empty());
}

async fn a_heartbeat_renews_the_lease_by_the_databases_clock(kit: Kit) {
    let session = kit.a_session("e").await;
    kit.advance(100);
    assert_eq!(kit.store.now().await.unwrap(), session.opened_at + SignedDuration::from_secs(100));
    kit.store.session_heartbeat(session.uid, LEASE).await.unwrap();
    assert_eq!(kit.store.session_get(session.uid).await.unwrap().lease_until, kit.now() + LEASE);
    kit.store.session_close(session.uid).await.unwrap();
    kit.store.session_close(session.uid).await.unwrap();
    assert!(matches!(kit.store.session_heartbeat(session.uid, LEASE).await, Err(StoreError::Fenced)));
    assert!(matches!(kit.store.session_get(session.uid).await, Err(StoreError::Fenced)));
    let unknown = kit.store.session_heartbeat(SessionUid(kit.uid()), LEASE).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
}

async fn a_session_of_the_same_name_ends_the_one_before(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let first = kit.a_session("e").await;
    kit.store.work_claim(first.uid, 1).await.unwrap();
    let second = kit.a_session("e").await;
    assert!(matches!(kit.store.session_get(first.uid).await, Err(StoreError::Fenced)));
    assert!(matches!(kit.store.work_claim(first.uid, 1).await, Err(StoreError::Fenced)));
    // It had not started: it waits for anybody.
    assert!(kit.store.task_owner(task.uid).await.unwrap().is_none());
    assert_eq!(kit.store.work_claim(second.uid, 1).await.unwrap(), 1);
    assert_eq!(kit.store.task_owner(task.uid).await.unwrap().unwrap().1, Fence(2));
}

/// Claimed by `executor`, and running.
async fn a_running_task(kit: &Kit, executor: &str) -> (SessionUid, Task) {
    let (_, _, task) = kit.the_usual().await;
    let session = kit.a_session(executor).await;
    kit.store.work_claim(session.uid, 1).await.unwrap();
    (session.uid, kit.running(&task).await)
}

async fn opening_settles_what_the_session_before_held(kit: Kit) {
    let (first, running) = a_running_task(&kit, "e").await;
    let (at, (tell, mut told)) = (kit.now(), tokio::sync::mpsc::unbounded_channel());
    let settle = move |task: &Task, fence: Fence| {
        tell.send((task.uid, fence)).unwrap();
        let fate = Fate::Lost { message: "the executor was killed".into() };
        task.clone().observe(Observed::Over { run: run_of(task), fate }, at).unwrap()
    };
    let second = kit.store.session_open(kit.new_session("e"), LEASE, settle).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), (running.uid, Fence(1)));
    assert!(told.recv().await.is_none());
    let task = kit.store.task_get_by_uid(running.uid).await.unwrap();
    assert_eq!(task.state.kind(), StateKind::Failed);
    assert_eq!(task.version, running.version + 1);
    assert_eq!(kit.store.task_attempts(task.uid).await.unwrap().len(), 1);
    assert_eq!(kit.events("s").await.last().unwrap().1.sequence, task.version);
    for session in [first, second.uid] {
        assert!(kit.store.work_held(session).await.unwrap().is_empty());
    }
}

async fn what_is_not_settled_is_taken_over_under_a_new_fence(kit: Kit) {
    let (first, running) = a_running_task(&kit, "e").await;
    let second = kit.a_session("e").await;
    let held = kit.store.work_held(second.uid).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!((&held[0].task, held[0].fence), (&running, Fence(2)));
    let step = running.clone().observe(kit.end(&running, 0), kit.now()).unwrap().unwrap();
    assert!(matches!(kit.store.task_report(&step, first, Fence(1)).await, Err(StoreError::Fenced)));
    kit.store.task_report(&step, second.uid, Fence(2)).await.unwrap();
}

async fn closing_gives_back_what_has_not_started(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    let waiting = kit.a_task(&space, &app).await;
    let session = kit.a_session("e").await;
    kit.store.work_claim(session.uid, 2).await.unwrap();
    let held = kit.store.work_held(session.uid).await.unwrap();
    let running = kit.running(&held[0].task).await;
    kit.store.session_close(session.uid).await.unwrap();
    assert!(kit.store.task_owner(waiting.uid).await.unwrap().is_none());
    assert_eq!(kit.store.task_owner(running.uid).await.unwrap().unwrap().0.uid, session.uid);
    let other = kit.a_session("f").await;
    assert_eq!(kit.store.work_claim(other.uid, 2).await.unwrap(), 1);
}

async fn what_a_closed_session_held_is_settled_when_its_executor_opens_again(kit: Kit) {
    let (first, running) = a_running_task(&kit, "e").await;
    kit.store.session_close(first).await.unwrap();
    let at = kit.now();
    let settle = move |task: &Task, _| Some(cancel(task, at));
    let second = kit.store.session_open(kit.new_session("e"), LEASE, settle).await.unwrap();
    // Cancelling is not over: somebody must see it through.
    let held = kit.store.work_held(second.uid).await.unwrap();
    assert_eq!(held[0].task.uid, running.uid);
    assert_eq!((held[0].task.state.kind(), held[0].fence), (StateKind::Cancelling, Fence(2)));
}

async fn other_executors_are_left_alone(kit: Kit) {
    let (first, running) = a_running_task(&kit, "e").await;
    kit.store.session_open(kit.new_session("f"), LEASE, |_, _| panic!("not asked for")).await.unwrap();
    kit.store.session_heartbeat(first, LEASE).await.unwrap();
    assert_eq!(kit.store.work_held(first).await.unwrap()[0].task, running);
}

async fn of_many_sessions_of_one_name_one_stays_open(kit: Kit) {
    let mut opening = JoinSet::new();
    for _ in 0..6 {
        let (store, new) = (kit.store.clone(), kit.new_session("e"));
        opening.spawn(async move { store.session_open(new, LEASE, |_, _| None).await.unwrap() });
    }
    opening.join_all().await;
    assert_eq!(kit.store.sessions_open(&name("local")).await.unwrap().len(), 1);
}

async fn a_report_of_an_ended_session_changes_nothing(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let first = kit.a_session("e").await;
    kit.store.work_claim(first.uid, 1).await.unwrap();
    kit.a_session("e").await;
    let made = Observed::Made { run: run_of(&task), conditions: Vec::new(), guarded: false };
    let step = task.clone().observe(made, kit.now()).unwrap().unwrap();
    let refused = kit.store.task_report(&step, first.uid, Fence(1)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced));
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), task);
}
