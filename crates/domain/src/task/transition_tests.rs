use super::*;

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use crate::app::{App, Command, Push, Source};
use crate::env::Env;
use crate::label::Labels;
use crate::quantity::Resources;
use crate::space::{Space, SpaceSettings};
use crate::task::{Class, Override, RetryPolicy, RunTask};
use crate::uid::{AppUid, SpaceUid, TaskUid};

pub(in crate::task) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(in crate::task) fn run() -> RunUid {
    RunUid("run-1".into())
}

fn app(command: Option<&str>) -> (Space, App) {
    let settings = SpaceSettings::default();
    let space = Space::create(SpaceUid(Uuid::nil()), "spaces/s".parse().unwrap(), settings, at(0)).space;
    let push = Push {
        name: "spaces/s/apps/a".parse().unwrap(),
        source: Some(Source::Image("img".into())),
        command: Some(command.map(|text| Command::stored(text.into()))),
        env: Env::default(),
        replace_env: false,
        unset_env: Vec::new(),
        resources: Resources::default(),
        services: Vec::new(),
        task_retention_count: None,
        placement: None,
    };
    let app = App::create(AppUid(Uuid::nil()), space.uid, push, at(0)).unwrap().app;
    (space, app)
}

fn asked(command: Option<&str>, retry: RetryPolicy) -> RunTask {
    RunTask {
        app: "spaces/s/apps/a".parse().unwrap(),
        display_name: None,
        overrides: Override {
            command: command.map(|text| Command::stored(text.into())),
            env: Env::default(),
            resources: Resources::default(),
        },
        timeout: None,
        retry,
        labels: Labels::new(),
        request_id: None,
    }
}

pub(in crate::task) fn task_with(retry: RetryPolicy) -> Task {
    let (space, app) = app(Some("true"));
    let uid = TaskUid(Uuid::from_u128(1));
    Task::create(uid, &space, &app, asked(None, retry), "here".parse().unwrap(), None, at(1))
        .unwrap()
        .numbered(7)
        .into_task()
}

pub(in crate::task) fn pending() -> Task {
    task_with(RetryPolicy::default())
}

pub(in crate::task) fn starting() -> Task {
    pending().made(run(), Vec::new(), Guard::Off, at(2)).unwrap().unwrap().into_task()
}

pub(in crate::task) fn running() -> Task {
    starting().started(&run(), at(3), at(3)).unwrap().unwrap().into_task()
}

fn ended(cause: EndCause, code: Option<i32>, signal: Option<i32>) -> Fate {
    Fate::Ended(RunEnd {
        cause,
        exit: Exit { code, signal },
        started_at: Some(at(3)),
        finished_at: at(4),
        message: String::new(),
    })
}

fn over(task: Task, fate: Fate) -> Transition {
    task.over(&run(), fate, at(5)).unwrap().unwrap()
}

#[test]
fn a_task_runs_its_own_command_else_the_apps() {
    let (space, app) = app(Some("of the app"));
    let create = |command| {
        let birth = Task::create(
            TaskUid(Uuid::nil()),
            &space,
            &app,
            asked(command, RetryPolicy::default()),
            "c".parse().unwrap(),
            None,
            at(1),
        );
        birth.unwrap().task().spec.command.as_str().to_owned()
    };
    assert_eq!(create(Some("its own")), "its own");
    assert_eq!(create(None), "of the app");
}

#[test]
fn a_task_without_any_command_is_refused_and_told_which_flag_to_set() {
    let (space, app) = app(None);
    let refused = Task::create(
        TaskUid(Uuid::nil()),
        &space,
        &app,
        asked(None, RetryPolicy::default()),
        "c".parse().unwrap(),
        None,
        at(1),
    );
    let invalid = refused.unwrap_err();
    assert_eq!(invalid.violations[0].field, "command");
    assert!(invalid.to_string().contains("--command"));
}

#[test]
fn a_pending_task_is_cancelled_at_once() {
    let cancelled = pending().cancel(at(2)).unwrap();
    assert_eq!(cancelled.task().state.kind(), StateKind::Cancelled);
    assert!(cancelled.ended().is_none(), "no attempt had begun");
}

#[test]
fn a_started_task_is_cancelled_only_when_it_is_gone() {
    for task in [starting(), running()] {
        let asked = task.cancel(at(3)).unwrap();
        assert_eq!(asked.task().state.kind(), StateKind::Cancelling);
        assert!(!asked.releases(), "its session must still end it");
        let gone = over(asked.into_task(), ended(EndCause::Cancel, Some(0), None));
        assert_eq!(gone.task().state.kind(), StateKind::Cancelled);
    }
}

