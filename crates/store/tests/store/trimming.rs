//! What is forgotten, when, and what never is while it is needed.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use taskplane_domain::app::App;
use taskplane_domain::event::Event;
use taskplane_domain::job::ConcurrencyPolicy;
use taskplane_domain::session::LEASE;
use taskplane_domain::space::Space;
use taskplane_domain::task::Task;
use taskplane_domain::uid::TaskUid;
use taskplane_store::{FeedMark, FeedQuery, RequestKey, StoreError};

use crate::job_kit::{a_job, drain, job_name};
use crate::kit::{Kit, asked, env, name, touch};

crate::on_both_engines![
    a_history_goes_as_a_whole_once_its_time_is_up,
    what_exists_keeps_its_whole_history,
    what_the_bus_does_not_have_yet_is_kept,
    two_reapers_trim_thousands_of_events_in_batches,
    a_reader_who_missed_something_is_told,
    a_reader_of_a_space_that_was_not_trimmed_goes_on,
    a_request_is_recognised_until_its_tasks_history_goes,
    sessions_go_a_day_after_their_end_unless_they_hold_something,
    old_runs_go_but_for_what_keeps_a_tick_from_being_repeated,
    a_revision_stays_while_a_task_has_it,
    an_environment_stays_while_a_task_has_it_or_may_get_it,
];

const DAY: i64 = 24 * 3600;

fn feed(space: &str) -> FeedQuery {
    FeedQuery { space: name(space), app: None, task_id: None, tasks_only: false }
}

fn ago(kit: &Kit, days: i64) -> Timestamp {
    kit.now() - SignedDuration::from_hours(24 * days)
}

/// Everything that happened has its place in the feed, and the bus has it.
async fn settled(kit: &Kit) {
    while kit.store.feed_assign(1000).await.unwrap() > 0 {}
    loop {
        let heads = kit.store.outbox_heads(0, 1000).await.unwrap().events;
        if heads.is_empty() {
            return;
        }
        kit.store.outbox_mark(&heads.iter().map(|(id, _)| *id).collect::<Vec<_>>(), None).await.unwrap();
    }
}

async fn trimmed(kit: &Kit, days: i64) -> u32 {
    let mut all = 0;
    loop {
        let some = kit.store.histories_trim(ago(kit, days), 100).await.unwrap();
        if some == 0 {
            return all;
        }
        all += some;
    }
}

async fn subjects(kit: &Kit, space: &str) -> BTreeSet<String> {
    kit.events(space).await.iter().map(|(_, event): &(u64, Event)| event.subject.to_string()).collect()
}

/// The App with all its Tasks, which are over.
async fn deleted(kit: &Kit, app: &App) {
    kit.delete_app(app, false).await.unwrap();
    kit.reaped().await;
}

async fn pushed(kit: &Kit, space: &Space, app: &App, value: &str) -> App {
    let push = touch(kit.a_push(space, app.name.app.as_str()), value);
    let change = app.clone().push(push, kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
    change.app
}

async fn a_history_goes_as_a_whole_once_its_time_is_up(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    kit.advance(30 * DAY);
    kit.cancelled(&task).await;
    deleted(&kit, &app).await;
    settled(&kit).await;
    kit.advance(7 * DAY);
    assert_eq!(trimmed(&kit, 7).await, 0, "not a moment too early, however old its first event is");
    kit.advance(1);
    assert_eq!(trimmed(&kit, 7).await, 3 + 3, "events of the task and of the app");
    assert_eq!(subjects(&kit, "s").await, BTreeSet::from([space.name.to_string()]));
}

async fn what_exists_keeps_its_whole_history(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &["0 0 * * *"]).await;
    kit.cancelled(&task).await;
    let gone = kit.an_app(&space, "b").await;
    deleted(&kit, &gone).await;
    settled(&kit).await;
    let before = kit.events("s").await.len();
    kit.advance(1000 * DAY);
    assert_eq!(trimmed(&kit, 7).await, 3, "of the app that is gone");
    assert_eq!(kit.events("s").await.len(), before - 3);
    let kept = subjects(&kit, "s").await;
    for kind in [task.name.to_string(), app.name.to_string(), "spaces/s/jobs/j".into(), "spaces/s".into()] {
        assert!(kept.contains(&kind), "{kind}");
    }
}

async fn what_the_bus_does_not_have_yet_is_kept(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    // Nothing is in it, so it goes at once.
    kit.delete_app(&app, false).await.unwrap();
    while kit.store.feed_assign(1000).await.unwrap() > 0 {}
    kit.advance(1000 * DAY);
    assert_eq!(trimmed(&kit, 7).await, 0);
    settled(&kit).await;
    assert_eq!(trimmed(&kit, 7).await, 0, "its time is counted from when the bus had it");
    kit.advance(7 * DAY + 1);
    assert_eq!(trimmed(&kit, 7).await, 3);
}

