//! Deletion: marked in one transaction, carried out in bounded steps, whoever else is at it.

use std::collections::BTreeMap;
use std::time::Duration;

use taskplane_domain::app::App;
use taskplane_domain::job::{ConcurrencyPolicy, RunJob, decide, run_now};
use taskplane_domain::space::Space;
use taskplane_domain::task::{StateKind, Task, TaskState};
use taskplane_domain::uid::{AppUid, TaskUid};
use taskplane_store::{Remains, StoreError, TaskQuery};

use crate::job_kit::{a_job, drain, job_name, new_job, tasks_of};
use crate::kit::{Kit, both, name};

crate::on_both_engines![
    an_app_goes_by_force_with_jobs_and_tasks_and_nothing_else_does,
    what_is_on_its_way_out_takes_nothing_in,
    thousands_of_tasks_go_in_bounded_steps,
    a_space_goes_by_force_with_all_that_is_in_it,
    runs_ticks_and_tasks_at_the_moment_of_a_deletion_leave_nothing,
    several_reapers_end_each_thing_once,
    a_live_task_goes_once_it_is_over,
    a_job_ends_the_rest_of_its_tasks_as_gently_as_it_was_asked_to,
    what_is_left_can_be_counted,
    an_app_that_cannot_be_read_does_not_hold_up_others,
];

const MINUTELY: &str = "* * * * *";

async fn delete_space(kit: &Kit, space: &Space) {
    let space = kit.store.space_get(&space.name).await.unwrap();
    kit.store.space_update(&space.delete(kit.now()).unwrap()).await.unwrap();
}

async fn all_tasks(kit: &Kit, space: &str) -> Vec<Task> {
    let query = TaskQuery {
        space: name(space),
        app: None,
        states: Vec::new(),
        job: None,
        newest_first: false,
        after: None,
        limit: 100_000,
    };
    kit.store.task_list(&query).await.unwrap()
}

/// Everything of the Space that has ended ended once, and said so last.
async fn assert_said_once(kit: &Kit, space: &str) -> usize {
    let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (_, event) in kit.events(space).await {
        told.entry(event.uid).or_default().push((event.sequence, event.fact.as_str()));
    }
    let mut ended = 0;
    for told in told.values() {
        assert!(told.iter().map(|(sequence, _)| *sequence).eq(1..=told.len() as u64), "{told:?}");
        let ends = told.iter().filter(|(_, fact)| ["removed", "deleted"].contains(fact)).count();
        assert!(ends <= 1, "{told:?}");
        assert!(ends == 0 || ["removed", "deleted"].contains(&told.last().unwrap().1), "{told:?}");
        ended += ends;
    }
    ended
}

/// Its runs end as their executor would end them.
async fn ended(kit: &Kit, tasks: &[Task]) {
    for task in tasks {
        let task = kit.store.task_get_by_uid(task.uid).await.unwrap();
        assert_eq!(task.state.kind(), StateKind::Cancelling, "{}", task.name);
        kit.observed(&task, kit.end(&task, 0)).await;
    }
}

async fn an_app_goes_by_force_with_jobs_and_tasks_and_nothing_else_does(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let other = kit.an_app(&space, "b").await;
    let beside = kit.running(&kit.a_task(&space, &other).await).await;
    kit.store.job_create(new_job(&kit, &other, "beside", ConcurrencyPolicy::Always, ("", &[MINUTELY]))).await.unwrap();
    a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[MINUTELY]).await;
    kit.advance(60);
    drain(&kit.store, 10).await;
    let running = kit.running(&kit.a_task(&space, &app).await).await;
    let done = kit.a_task(&space, &app).await;
    kit.cancelled(&done).await;
    assert!(matches!(kit.delete_app(&app, false).await, Err(StoreError::InUse { what, .. }) if what == "1 job"));

    kit.delete_app(&app, true).await.unwrap();
    kit.delete_app(&app, true).await.unwrap();
    kit.reaped().await;
    // What runs is waited for, and holds the App.
    assert_eq!(kit.store.task_get(&task.name).await.unwrap_err().to_string(), "spaces/s/apps/a/tasks/1 not found");
    kit.store.app_get(&app.name).await.unwrap();
    ended(&kit, std::slice::from_ref(&running)).await;
    kit.reaped().await;
    assert!(matches!(kit.store.app_get(&app.name).await, Err(StoreError::NotFound(_))));
    assert!(matches!(kit.store.job_get(&job_name("j")).await, Err(StoreError::NotFound(_))));
    assert!(matches!(kit.store.app_spec(app.uid, 1).await, Err(StoreError::NotFound(_))));
    assert_eq!(assert_said_once(&kit, "s").await, 1 + 1 + 4, "the app, its job, and four tasks");
    let mut left = all_tasks(&kit, "s").await;
    left.retain(|task| task.uid != beside.uid);
    assert!(left.iter().all(|task| task.name.app == name("b")), "{left:?}");
    assert_eq!(kit.store.task_get(&beside.name).await.unwrap(), beside);
    kit.advance(60);
    drain(&kit.store, 10).await;
    assert_eq!(tasks_of(&kit, Some(&job_name("beside"))).await.len(), 2);
}

