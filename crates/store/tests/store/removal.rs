//! Removal: marked, confirmed, taken away.

use std::time::Duration;

use taskplane_domain::event::{Event, Fact};
use taskplane_domain::retention::Cause;
use taskplane_domain::run::{Observed, RunKey};
use taskplane_domain::session::{LEASE, Session};
use taskplane_domain::task::{Class, RetryPolicy, RunTask, Task};
use taskplane_domain::uid::{Fence, RunUid, TaskUid};
use taskplane_store::{LeftRun, NewSession, RemovalOf, StoreError};
use tokio::task::JoinSet;

use crate::kit::{Kit, asked, name, run_of};

crate::on_both_engines![
    a_marked_task_goes_once_its_executor_has_confirmed_its_run_gone,
    what_never_had_a_run_goes_at_once,
    what_lives_is_never_marked,
    a_mark_is_set_once_and_shown,
    events_that_are_not_told_hold_a_task_back,
    word_of_an_earlier_run_says_nothing_of_a_later_one,
    a_retried_task_waits_for_its_last_run_only,
    removals_are_asked_of_the_executor_that_ran_it,
    removals_that_can_be_taken_over_are_asked_of_the_cluster,
    an_executor_that_stays_away_for_an_hour_is_not_waited_for,
    many_purges_at_once_remove_each_task_once,
    a_row_that_makes_no_sense_holds_up_nobody_else,
    word_of_a_session_that_never_was_is_refused,
];

/// The Task, its run made by a claim of the session and over as reported.
async fn ended(kit: &Kit, session: &Session, task: &Task) -> Task {
    kit.store.work_claim(session.uid, 100).await.unwrap();
    let (_, fence) = kit.store.task_owner(task.uid).await.unwrap().unwrap();
    let mut task = task.clone();
    let made = Observed::Made { run: run_of(&task), conditions: Vec::new(), guarded: false };
    let started = Observed::Started { run: run_of(&task), at: kit.now() };
    for seen in [made, started, kit.end(&task, 0)] {
        let step = task.observe(seen, kit.now()).unwrap().unwrap();
        kit.store.task_report(&step, session.uid, fence).await.unwrap();
        task = step.into_task();
    }
    task
}

async fn mark(kit: &Kit, task: &Task) -> u32 {
    kit.store.removal_mark(RemovalOf::Task(task.uid), Cause::Deleted, 10).await.unwrap()
}

async fn is_there(kit: &Kit, task: &Task) -> bool {
    match kit.store.task_get_by_uid(task.uid).await {
        Ok(_) => true,
        Err(StoreError::NotFound(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn a_marked_task_goes_once_its_executor_has_confirmed_its_run_gone(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let session = kit.a_session("e").await;
    let task = ended(&kit, &session, &task).await;
    kit.published().await;
    assert!(kit.store.work_removals(session.uid, 10).await.unwrap().is_empty(), "nobody asked for it");
    assert_eq!(mark(&kit, &task).await, 1);
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 0);
    let left = kit.store.work_removals(session.uid, 10).await.unwrap();
    let key = RunKey { task: task.uid, attempt: 1 };
    assert_eq!(left, [LeftRun { key, run: run_of(&task), fence: Fence(1) }]);
    // Its session may be over by then: what is gone is gone.
    kit.store.session_close(session.uid).await.unwrap();
    kit.store.runs_removed(session.uid, &[(task.uid, run_of(&task))]).await.unwrap();
    kit.store.runs_removed(session.uid, &[(task.uid, run_of(&task))]).await.unwrap();
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 1);
    assert!(!is_there(&kit, &task).await);
    assert!(kit.store.task_attempts(task.uid).await.unwrap().is_empty());
    let removals = kit.store.removals_list(10).await.unwrap();
    let of: Vec<_> = removals.iter().map(|removal| (removal.space, removal.app, removal.task)).collect();
    assert_eq!(of, [(space.uid, app.uid, task.uid)]);
    let events = kit.events("s").await;
    let last: &Event = &events.last().unwrap().1;
    assert_eq!((last.uid, last.fact, last.sequence), (task.uid.0, Fact::TaskRemoved, task.version + 1));
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 0);
    assert_eq!(kit.store.removals_pending().await.unwrap(), None);
}

async fn what_never_had_a_run_goes_at_once(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let task = kit.cancelled(&task).await;
    kit.published().await;
    mark(&kit, &task).await;
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 1);
    assert!(!is_there(&kit, &task).await);
}