async fn two_reapers_trim_thousands_of_events_in_batches(kit: Kit) {
    let space = kit.a_space("s").await;
    let (gone, kept) = (kit.an_app(&space, "gone").await, kit.an_app(&space, "kept").await);
    for app in [&gone, &kept] {
        for _ in 0..400 {
            let task = kit.a_task(&space, app).await;
            kit.cancelled(&task).await;
        }
    }
    deleted(&kit, &gone).await;
    settled(&kit).await;
    kit.advance(8 * DAY);
    let reaper = || async {
        let mut all = 0;
        loop {
            let some = kit.store.histories_trim(ago(&kit, 7), 90).await.unwrap();
            assert!(some <= 90);
            if some == 0 {
                return all;
            }
            all += some;
        }
    };
    let (one, other) = tokio::join!(reaper(), reaper());
    assert_eq!(one + other, 400 * 3 + 3);
    assert_eq!(kit.events("s").await.len(), 1 + 1 + 400 * 2, "what is kept is the space, the app, and its tasks");
}

async fn a_reader_who_missed_something_is_told(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    kit.cancelled(&task).await;
    settled(&kit).await;
    let first = kit.store.feed_read(&feed("s"), FeedMark::START, 1).await.unwrap()[0].0;
    let behind = FeedMark::behind(kit.store.feed_head().await.unwrap());
    deleted(&kit, &app).await;
    settled(&kit).await;
    let head = FeedMark::behind(kit.store.feed_head().await.unwrap());
    kit.advance(8 * DAY);
    trimmed(&kit, 7).await;
    let kept = kit.an_app(&space, "b").await;
    settled(&kit).await;
    for mark in [first, behind, FeedMark::behind(1)] {
        assert!(matches!(kit.store.feed_reaches(&name("s"), mark).await, Err(StoreError::Trimmed)), "{mark:?}");
        assert!(matches!(kit.store.feed_read(&feed("s"), mark, 10).await, Err(StoreError::Trimmed)), "{mark:?}");
    }
    assert_eq!(kit.store.feed_read(&feed("s"), head, 10).await.unwrap().len(), 1, "{}", kept.name);
    // Who begins anew sees what is kept, and may go on from anywhere in it.
    let anew = kit.store.feed_read(&feed("s"), FeedMark::START, 10).await.unwrap();
    assert_eq!(anew.len(), 2);
    kit.store.feed_reaches(&name("s"), anew[0].0).await.unwrap();
    assert_eq!(kit.store.feed_read(&feed("s"), anew[0].0, 10).await.unwrap(), anew[1..]);
}

async fn a_reader_of_a_space_that_was_not_trimmed_goes_on(kit: Kit) {
    let (_, app, task) = kit.the_usual().await;
    kit.a_space("quiet").await;
    settled(&kit).await;
    let quiet = kit.store.feed_read(&feed("quiet"), FeedMark::START, 1).await.unwrap()[0].0;
    kit.cancelled(&task).await;
    deleted(&kit, &app).await;
    settled(&kit).await;
    kit.advance(8 * DAY);
    assert!(trimmed(&kit, 7).await > 0);
    kit.store.feed_reaches(&name("quiet"), quiet).await.unwrap();
}

async fn a_request_is_recognised_until_its_tasks_history_goes(kit: Kit) {
    let space = kit.a_space("s").await;
    let (app, other) = (kit.an_app(&space, "a").await, kit.an_app(&space, "b").await);
    let key = |text: &str| Some(RequestKey { principal: "anna".into(), key: text.into(), hash: [1; 32] });
    let (gone, kept): (Task, Task) = (
        kit.store.task_accept(kit.a_birth(&space, &app), key("gone")).await.unwrap().task,
        kit.store.task_accept(kit.a_birth(&space, &other), key("kept")).await.unwrap().task,
    );
    let again = async |app: &App, uid: TaskUid, text: &str| {
        kit.store.task_accept(kit.a_birth_as(uid, &space, app, asked(app)), key(text)).await
    };
    kit.cancelled(&gone).await;
    deleted(&kit, &app).await;
    settled(&kit).await;
    kit.advance(DAY - 1);
    trimmed(&kit, 1).await;
    let app = kit.an_app(&space, "a").await;
    let recognised = again(&app, gone.uid, "gone").await.unwrap_err();
    assert!(matches!(&recognised, StoreError::NotFound(name) if *name == gone.name.to_string()), "{recognised}");
    kit.advance(2);
    trimmed(&kit, 1).await;
    assert!(!again(&app, gone.uid, "gone").await.unwrap().repeated, "it is a new request by now");
    kit.advance(1000 * DAY);
    trimmed(&kit, 1).await;
    assert_eq!(again(&other, kept.uid, "kept").await.unwrap().task.uid, kept.uid);
}

