//! What is late, who fell silent, and what an asker is told of it.

use std::time::Duration;

use jiff::SignedDuration;
use taskplane_domain::run::{Fate, Observed};
use taskplane_domain::session::{LEASE, Session};
use taskplane_domain::task::{CancelTask, Cause, Deadlines, StateKind, Task, TaskState};
use taskplane_store::{Late, NewSession, Orphan, StoreError};

use crate::kit::{Kit, name, run_of};
use crate::session_kit::{a_session_with_two, up, whole_lease};

crate::on_both_engines![
    an_end_is_late_after_its_own_grace_or_the_usual_one,
    a_forced_end_is_stored_as_it_is_and_late_no_more,
    a_start_is_late_after_the_start_deadline,
    a_task_given_up_comes_back_as_it_was_stored,
    a_silent_session_lapses_and_gives_back_what_had_not_started,
    nobody_lapses_while_the_control_plane_was_down_itself,
    a_late_heartbeat_renews_what_nobody_ended,
    runs_that_can_be_taken_over_are_not_orphaned,
    what_a_closed_session_left_is_orphaned_after_a_lease,
    an_orphan_is_lost_once_and_its_old_holder_changes_nothing,
    a_waiting_task_is_explained_by_what_is_so_around_it,
    what_is_measured_agrees_with_the_rules_task_by_task,
    a_log_that_is_given_up_is_listed_once_and_only_when_it_is_complete,
];

const DEADLINES: Deadlines = Deadlines { grace: Duration::from_secs(30), start: Duration::from_secs(3600) };

async fn late_ends(kit: &Kit) -> (Vec<Task>, Option<Duration>) {
    let Late { now, tasks, next } = kit.store.tasks_to_force(&DEADLINES, 100).await.unwrap();
    assert_eq!(now, kit.now());
    (tasks, next)
}

async fn an_end_is_late_after_its_own_grace_or_the_usual_one(kit: Kit) {
    let (space, app, usual) = kit.the_usual().await;
    let usual = kit.cancelled(&kit.running(&usual).await).await;
    let own = kit.running(&kit.a_task(&space, &app).await).await;
    let own = own.cancel_within(Some(Duration::from_secs(5)), kit.now()).unwrap();
    kit.store.task_commit(&own).await.unwrap();
    assert_eq!(late_ends(&kit).await, (vec![], Some(Duration::from_secs(20))));
    kit.advance(20);
    assert_eq!(late_ends(&kit).await, (vec![own.into_task()], Some(Duration::from_secs(25))));
    kit.advance(25);
    let (late, next) = late_ends(&kit).await;
    assert_eq!((late.len(), next), (2, None));
    assert!(late.contains(&usual));
    assert_eq!(kit.store.tasks_to_force(&DEADLINES, 1).await.unwrap().tasks.len(), 1);
}

async fn a_forced_end_is_stored_as_it_is_and_late_no_more(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let cancelling = kit.cancelled(&kit.running(&task).await).await;
    kit.advance(45);
    let forced = cancelling.clone().force(kit.now()).unwrap();
    kit.store.task_commit(&forced).await.unwrap();
    // Another reaper that saw the same, a moment later.
    let again = cancelling.force(kit.now()).unwrap();
    assert!(matches!(kit.store.task_commit(&again).await, Err(StoreError::Conflict(_))));
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), forced.into_task());
    assert_eq!(late_ends(&kit).await, (vec![], None));
    let facts: Vec<_> = kit.events("s").await.into_iter().map(|(_, event)| event.fact.as_str()).collect();
    assert_eq!(facts.iter().filter(|fact| **fact == "cancel-forced").count(), 1);
}

async fn a_start_is_late_after_the_start_deadline(kit: Kit) {
    let (space, app, first) = kit.the_usual().await;
    kit.running(&kit.a_task(&space, &app).await).await;
    let first = kit.made(&first).await;
    kit.advance(3599);
    let Late { tasks, next, .. } = kit.store.tasks_not_started(&DEADLINES, 10).await.unwrap();
    assert_eq!((tasks, next), (vec![], Some(Duration::from_secs(1))));
    kit.advance(1);
    let Late { tasks, next, .. } = kit.store.tasks_not_started(&DEADLINES, 10).await.unwrap();
    assert_eq!((tasks, next), (vec![first], None));
}