async fn what_lives_is_never_marked(kit: Kit) {
    let (space, app, pending) = kit.the_usual().await;
    let made = kit.made(&kit.a_task(&space, &app).await).await;
    let running = kit.running(&kit.a_task(&space, &app).await).await;
    let cancelling = kit.running(&kit.a_task(&space, &app).await).await;
    let cancelling = kit.cancelled(&cancelling).await;
    kit.published().await;
    let asked = [
        RemovalOf::Space(space.uid),
        RemovalOf::App(app.uid),
        RemovalOf::Task(pending.uid),
        RemovalOf::Task(running.uid),
        RemovalOf::Task(cancelling.uid),
    ];
    for of in asked {
        assert_eq!(kit.store.removal_mark(of, Cause::Deleted, 10).await.unwrap(), 0);
    }
    kit.store.removals_purge(10).await.unwrap();
    for task in [pending, made, running, cancelling] {
        assert_eq!(kit.store.task_get_by_uid(task.uid).await.unwrap(), task);
    }
}

async fn a_mark_is_set_once_and_shown(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let session = kit.a_session("e").await;
    let task = ended(&kit, &session, &task).await;
    let others =
        [kit.cancelled(&kit.a_task(&space, &app).await).await, kit.cancelled(&kit.a_task(&space, &app).await).await];
    kit.advance(5);
    let since = kit.now();
    assert_eq!(mark(&kit, &task).await, 1);
    kit.advance(5);
    assert_eq!(mark(&kit, &task).await, 0);
    let marked = kit.store.task_get(&task.name).await.unwrap();
    assert_eq!(marked, Task { remove_since: Some(since), ..task });
    assert_eq!(kit.store.removals_pending().await.unwrap(), Some(Duration::from_secs(5)));
    for expected in [1, 1, 0] {
        assert_eq!(kit.store.removal_mark(RemovalOf::App(app.uid), Cause::Deleted, 1).await.unwrap(), expected);
    }
    for other in others {
        assert!(kit.store.task_get_by_uid(other.uid).await.unwrap().remove_since.is_some());
    }
}

async fn events_that_are_not_told_hold_a_task_back(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let task = kit.cancelled(&task).await;
    mark(&kit, &task).await;
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 0);
    kit.published().await;
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 1);
}

async fn word_of_an_earlier_run_says_nothing_of_a_later_one(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let session = kit.a_session("e").await;
    let task = ended(&kit, &session, &task).await;
    kit.published().await;
    mark(&kit, &task).await;
    kit.store.runs_removed(session.uid, &[(task.uid, RunUid("earlier".into()))]).await.unwrap();
    kit.store.runs_removed(session.uid, &[(TaskUid(kit.uid()), run_of(&task))]).await.unwrap();
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 0);
}

async fn a_retried_task_waits_for_its_last_run_only(kit: Kit) {
    let (space, app, first) = kit.the_usual().await;
    kit.cancelled(&first).await;
    let retry = RetryPolicy::parse(2, Some(Duration::from_secs(1)), vec![Class::User], false).unwrap();
    let birth = kit.a_birth_as(TaskUid(kit.uid()), &space, &app, RunTask { retry, ..asked(&app) });
    let mut task = kit.store.task_accept(birth, None).await.unwrap().task;
    let session = kit.a_session("e").await;
    for _ in 0..2 {
        kit.advance(60);
        kit.store.work_claim(session.uid, 1).await.unwrap();
        let fence = kit.store.task_owner(task.uid).await.unwrap().unwrap().1;
        for seen in [Observed::Made { run: run_of(&task), conditions: Vec::new(), guarded: false }, kit.end(&task, 1)] {
            let step = task.observe(seen, kit.now()).unwrap().unwrap();
            kit.store.task_report(&step, session.uid, fence).await.unwrap();
            task = step.into_task();
        }
    }
    kit.published().await;
    mark(&kit, &task).await;
    let run = |attempt: u32| RunUid(format!("run-{}-{attempt}", task.uid));
    assert_eq!(kit.store.work_removals(session.uid, 10).await.unwrap()[0].run, run(2));
    kit.store.runs_removed(session.uid, &[(task.uid, run(1))]).await.unwrap();
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 0);
    kit.store.runs_removed(session.uid, &[(task.uid, run(2))]).await.unwrap();
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 1);
}

async fn removals_are_asked_of_the_executor_that_ran_it(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let first = kit.a_session("e").await;
    let task = ended(&kit, &first, &task).await;
    kit.published().await;
    mark(&kit, &task).await;
    let other = kit.a_session("f").await;
    assert!(kit.store.work_removals(other.uid, 10).await.unwrap().is_empty());
    kit.store.runs_removed(other.uid, &[(task.uid, run_of(&task))]).await.unwrap();
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 0, "it is not the other's to confirm");
    let second = kit.a_session("e").await;
    assert_eq!(kit.store.work_removals(second.uid, 10).await.unwrap().len(), 1);
    kit.store.runs_removed(second.uid, &[(task.uid, run_of(&task))]).await.unwrap();
    assert!(kit.store.work_removals(second.uid, 10).await.unwrap().is_empty());
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 1);
}