async fn what_is_on_its_way_out_takes_nothing_in(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    kit.running(&task).await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[MINUTELY]).await;
    let scene = kit.store.job_scene(&job.name, name("local")).await.unwrap();
    let (birth, later) = (kit.a_birth(&space, &app), new_job(&kit, &app, "k", ConcurrencyPolicy::Always, ("", &[])));
    kit.delete_app(&app, true).await.unwrap();
    kit.advance(120);
    drain(&kit.store, 10).await;
    let deleting = |error: StoreError| assert!(matches!(&error, StoreError::AppDeleting(_)), "{error}");
    deleting(kit.store.task_accept(birth, None).await.unwrap_err());
    deleting(kit.store.job_create(later).await.unwrap_err());
    let run = run_now(scene, TaskUid(kit.uid()), RunJob::default(), None, kit.now()).unwrap();
    deleting(kit.store.job_commit(run, None).await.unwrap_err());
    assert_eq!(all_tasks(&kit, "s").await.len(), 1, "a tick fired");
    assert!(kit.store.ticks_next_due().await.unwrap().unwrap() > Duration::ZERO, "it is tried without end");

    delete_space(&kit, &space).await;
    let new = App::create(AppUid(kit.uid()), space.uid, kit.a_push(&space, "c"), kit.now()).unwrap();
    let refused = kit.store.app_create(&new).await.unwrap_err();
    assert!(matches!(&refused, StoreError::SpaceDeleting(_)), "{refused}");
}

async fn thousands_of_tasks_go_in_bounded_steps(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    for _ in 0..1300 {
        kit.a_task(&space, &app).await;
    }
    kit.delete_app(&app, true).await.unwrap();
    let (mut live, mut left) = (1300, 1300);
    while left > 0 {
        kit.reap().await;
        let remains = kit.store.app_remains(app.uid).await.unwrap();
        assert!(
            live - remains.live_tasks <= 200 && left - remains.tasks <= 1000,
            "{remains:?} after {live} and {left}"
        );
        (live, left) = (remains.live_tasks, remains.tasks);
    }
    kit.reaped().await;
    assert!(matches!(kit.store.app_get(&app.name).await, Err(StoreError::NotFound(_))));
    assert_eq!(assert_said_once(&kit, "s").await, 1301);
    assert_eq!(kit.store.removals_list(2000).await.unwrap().len(), 1300);
}

async fn a_space_goes_by_force_with_all_that_is_in_it(kit: Kit) {
    let (space, other) = (kit.a_space("s").await, kit.a_space("t").await);
    let beside = kit.running(&kit.a_task(&other, &kit.an_app(&other, "a").await).await).await;
    let mut running = Vec::new();
    for number in 0..60 {
        let app = kit.an_app(&space, &format!("a{number}")).await;
        kit.a_task(&space, &app).await;
        if number % 20 == 0 {
            a_job(&kit, &app, &format!("j{number}"), ConcurrencyPolicy::Always, &[MINUTELY]).await;
            running.push(kit.running(&kit.a_task(&space, &app).await).await);
        }
    }
    delete_space(&kit, &space).await;
    kit.reaped().await;
    assert_eq!(
        kit.store.space_remains(space.uid).await.unwrap(),
        Remains { apps: 3, jobs: 0, live_tasks: 3, tasks: 3 }
    );
    ended(&kit, &running).await;
    kit.reaped().await;
    assert!(matches!(kit.store.space_get(&space.name).await, Err(StoreError::NotFound(_))));
    assert_eq!(assert_said_once(&kit, "s").await, 1 + 60 + 3 + 63);
    assert_eq!(kit.store.task_get(&beside.name).await.unwrap(), beside);
    // The name is free, and what comes by it is another Space.
    let second = kit.a_space("s").await;
    kit.a_task(&second, &kit.an_app(&second, "a1").await).await;
    assert!(!kit.reap().await);
}

async fn runs_ticks_and_tasks_at_the_moment_of_a_deletion_leave_nothing(kit: Kit) {
    let space = kit.a_space("s").await;
    let (mut ran, mut accepted) = (0, 0);
    for round in 0..24 {
        let app = kit.an_app(&space, &format!("a{round}")).await;
        let text = format!("j{round}");
        let job = a_job(&kit, &app, &text, ConcurrencyPolicy::ALL[round % 3], &[MINUTELY]).await;
        kit.advance(60);
        let run = async {
            let scene = kit.store.job_scene(&job.name, name("local")).await.unwrap();
            let change = run_now(scene, TaskUid(kit.uid()), RunJob::default(), None, kit.now()).unwrap();
            kit.store.job_commit(change, None).await.is_ok()
        };
        let accept = kit.store.task_accept(kit.a_birth(&space, &app), None);
        let tick = kit.store.ticks_pass(10, name("local"), decide);
        let delete = async {
            while let Err(error) = kit.delete_app(&app, true).await {
                assert!(matches!(error, StoreError::Conflict(_)), "{error}");
            }
        };
        let news = async { tokio::join!(run, accept, tick) };
        let ((run, accept, tick), ()) = both(round % 2 == 0, news, delete).await;
        tick.unwrap();
        (ran, accepted) = (ran + u32::from(run), accepted + u32::from(accept.is_ok()));
        drain(&kit.store, 10).await;
        kit.reaped().await;
        assert!(matches!(kit.store.app_get(&app.name).await, Err(StoreError::NotFound(_))), "round {round}");
        kit.advance(600);
        assert_eq!(drain(&kit.store, 10).await, 1, "round {round}: something is due");
    }
    assert!(ran + accepted > 0, "the deletion was always first");
    assert_eq!(all_tasks(&kit, "s").await, []);
    assert!(kit.store.job_list(&space.name, None, 10).await.unwrap().is_empty());
    assert_said_once(&kit, "s").await;
}