async fn a_task_given_up_comes_back_as_it_was_stored(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let given_up = kit.made(&task).await.give_up_starting(kit.now()).unwrap();
    kit.store.task_commit(&given_up).await.unwrap();
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), given_up.into_task());
    kit.execute("UPDATE tasks SET cancel_cause = 'BOREDOM'").await;
    let corrupt = kit.store.task_get(&task.name).await.unwrap_err();
    assert!(matches!(corrupt, StoreError::Corrupt(corrupt) if corrupt.column == "cancel_cause"));
    // It does not stand in the way of the others.
    assert_eq!(late_ends(&kit).await.0, []);
}

async fn a_silent_session_lapses_and_gives_back_what_had_not_started(kit: Kit) {
    let (Session { uid: session, .. }, running, waiting) = a_session_with_two(&kit, kit.new_session("e")).await;
    up(&kit, whole_lease() - 1).await;
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 0);
    assert!(kit.store.tasks_orphaned(10).await.unwrap().is_empty());
    up(&kit, 1).await;
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 1);
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 0);
    assert!(matches!(kit.store.session_heartbeat(session, LEASE).await, Err(StoreError::Fenced)));
    assert!(kit.store.task_owner(waiting.uid).await.unwrap().is_none());
    let orphans = kit.store.tasks_orphaned(10).await.unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!((&orphans[0].task, orphans[0].session, orphans[0].lapsed), (&running, session, true));
}

async fn nobody_lapses_while_the_control_plane_was_down_itself(kit: Kit) {
    let (Session { uid: session, .. }, ..) = a_session_with_two(&kit, kit.new_session("e")).await;
    up(&kit, 3).await;
    // A database or all of the api is away for an hour, and comes back.
    kit.advance(3600);
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 0);
    up(&kit, whole_lease() - 1).await;
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 0);
    kit.store.session_heartbeat(session, LEASE).await.unwrap();
    up(&kit, whole_lease() - 1).await;
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 0);
    up(&kit, 1).await;
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 1);
}

async fn a_late_heartbeat_renews_what_nobody_ended(kit: Kit) {
    let (Session { uid: session, .. }, running, _) = a_session_with_two(&kit, kit.new_session("e")).await;
    up(&kit, 1000).await;
    kit.store.session_heartbeat(session, LEASE).await.unwrap();
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 0);
    assert_eq!(kit.store.work_held(session).await.unwrap()[0].task, running);
}

async fn runs_that_can_be_taken_over_are_not_orphaned(kit: Kit) {
    let new = NewSession { adoptable: true, ..kit.new_session("e") };
    let (Session { uid: session, .. }, running, waiting) = a_session_with_two(&kit, new).await;
    up(&kit, whole_lease()).await;
    assert_eq!(kit.store.sessions_lapse(10).await.unwrap(), 0, "it is not ended");
    assert!(kit.store.task_owner(waiting.uid).await.unwrap().is_none(), "others may have what has not started");
    up(&kit, whole_lease()).await;
    assert!(kit.store.tasks_orphaned(10).await.unwrap().is_empty());
    kit.store.session_heartbeat(session, LEASE).await.unwrap();
    assert_eq!(kit.store.work_held(session).await.unwrap()[0].task, running);
    kit.store.session_close(session).await.unwrap();
    up(&kit, whole_lease()).await;
    assert!(kit.store.tasks_orphaned(10).await.unwrap().is_empty(), "also after an orderly end");
}

async fn what_a_closed_session_left_is_orphaned_after_a_lease(kit: Kit) {
    let (Session { uid: session, .. }, running, _) = a_session_with_two(&kit, kit.new_session("e")).await;
    kit.store.session_close(session).await.unwrap();
    up(&kit, whole_lease() - 1).await;
    assert!(kit.store.tasks_orphaned(10).await.unwrap().is_empty());
    up(&kit, 1).await;
    let orphans = kit.store.tasks_orphaned(10).await.unwrap();
    assert_eq!(orphans.iter().map(|orphan| (&orphan.task, orphan.lapsed)).collect::<Vec<_>>(), [(&running, false)]);
    // Its executor comes back after all: it knows what became of it.
    let again = kit.a_session("e").await;
    assert!(kit.store.tasks_orphaned(10).await.unwrap().is_empty());
    assert_eq!(kit.store.work_held(again.uid).await.unwrap()[0].task, running);
}