#[test]
fn cancelling_twice_or_too_late_changes_nothing() {
    let asked = running().cancel(at(3)).unwrap().into_task();
    assert!(asked.cancel(at(4)).is_none());
    assert!(over(running(), ended(EndCause::Natural, Some(0), None)).into_task().cancel(at(6)).is_none());
}

#[test]
fn a_natural_end_that_wins_the_race_stays_what_it_was() {
    let cancelling = running().cancel(at(3)).unwrap().into_task();
    assert_eq!(
        over(cancelling.clone(), ended(EndCause::Natural, Some(0), None)).task().state.kind(),
        StateKind::Succeeded
    );
    assert_eq!(over(cancelling, ended(EndCause::Natural, Some(2), None)).task().state.kind(), StateKind::Failed);
}

#[test]
fn every_end_has_its_reason() {
    for (fate, reason) in [
        (ended(EndCause::Natural, Some(3), None), Reason::ExitCode),
        (ended(EndCause::Natural, None, Some(9)), Reason::Signalled),
        (ended(EndCause::Natural, None, None), Reason::Lost),
        (ended(EndCause::Timeout, Some(143), None), Reason::TimedOut),
        (ended(EndCause::OutOfMemory, None, Some(9)), Reason::OutOfMemory),
        (ended(EndCause::OutOfMemory, Some(137), None), Reason::OutOfMemory),
        (ended(EndCause::OutOfMemory, Some(255), None), Reason::OutOfMemory),
        (ended(EndCause::OutOfMemory, Some(3), None), Reason::ExitCode),
        (ended(EndCause::DiskQuota, Some(143), None), Reason::DiskQuotaExceeded),
        (Fate::Lost { message: "gone".into() }, Reason::Lost),
    ] {
        let task = over(running(), fate).into_task();
        let TaskState::Finished { outcome, .. } = task.state else { panic!("not over") };
        assert_eq!(outcome.reason(), Some(reason));
        if [Reason::TimedOut, Reason::OutOfMemory, Reason::DiskQuotaExceeded].contains(&reason) {
            assert_eq!(outcome.exit().code, None, "a code that our signal caused is not the command's own");
        }
    }
}

#[test]
fn a_run_that_never_started_waits_again_as_the_same_attempt() {
    let again = over(starting(), Fate::NeverStarted);
    assert_eq!((again.task().state.kind(), again.task().attempt), (StateKind::Pending, 1));
    assert!(again.ended().is_none());
    let cancelling = starting().cancel(at(3)).unwrap().into_task();
    assert_eq!(over(cancelling, Fate::NeverStarted).task().state.kind(), StateKind::Cancelled);
}

#[test]
fn a_retryable_end_with_attempts_left_waits_for_its_next_attempt() {
    let policy = RetryPolicy::parse(2, Some(Duration::from_secs(30)), vec![Class::User], false).unwrap();
    let task = task_with(policy).made(run(), Vec::new(), Guard::Off, at(2)).unwrap().unwrap().into_task();
    let failed = over(task, ended(EndCause::Natural, Some(1), None));
    assert_eq!(failed.event().fact, Fact::TaskAttemptFailed);
    assert_eq!(failed.task().state, TaskState::Pending { not_before: Some(at(35)) });
    assert_eq!((failed.task().attempt, failed.ended().unwrap().number), (2, 1));
    assert!(failed.releases());
    let second =
        failed.into_task().made(RunUid("run-2".into()), Vec::new(), Guard::Off, at(40)).unwrap().unwrap().into_task();
    let last = second.over(&RunUid("run-2".into()), ended(EndCause::Natural, Some(1), None), at(41)).unwrap().unwrap();
    assert_eq!(last.task().state.kind(), StateKind::Failed);
}

#[test]
fn what_is_said_of_a_task_stays_until_a_later_run_says_otherwise() {
    let said = |reason: &str| vec![Condition::unmet("MemoryLimitEnforced", reason, "")];
    let retry = RetryPolicy::parse(2, None, vec![Class::User], false).unwrap();
    let made = task_with(retry).made(run(), said("First"), Guard::Off, at(2)).unwrap().unwrap().into_task();
    assert_eq!(made.conditions, said("First"));
    let started = made.started(&run(), at(3), at(3)).unwrap().unwrap().into_task();
    let again = over(started, ended(EndCause::Natural, Some(1), None)).into_task();
    assert_eq!((again.attempt, &again.conditions), (2, &said("First")));
    let other = RunUid("run-2".into());
    let made = again.made(other.clone(), said("Second"), Guard::Off, at(20)).unwrap().unwrap().into_task();
    let repeated = made.clone().made(other.clone(), said("Third"), Guard::Off, at(21)).unwrap();
    assert!(repeated.is_none(), "the run was known already");
    let over = made.over(&other, ended(EndCause::Natural, Some(0), None), at(22)).unwrap().unwrap().into_task();
    assert_eq!((over.state.kind(), over.conditions), (StateKind::Succeeded, said("Second")));
}