async fn sessions_go_a_day_after_their_end_unless_they_hold_something(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let holds = kit.a_session("holds").await;
    assert_eq!(kit.store.work_claim(holds.uid, 1).await.unwrap(), 1);
    kit.made(&task).await;
    let gone = kit.a_session("gone").await;
    for session in [&holds, &gone] {
        kit.store.session_close(session.uid).await.unwrap();
    }
    let open = kit.a_session("open").await;
    kit.advance(DAY);
    assert_eq!(kit.store.sessions_trim(ago(&kit, 1), 10).await.unwrap(), 0);
    kit.advance(1);
    assert_eq!(kit.store.sessions_trim(ago(&kit, 1), 10).await.unwrap(), 1);
    let late = |session: &taskplane_domain::session::Session| kit.store.session_heartbeat(session.uid, LEASE);
    assert!(matches!(late(&gone).await, Err(StoreError::NotFound(_))));
    assert!(matches!(late(&holds).await, Err(StoreError::Fenced)));
    late(&open).await.unwrap();
    assert_eq!(kit.store.task_owner(task.uid).await.unwrap().unwrap().0.uid, holds.uid);
}

async fn old_runs_go_but_for_what_keeps_a_tick_from_being_repeated(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    for (job, cron) in [("daily", "0 12 * * *"), ("once", "0 12 1 1 *")] {
        a_job(&kit, &app, job, ConcurrencyPolicy::Always, &[cron]).await;
    }
    for _ in 0..5 {
        kit.advance(DAY);
        drain(&kit.store, 10).await;
    }
    let runs = async |job: &str| {
        let runs = kit.store.job_runs_list(&job_name(job), None, 100).await.unwrap();
        runs.iter().map(|run| run.tick.as_ref().unwrap().at.strftime("%d").to_string()).collect::<Vec<_>>()
    };
    assert_eq!((runs("daily").await.len(), runs("once").await.len()), (5, 1));
    kit.store.ledger_trim(ago(&kit, 2), 100).await.unwrap();
    assert_eq!(runs("daily").await, ["05", "04", "03"]);
    assert_eq!(runs("once").await, ["01"], "the newest entry of a schedule stays");
    kit.advance(1000 * DAY);
    kit.store.ledger_trim(kit.now(), 100).await.unwrap();
    assert_eq!(runs("daily").await, ["05"]);
    // A mark that fell behind its entries, as after a failover: the entry stands for it.
    kit.execute("UPDATE schedules SET mark = 0").await;
    kit.store.ledger_trim(kit.now(), 100).await.unwrap();
    assert_eq!((runs("daily").await.len(), runs("once").await.len()), (1, 1));
}

async fn a_revision_stays_while_a_task_has_it(kit: Kit) {
    let space = kit.a_space("s").await;
    let mut app = kit.an_app(&space, "a").await;
    let other = kit.an_app(&space, "b").await;
    let mut tasks = Vec::new();
    for revision in 1..=5 {
        if revision % 2 == 0 {
            let task = kit.a_task(&space, &app).await;
            tasks.push(kit.cancelled(&task).await);
        }
        app = pushed(&kit, &space, &app, &revision.to_string()).await;
    }
    let trim = async || {
        let (mut last, mut passes) = (None, 0);
        loop {
            last = kit.store.app_revisions_trim(last, 1).await.unwrap();
            passes += 1;
            if last.is_none() {
                return passes;
            }
        }
    };
    let there = async || {
        let mut there = Vec::new();
        for revision in 1..=6 {
            if kit.store.app_spec(app.uid, revision).await.is_ok() {
                there.push(revision);
            }
        }
        there
    };
    assert_eq!(there().await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(trim().await, 2, "only apps with old revisions are looked at");
    assert_eq!(there().await, [2, 4, 6]);
    kit.store.app_spec(other.uid, 1).await.unwrap();
    let claimed = kit.a_task(&space, &app).await;
    assert_eq!(claimed.app_revision, 6);
}

async fn an_environment_stays_while_a_task_has_it_or_may_get_it(kit: Kit) {
    let mut space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let early = kit.a_birth(&space, &app);
    for (number, value) in ["one", "two", "three"].into_iter().enumerate() {
        if number == 1 {
            kit.a_task(&space, &app).await;
        }
        kit.advance(600);
        let settings = taskplane_domain::space::SpaceSettings { env: env(&[("S", value)]), ..space.settings.clone() };
        let change = space.clone().update(settings, kit.now()).unwrap();
        kit.store.space_update(&change).await.unwrap();
        space = change.space;
    }
    let there = async || {
        let mut there = Vec::new();
        for revision in 1..=4 {
            if kit.store.space_env(space.uid, revision).await.is_ok() {
                there.push(revision);
            }
        }
        there
    };
    let trim = async || {
        let before = kit.now() - SignedDuration::from_hours(1);
        let mut last = None;
        loop {
            last = kit.store.space_envs_trim(last, before, 1).await.unwrap();
            if last.is_none() {
                return;
            }
        }
    };
    kit.advance(2400);
    trim().await;
    assert_eq!(there().await, [1, 2, 3, 4], "a task that was born on one of them may still be on its way");
    kit.advance(1);
    trim().await;
    assert_eq!(there().await, [2, 3, 4]);
    kit.advance(DAY);
    trim().await;
    assert_eq!(there().await, [2, 4]);
    let late = kit.store.task_accept(early, None).await.unwrap_err();
    assert!(matches!(late, StoreError::Conflict(_)), "one that comes later must be born anew: {late}");
}