async fn an_orphan_is_lost_once_and_its_old_holder_changes_nothing(kit: Kit) {
    let (Session { uid: session, .. }, running, _) = a_session_with_two(&kit, kit.new_session("e")).await;
    up(&kit, whole_lease()).await;
    kit.store.sessions_lapse(10).await.unwrap();
    let Orphan { task, session: holder, fence, .. } = kit.store.tasks_orphaned(10).await.unwrap().remove(0);
    let fate = Fate::Lost { message: "silent".into() };
    let lost = task.observe(Observed::Over { run: run_of(&running), fate }, kit.now()).unwrap().unwrap();
    kit.store.task_report(&lost, holder, fence).await.unwrap();
    assert!(kit.store.tasks_orphaned(10).await.unwrap().is_empty());
    // The zombie wakes up and tells of an end.
    let end = running.clone().observe(kit.end(&running, 0), kit.now()).unwrap().unwrap();
    assert!(matches!(kit.store.task_report(&end, session, fence).await, Err(StoreError::Fenced)));
    assert_eq!(kit.store.task_get(&running.name).await.unwrap(), lost.into_task());
}

async fn told(kit: &Kit, task: &Task) -> Cause {
    let task = kit.store.task_get(&task.name).await.unwrap();
    let seen = kit.store.task_circumstances(&task).await.unwrap();
    let cause = task.explain(&seen, &DEADLINES)[0].cause;
    // What lists say in a word is what is told here at length.
    let listed = kit.store.tasks_waiting(&[&task]).await.unwrap();
    let waits = task.state.kind() == StateKind::Pending;
    assert_eq!(task.waiting_cause(&listed[&task.uid]), waits.then_some(cause));
    cause
}

async fn a_waiting_task_is_explained_by_what_is_so_around_it(kit: Kit) {
    let (space, app, first) = kit.the_usual().await;
    kit.advance(1);
    let second = kit.a_task(&space, &app).await;
    assert_eq!(told(&kit, &second).await, Cause::NoExecutor);
    let source_only = NewSession { runs_images: false, ..kit.new_session("d") };
    kit.store.session_open(source_only, LEASE, |_, _| None).await.unwrap();
    assert_eq!(told(&kit, &second).await, Cause::ImagesNotRun);
    let session = kit.a_session("e").await;
    assert_eq!(told(&kit, &second).await, Cause::Turn);
    let seen = kit.store.task_circumstances(&second).await.unwrap();
    assert_eq!((seen.ahead, seen.executors, seen.able), (1, 2, 1));
    kit.store.work_claim(session.uid, 1).await.unwrap();
    assert_eq!(told(&kit, &first).await, Cause::Held);
    assert_eq!(kit.store.task_circumstances(&second).await.unwrap().ahead, 0);
    let running = kit.running(&first).await;
    assert_eq!(told(&kit, &first).await, Cause::Running);
    kit.advance(15);
    assert_eq!(told(&kit, &first).await, Cause::ExecutorSilent);
    assert_eq!(told(&kit, &second).await, Cause::NoExecutor);
    let cancelling = kit.cancelled(&running).await;
    assert_eq!(cancelling.stuck_at(&DEADLINES).unwrap().since, kit.now() + SignedDuration::from_secs(105));
    kit.advance(105);
    assert_eq!(told(&kit, &first).await, Cause::Stuck);
    let abandoned = cancelling.abandon(kit.now()).unwrap();
    kit.store.task_commit(&abandoned).await.unwrap();
    assert_eq!(told(&kit, &first).await, Cause::EventsUnpublished);
    let heads = kit.store.outbox_heads(0, 100).await.unwrap().events;
    assert!(!heads.is_empty());
    kit.execute("UPDATE events SET published_at = 1").await;
    assert_eq!(told(&kit, &first).await, Cause::Kept);
    let TaskState::Finished { .. } = abandoned.task().state else { panic!("not over") };
    assert_eq!(abandoned.task().state.kind(), StateKind::Failed);
    assert_eq!(kit.store.task_circumstances(&first).await.unwrap().older, None);
    assert_eq!(name("local"), first.cluster);
}

