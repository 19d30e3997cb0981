//! Changes of Tasks.

use std::time::Duration;

use jiff::SignedDuration;
use taskplane_domain::invalid::Invalid;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::{EndCause, Fate, Observed, RunEnd};
use taskplane_domain::space::ResourceRules;
use taskplane_domain::task::{
    Class, Condition, ConditionStatus, Reason, RetryPolicy, RunTask, StateKind, Task, TaskState, Wait, WaitReason,
};
use taskplane_domain::uid::{Fence, SessionUid, TaskUid};
use taskplane_store::StoreError;
use tokio::task::JoinSet;

use crate::kit::{Kit, asked, cancel, run_of};

crate::on_both_engines![
    every_state_comes_back_as_it_was_written,
    what_is_said_of_a_task_is_kept_with_it,
    what_a_task_waits_for_and_of_which_class_its_end_was_is_kept,
    a_task_keeps_what_its_space_gave_it_and_the_next_one_gets_what_it_gives_now,
    every_change_is_one_version_and_one_event,
    of_many_changes_of_one_version_one_is_made,
    a_change_of_an_unknown_task_finds_nothing,
    attempts_that_ended_are_kept,
    a_report_needs_the_session_and_its_fence,
    a_report_on_an_old_version_is_a_conflict,
    a_task_that_is_over_is_nobodys,
];

async fn stored(kit: &Kit, task: &Task) {
    assert_eq!(&kit.store.task_get_by_uid(task.uid).await.unwrap(), task);
}

async fn what_a_task_waits_for_and_of_which_class_its_end_was_is_kept(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let task = kit.made(&task).await;
    let wait = Wait::new(WaitReason::QuotaExceeded, "pods=0");
    let waits = kit.observed(&task, Observed::Waits { run: run_of(&task), wait }).await;
    assert_eq!(waits.state.waiting().unwrap().wait.message, "pods=0");
    stored(&kit, &waits).await;
    let given_up = waits.clone().give_up_starting(kit.now()).unwrap();
    kit.store.task_commit(&given_up).await.unwrap();
    stored(&kit, given_up.task()).await;
    let cause = EndCause::Platform { reason: Reason::ImagePull, class: Class::Configuration };
    let Observed::Over { run, fate: Fate::Ended(end) } = kit.end(&waits, 1) else { panic!("an end") };
    let ended = kit.observed(given_up.task(), Observed::Over { run, fate: Fate::Ended(RunEnd { cause, ..end }) }).await;
    stored(&kit, &ended).await;
    let attempts = kit.store.task_attempts(ended.uid).await.unwrap();
    let (_, outcome) = attempts[0].end.as_ref().unwrap();
    assert_eq!((outcome.reason(), outcome.class()), (Some(Reason::ImagePull), Some(Class::Configuration)));
}

async fn a_task_keeps_what_its_space_gave_it_and_the_next_one_gets_what_it_gives_now(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    let mut silent = asked(&app);
    (silent.overrides.resources, silent.timeout) = (Resources::default(), None);
    let accept = async |asked: RunTask| {
        let space = kit.store.space_get(&space.name).await.unwrap();
        let birth = Task::create(TaskUid(kit.uid()), &space, &app, asked, "local".parse().unwrap(), None, kit.now());
        let task = kit.store.task_accept(birth?, None).await.unwrap().task;
        Ok::<_, Invalid>(kit.store.task_get_by_uid(task.uid).await.unwrap().spec)
    };
    let said = |memory: &str, cpu: &str| Resources { memory: memory.parse().ok(), disk: None, cpu: cpu.parse().ok() };
    let first = accept(silent.clone()).await.unwrap();
    assert_eq!((first.resources, first.timeout), (said("64M", "100m"), Some(Duration::from_secs(3600))));

    let mut settings = space.settings.clone();
    settings.resources = ResourceRules { min: said("128M", ""), max: said("256M", "2"), ..ResourceRules::default() };
    settings.default_timeout = None;
    kit.store.space_update(&space.clone().update(settings, kit.now()).unwrap()).await.unwrap();
    let second = accept(silent.clone()).await.unwrap();
    assert_eq!((second.resources, second.timeout), (said("256M", "2"), None), "no default, so the maximum");
    silent.overrides.resources = said("64M", "");
    let refused = accept(silent).await.unwrap_err().to_string();
    assert_eq!(refused, "resources.memory: must be at least 128Mi, the Space's minimum, and is 64Mi");
}