async fn removals_that_can_be_taken_over_are_asked_of_the_cluster(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let adoptable = |executor| NewSession { adoptable: true, ..kit.new_session(executor) };
    let first = kit.store.session_open(adoptable("e"), LEASE, |_, _| None).await.unwrap();
    let task = ended(&kit, &first, &task).await;
    kit.published().await;
    mark(&kit, &task).await;
    let far = NewSession { cluster: name("far"), ..adoptable("g") };
    let far = kit.store.session_open(far, LEASE, |_, _| None).await.unwrap();
    assert!(kit.store.work_removals(far.uid, 10).await.unwrap().is_empty());
    let other = kit.store.session_open(adoptable("f"), LEASE, |_, _| None).await.unwrap();
    assert_eq!(kit.store.work_removals(other.uid, 10).await.unwrap().len(), 1);
    kit.store.runs_removed(other.uid, &[(task.uid, run_of(&task))]).await.unwrap();
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 1);
}

async fn an_executor_that_stays_away_for_an_hour_is_not_waited_for(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let closed = kit.a_session("closed").await;
    let task = ended(&kit, &closed, &task).await;
    kit.store.session_close(closed.uid).await.unwrap();
    let lapsed = kit.a_session("lapsed").await;
    let second = ended(&kit, &lapsed, &kit.a_task(&space, &app).await).await;
    kit.published().await;
    mark(&kit, &task).await;
    mark(&kit, &second).await;
    kit.advance(3500);
    assert_eq!(kit.store.runs_forsake(10).await.unwrap(), 0);
    kit.advance(100);
    assert_eq!(kit.store.runs_forsake(10).await.unwrap(), 1, "the lease of the other one ran on");
    kit.store.session_heartbeat(lapsed.uid, LEASE).await.unwrap();
    kit.advance(3600);
    assert_eq!(kit.store.runs_forsake(10).await.unwrap(), 0, "its lease was renewed meanwhile");
    kit.advance(100);
    assert_eq!(kit.store.runs_forsake(10).await.unwrap(), 1);
    assert_eq!(kit.store.removals_purge(10).await.unwrap(), 2);
}

async fn many_purges_at_once_remove_each_task_once(kit: Kit) {
    let (space, app, first) = kit.the_usual().await;
    kit.cancelled(&first).await;
    for _ in 0..450 {
        kit.cancelled(&kit.a_task(&space, &app).await).await;
    }
    kit.published().await;
    assert_eq!(kit.store.removal_mark(RemovalOf::App(app.uid), Cause::Deleted, 1000).await.unwrap(), 451);
    let mut purges = JoinSet::new();
    for _ in 0..4 {
        let store = kit.store.clone();
        purges.spawn(async move {
            let mut gone = 0;
            while store.removals_pending().await.unwrap().is_some() {
                gone += store.removals_purge(100).await.unwrap();
            }
            gone
        });
    }
    assert_eq!(purges.join_all().await.into_iter().sum::<u32>(), 451);
    let removed = kit.events("s").await.iter().filter(|(_, event)| event.fact == Fact::TaskRemoved).count();
    assert_eq!(removed, 451);
    assert_eq!(kit.store.removals_list(1000).await.unwrap().len(), 451);
}

async fn a_row_that_makes_no_sense_holds_up_nobody_else(kit: Kit) {
    let (space, app, broken) = kit.the_usual().await;
    kit.cancelled(&broken).await;
    let fine = kit.cancelled(&kit.a_task(&space, &app).await).await;
    kit.published().await;
    kit.store.removal_mark(RemovalOf::App(app.uid), Cause::Deleted, 10).await.unwrap();
    kit.execute("UPDATE tasks SET attempt = -1 WHERE id = 1").await;
    // One at a time, so that the broken one fills a whole batch.
    assert_eq!(kit.store.removals_purge(1).await.unwrap(), 1);
    assert!(!is_there(&kit, &fine).await);
    assert_eq!(kit.store.removals_purge(1).await.unwrap(), 0);
}

async fn word_of_a_session_that_never_was_is_refused(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let session = kit.a_session("e").await;
    let task = ended(&kit, &session, &task).await;
    let unknown = taskplane_domain::uid::SessionUid(kit.uid());
    let refused = kit.store.runs_removed(unknown, &[(task.uid, run_of(&task))]).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound(_)));
}