/// The one query for all, and the rule for each.
async fn what_is_measured_agrees_with_the_rules_task_by_task(kit: Kit) {
    let (space, app, waiting) = kit.the_usual().await;
    let mut tasks = vec![waiting.clone()];
    // Its timeout is 90 s.
    tasks.push(kit.running(&kit.a_task(&space, &app).await).await);
    tasks.push(kit.made(&kit.a_task(&space, &app).await).await);
    tasks.push(kit.cancelled(&kit.running(&kit.a_task(&space, &app).await).await).await);
    let own = kit.running(&kit.a_task(&space, &app).await).await;
    let own = own.cancel_within(Some(Duration::from_secs(200)), kit.now()).unwrap();
    kit.store.task_commit(&own).await.unwrap();
    tasks.push(own.into_task());
    let forced = kit.cancelled(&kit.running(&kit.a_task(&space, &app).await).await).await;
    kit.advance(100);
    let forced = forced.force(kit.now()).unwrap();
    kit.store.task_commit(&forced).await.unwrap();
    tasks.push(forced.into_task());
    kit.a_session("e").await;
    for _ in 0..40 {
        let measured = kit.store.measures(&DEADLINES).await.unwrap();
        for (state, reason, count) in measured.stuck {
            let stuck = |task: &&Task| task.stuck(kit.now(), &DEADLINES).is_some_and(|stuck| stuck.reason == reason);
            let found: Vec<_> = tasks.iter().filter(stuck).collect();
            assert!(found.iter().all(|task| task.state.kind() == state));
            assert_eq!(count, found.len() as u64, "{reason:?} at {}", kit.now());
        }
        kit.advance(95);
    }
    let measured = kit.store.measures(&DEADLINES).await.unwrap();
    let live = [(StateKind::Pending, 1), (StateKind::Starting, 1), (StateKind::Running, 1), (StateKind::Cancelling, 3)];
    assert_eq!((measured.live.as_slice(), measured.executors), (live.as_slice(), 0));
    assert_eq!(measured.stuck.iter().map(|(_, _, count)| count).sum::<u64>(), 5, "all but the one that waits");
    let waited = Duration::try_from(kit.now().duration_since(waiting.created_at)).unwrap();
    assert_eq!((measured.oldest_waiting, measured.oldest_unpublished), (waited, waited));
    assert!(measured.unpublished > 0);
}

async fn a_log_that_is_given_up_is_listed_once_and_only_when_it_is_complete(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let asked = CancelTask { grace: None, delete_log: true };
    let cancelling = kit.running(&task).await.end(asked, kit.now()).unwrap();
    kit.store.task_commit(&cancelling).await.unwrap();
    assert!(!kit.store.removals_of_logs(10).await.unwrap(), "it is not over");
    let over = kit.observed(&cancelling.into_task(), kit.end(&task, 0)).await;
    assert!(over.delete_log);
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), over);
    kit.execute("UPDATE tasks SET run_left = true").await;
    assert!(kit.store.task_circumstances(&over).await.unwrap().run_left);
    assert!(kit.store.removals_of_logs(10).await.unwrap(), "it waits");
    assert!(kit.store.removals_list(10).await.unwrap().is_empty(), "its run may still be writing");
    kit.execute("UPDATE tasks SET run_left = false").await;
    assert!(kit.store.removals_of_logs(10).await.unwrap());
    let listed = kit.store.removals_list(10).await.unwrap();
    assert_eq!(listed.iter().map(|removal| removal.task).collect::<Vec<_>>(), [task.uid]);
    assert!(!kit.store.removals_of_logs(10).await.unwrap(), "once");
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), over, "it still says that its log is gone");
}