async fn every_state_comes_back_as_it_was_written(kit: Kit) {
    let (space, app, pending) = kit.the_usual().await;
    stored(&kit, &pending).await;
    let made = kit.made(&pending).await;
    stored(&kit, &made).await;
    let running = kit.observed(&made, Observed::Started { run: run_of(&made), at: kit.now() }).await;
    stored(&kit, &running).await;
    let cancelling = kit.cancelled(&running).await;
    stored(&kit, &cancelling).await;
    stored(&kit, &kit.observed(&cancelling, Observed::Over { run: run_of(&made), fate: Fate::NeverStarted }).await)
        .await;
    let starting = kit.made(&kit.a_task(&space, &app).await).await;
    stored(&kit, &kit.cancelled(&starting).await).await;
    for code in [0, 3] {
        let running = kit.running(&kit.a_task(&space, &app).await).await;
        stored(&kit, &kit.observed(&running, kit.end(&running, code)).await).await;
    }
    let running = kit.running(&kit.a_task(&space, &app).await).await;
    let lost = Fate::Lost { message: "nobody saw it".into() };
    stored(&kit, &kit.observed(&running, Observed::Over { run: run_of(&running), fate: lost }).await).await;
    let pending = kit.a_task(&space, &app).await;
    let not_made = Observed::NotMade { reason: Reason::SourceInvalid, message: "no such file".into() };
    stored(&kit, &kit.observed(&pending, not_made).await).await;
    stored(&kit, &kit.cancelled(&kit.a_task(&space, &app).await).await).await;
}

async fn what_is_said_of_a_task_is_kept_with_it(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let conditions = vec![
        Condition::unmet("SecurityGroupsEnforced", "LocalProcesses", "db is not enforced: \"nothing\" of it"),
        Condition { status: ConditionStatus::Unknown, ..Condition::unmet("MemoryLimitEnforced", "NoCgroup", "") },
        Condition { status: ConditionStatus::True, ..Condition::unmet("DiskLimitEnforced", "Measured", "") },
    ];
    let made = kit
        .observed(&task, Observed::Made { run: run_of(&task), conditions: conditions.clone(), guarded: false })
        .await;
    stored(&kit, &made).await;
    assert_eq!(made.conditions, conditions);
    let over = kit.observed(&kit.cancelled(&made).await, kit.end(&made, 0)).await;
    assert_eq!(kit.store.task_get_by_uid(over.uid).await.unwrap().conditions, conditions);
    // As an earlier release left it, and of whom nothing is said.
    let other = kit.made(&kit.a_task(&space, &app).await).await;
    kit.execute("UPDATE tasks SET conditions = NULL").await;
    stored(&kit, &other).await;
}

async fn every_change_is_one_version_and_one_event(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let running = kit.running(&task).await;
    let cancelling = kit.cancelled(&running).await;
    let over = kit.observed(&cancelling, kit.end(&task, 0)).await;
    assert_eq!(over.version, 5);
    let events = kit.events("s").await;
    let told: Vec<_> = events.iter().map(|(_, event)| event).filter(|event| event.uid == task.uid.0).collect();
    assert_eq!(told.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let facts: Vec<_> = told.iter().map(|event| event.fact.as_str()).collect();
    assert_eq!(facts, ["requested", "starting", "started", "cancel-requested", "succeeded"]);
    // As it was born, with its trace.
    let step = cancelling.observe(kit.end(&task, 0), kit.now()).unwrap().unwrap();
    assert_eq!(told[4], step.event());
    assert_eq!(told[4].trace.as_deref(), Some("00-trace-01"));
}

async fn of_many_changes_of_one_version_one_is_made(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let (store, step) = (kit.store.clone(), cancel(&task, kit.now()));
        calls.spawn(async move { store.task_commit(&step).await });
    }
    let results = calls.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let lost = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::Conflict(_)));
    assert_eq!(results.iter().filter(lost).count(), 31);
    let told = kit.events("s").await.iter().filter(|(_, event)| event.uid == task.uid.0).count();
    assert_eq!(told, 2);
}