#[test]
fn what_nobody_saw_is_never_retried_by_default() {
    let policy =
        RetryPolicy::parse(5, None, vec![Class::User, Class::Infrastructure, Class::Configuration], false).unwrap();
    let task = task_with(policy).made(run(), Vec::new(), Guard::Off, at(2)).unwrap().unwrap().into_task();
    assert_eq!(over(task, Fate::Lost { message: String::new() }).task().state.kind(), StateKind::Failed);
}

#[test]
fn a_cancelled_task_is_never_retried() {
    let policy = RetryPolicy::parse(5, None, vec![Class::User], false).unwrap();
    let task = task_with(policy)
        .made(run(), Vec::new(), Guard::Off, at(2))
        .unwrap()
        .unwrap()
        .into_task()
        .cancel(at(3))
        .unwrap()
        .into_task();
    assert_eq!(over(task, ended(EndCause::Natural, Some(1), None)).task().state.kind(), StateKind::Failed);
}

#[test]
fn repeated_reports_are_known_already() {
    assert!(starting().made(run(), Vec::new(), Guard::Off, at(9)).unwrap().is_none());
    assert!(running().made(run(), Vec::new(), Guard::Off, at(9)).unwrap().is_none());
    assert!(running().started(&run(), at(3), at(9)).unwrap().is_none());
    let done = over(running(), ended(EndCause::Natural, Some(0), None)).into_task();
    assert!(done.over(&run(), ended(EndCause::Natural, Some(1), None), at(9)).unwrap().is_none());
}

#[test]
fn reports_of_another_run_are_refused() {
    let other = RunUid("run-other".into());
    assert!(starting().made(other.clone(), Vec::new(), Guard::Off, at(9)).is_err());
    assert!(starting().started(&other, at(9), at(9)).is_err());
    assert!(running().over(&other, Fate::NeverStarted, at(9)).is_err());
    assert!(pending().over(&other, Fate::NeverStarted, at(9)).is_err());
}

#[test]
fn only_what_is_over_can_be_removed() {
    assert!(running().remove(at(9)).is_err());
    let done = over(running(), ended(EndCause::Natural, Some(0), None)).into_task();
    assert_eq!(done.remove(at(9)).unwrap().event().fact, Fact::TaskRemoved);
}

fn observation() -> impl Strategy<Value = Option<Observed>> {
    let some_run = prop_oneof![4 => Just(run()), 1 => Just(RunUid("stale".into()))];
    let fate = prop_oneof![
        Just(Fate::NeverStarted),
        Just(Fate::Lost { message: String::new() }),
        (any::<bool>(), prop_oneof![Just(Some(0)), Just(Some(1)), Just(None)]).prop_map(|(natural, code)| ended(
            if natural { EndCause::Natural } else { EndCause::Cancel },
            code,
            None
        )),
    ];
    prop_oneof![
        Just(None),
        some_run.clone().prop_map(|run| Some(Observed::Made { run, conditions: Vec::new(), guarded: false })),
        some_run.clone().prop_map(|run| Some(Observed::Started { run, at: at(3) })),
        (some_run, fate).prop_map(|(run, fate)| Some(Observed::Over { run, fate })),
        Just(Some(Observed::NotMade { reason: Reason::StartFailed, message: String::new() })),
    ]
}

proptest! {
    /// Whatever is reported, in whatever order: a change is one version and one event, and final is final.
    #[test]
    fn no_history_breaks_the_rules(history in prop::collection::vec(observation(), 0..40), attempts in 1_i64..4) {
        let policy = RetryPolicy::parse(attempts, None, vec![Class::User, Class::Infrastructure], false).unwrap();
        let mut task = task_with(policy);
        let mut finals = 0;
        for seen in history {
            let before = task.clone();
            let step = match seen {
                None => task.clone().cancel(at(9)),
                Some(seen) => task.clone().observe(seen, at(9)).unwrap_or_default(),
            };
            let Some(step) = step else { continue };
            prop_assert!(!before.state.kind().is_final(), "a final state changed");
            prop_assert_eq!(step.task().version, before.version + 1);
            prop_assert_eq!(step.event().sequence, step.task().version);
            prop_assert_eq!(step.from(), Some(before.state.kind()));
            prop_assert!(step.task().attempt <= u32::try_from(attempts).unwrap());
            prop_assert_eq!(step.task().attempt > before.attempt, step.event().fact == Fact::TaskAttemptFailed);
            finals += u32::from(step.task().state.kind().is_final());
            task = step.into_task();
        }
        prop_assert!(finals <= 1);
    }
}