async fn several_reapers_end_each_thing_once(kit: Kit) {
    let space = kit.a_space("s").await;
    for number in 0..10 {
        let app = kit.an_app(&space, &format!("a{number}")).await;
        a_job(&kit, &app, &format!("j{number}"), ConcurrencyPolicy::Always, &[MINUTELY]).await;
        for _ in 0..20 {
            kit.a_task(&space, &app).await;
        }
    }
    delete_space(&kit, &space).await;
    tokio::join!(kit.reaped(), kit.reaped(), kit.reaped());
    kit.reaped().await;
    assert!(matches!(kit.store.space_get(&space.name).await, Err(StoreError::NotFound(_))));
    assert_eq!(assert_said_once(&kit, "s").await, 1 + 10 + 10 + 200);
}

async fn a_live_task_goes_once_it_is_over(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let beside = kit.a_task(&space, &app).await;
    let running = kit.running(&task).await;
    let step = running.clone().cancel_within(Some(Duration::ZERO), kit.now());
    kit.store.task_delete(running.uid, step.as_ref()).await.unwrap();
    // Asked again, it is asked nothing more.
    kit.store.task_delete(running.uid, None).await.unwrap();
    kit.reaped().await;
    ended(&kit, &[running]).await;
    kit.reaped().await;
    assert!(matches!(kit.store.task_get(&task.name).await, Err(StoreError::NotFound(_))));
    assert_eq!(kit.store.task_get(&beside.name).await.unwrap(), beside);
    assert_eq!(assert_said_once(&kit, "s").await, 1);
}

async fn a_job_ends_the_rest_of_its_tasks_as_gently_as_it_was_asked_to(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    let job = a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[]).await;
    let mut running = Vec::new();
    for _ in 0..3 {
        let scene = kit.store.job_scene(&job.name, name("local")).await.unwrap();
        let change = run_now(scene, TaskUid(kit.uid()), RunJob::default(), None, kit.now()).unwrap();
        let task = kit.store.job_commit(change, None).await.unwrap().task.unwrap();
        running.push(kit.running(&task).await);
    }
    let view = kit.store.job_get(&job.name).await.unwrap();
    let grace = Duration::from_secs(7);
    // As the api does where there are too many for one transaction.
    let change = view.job.delete(&[], running[..1].to_vec(), grace, kit.now()).unwrap();
    kit.store.job_commit(change, None).await.unwrap();
    kit.reaped().await;
    for task in &running {
        let task = kit.store.task_get(&task.name).await.unwrap();
        assert!(matches!(task.state, TaskState::Cancelling { grace: Some(asked), .. } if asked == grace), "{task:?}");
    }
    let view = kit.store.job_get(&job.name).await.unwrap();
    assert_eq!(kit.store.job_remains(view.job.uid).await.unwrap().live_tasks, 3);
    ended(&kit, &running).await;
    kit.reaped().await;
    assert!(matches!(kit.store.job_get(&job.name).await, Err(StoreError::NotFound(_))));
}

async fn what_is_left_can_be_counted(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    kit.running(&task).await;
    a_job(&kit, &app, "j", ConcurrencyPolicy::Always, &[]).await;
    kit.cancelled(&kit.a_task(&space, &app).await).await;
    let app_has = Remains { apps: 0, jobs: 1, live_tasks: 1, tasks: 2 };
    assert_eq!(kit.store.app_remains(app.uid).await.unwrap(), app_has);
    assert_eq!(kit.store.space_remains(space.uid).await.unwrap(), Remains { apps: 1, ..app_has });
}

async fn an_app_that_cannot_be_read_does_not_hold_up_others(kit: Kit) {
    let space = kit.a_space("s").await;
    for text in ["bad", "good"] {
        let app = kit.an_app(&space, text).await;
        kit.a_task(&space, &app).await;
        kit.delete_app(&app, true).await.unwrap();
    }
    kit.execute("UPDATE tasks SET trace = 'x', reason = 'BAD_LUCK' WHERE app = 'bad'").await;
    kit.reaped().await;
    let left = kit.store.app_list(&space.name, None, 10).await;
    assert_eq!(left.unwrap().iter().map(|app| app.name.app.as_str()).collect::<Vec<_>>(), ["bad"]);
}