async fn a_change_of_an_unknown_task_finds_nothing(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    let task = kit.a_birth(&space, &app).task().clone();
    let refused = kit.store.task_commit(&cancel(&task, kit.now())).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotFound(_)));
}

async fn attempts_that_ended_are_kept(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    let retry = RetryPolicy::parse(3, Some(Duration::from_secs(60)), vec![Class::User], false).unwrap();
    let birth = kit.a_birth_as(TaskUid(kit.uid()), &space, &app, RunTask { retry, ..asked(&app) });
    let task = kit.store.task_accept(birth, None).await.unwrap().task;
    let running = kit.running(&task).await;
    let first = running.clone().observe(kit.end(&task, 7), kit.now()).unwrap().unwrap();
    kit.store.task_commit(&first).await.unwrap();
    let waiting = kit.store.task_get_by_uid(task.uid).await.unwrap();
    let TaskState::Pending { not_before: Some(due) } = waiting.state else { panic!("{:?}", waiting.state) };
    assert_eq!(due.duration_since(kit.now()), SignedDuration::from_secs(60));
    let running = kit.running(&waiting).await;
    let second = running.clone().observe(kit.end(&waiting, 0), kit.now()).unwrap().unwrap();
    kit.store.task_commit(&second).await.unwrap();
    let attempts = kit.store.task_attempts(task.uid).await.unwrap();
    assert_eq!(attempts, [first.ended().unwrap().clone(), second.ended().unwrap().clone()]);
    assert_eq!(kit.store.task_get_by_uid(task.uid).await.unwrap().state.kind(), StateKind::Succeeded);
}

async fn a_report_needs_the_session_and_its_fence(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let session = kit.a_session("e").await;
    assert_eq!(kit.store.work_claim(session.uid, 10).await.unwrap(), 1);
    let made = |task: &Task| {
        let seen = Observed::Made { run: run_of(task), conditions: Vec::new(), guarded: false };
        task.clone().observe(seen, kit.now()).unwrap().unwrap()
    };
    for (uid, fence) in [(session.uid, 0), (session.uid, 2), (SessionUid(kit.uid()), 1)] {
        let refused = kit.store.task_report(&made(&task), uid, Fence(fence)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Fenced));
    }
    stored(&kit, &task).await;
    kit.store.task_report(&made(&task), session.uid, Fence(1)).await.unwrap();
    let (owner, fence) = kit.store.task_owner(task.uid).await.unwrap().unwrap();
    assert_eq!((owner, fence), (session, Fence(1)));
}

async fn a_report_on_an_old_version_is_a_conflict(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let session = kit.a_session("e").await;
    kit.store.work_claim(session.uid, 10).await.unwrap();
    let made = kit.made(&task).await;
    let started = Observed::Started { run: run_of(&made), at: kit.now() };
    let started = made.clone().observe(started, kit.now()).unwrap().unwrap();
    kit.store.task_commit(&cancel(&made, kit.now())).await.unwrap();
    let stale = kit.store.task_report(&started, session.uid, Fence(1)).await.unwrap_err();
    assert!(matches!(stale, StoreError::Conflict(_)));
}

async fn a_task_that_is_over_is_nobodys(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let session = kit.a_session("e").await;
    kit.store.work_claim(session.uid, 10).await.unwrap();
    let running = kit.running(&task).await;
    assert!(kit.store.task_owner(task.uid).await.unwrap().is_some());
    let step = running.clone().observe(kit.end(&task, 0), kit.now()).unwrap().unwrap();
    kit.store.task_report(&step, session.uid, Fence(1)).await.unwrap();
    assert!(kit.store.task_owner(task.uid).await.unwrap().is_none());
    assert!(kit.store.work_held(session.uid).await.unwrap().is_empty());
    let late = kit.store.task_report(&step, session.uid, Fence(1)).await.unwrap_err();
    assert!(matches!(late, StoreError::Fenced));
}
