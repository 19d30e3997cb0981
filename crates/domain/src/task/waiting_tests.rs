use std::time::Duration;

use super::*;
use crate::event::EventData;
use crate::run::{EndCause, Fate, Observed, RunEnd};
use crate::task::transition::tests::{at, pending, run, running, starting, task_with};
use crate::task::{Class, Exit, Outcome, Reason, RetryPolicy};

fn waits(reason: WaitReason, message: &str) -> Observed {
    Observed::Waits { run: run(), wait: Wait::new(reason, message) }
}

fn platform(reason: Reason, class: Class) -> Observed {
    let end = RunEnd {
        cause: EndCause::Platform { reason, class },
        exit: Exit::default(),
        started_at: None,
        finished_at: at(9),
        message: "it was so".to_owned(),
    };
    Observed::Over { run: run(), fate: Fate::Ended(end) }
}

#[test]
fn what_a_task_waits_for_is_one_change_and_the_same_again_is_none() {
    let step = starting().observe(waits(WaitReason::QuotaExceeded, "q"), at(3)).unwrap().unwrap();
    assert_eq!(step.event().fact, Fact::TaskWaiting);
    let EventData::Task(snapshot) = &step.event().data else { panic!("{step:?}") };
    assert_eq!(snapshot.waiting, Some(WaitReason::QuotaExceeded));
    let task = step.into_task();
    assert_eq!(task.version, starting().version + 1);
    assert_eq!(task.state.waiting().unwrap().since, at(3));
    assert!(task.clone().observe(waits(WaitReason::QuotaExceeded, "q"), at(4)).unwrap().is_none());
    assert!(task.observe(waits(WaitReason::Pulling, ""), at(5)).unwrap().is_some());
}

#[test]
fn nothing_waits_that_runs_or_is_not_made() {
    assert!(running().observe(waits(WaitReason::Pulling, ""), at(3)).unwrap().is_none());
    assert!(pending().observe(waits(WaitReason::Pulling, ""), at(3)).is_err());
    let other = Observed::Waits { run: RunUid("other".into()), wait: Wait::new(WaitReason::Pulling, "") };
    assert!(starting().observe(other, at(3)).is_err());
}

#[test]
fn a_start_forgets_what_it_waited_for() {
    let task = starting().observe(waits(WaitReason::Pulling, ""), at(3)).unwrap().unwrap().into_task();
    let task = task.observe(Observed::Started { run: run(), at: at(4) }, at(4)).unwrap().unwrap().into_task();
    assert_eq!(task.state.waiting(), None);
}

#[test]
fn a_task_that_is_given_up_says_what_it_waited_for() {
    let task = starting().observe(waits(WaitReason::QuotaExceeded, "pods=0"), at(3)).unwrap().unwrap().into_task();
    let task = task.give_up_starting(at(3600)).unwrap().into_task();
    let over = Observed::Over { run: run(), fate: Fate::NeverStarted };
    let task = task.observe(over, at(3601)).unwrap().unwrap().into_task();
    let TaskState::Finished { outcome: Outcome::Failed(failure), .. } = task.state else { panic!("{task:?}") };
    assert_eq!(failure.reason, Reason::StartDeadline);
    assert_eq!(
        failure.message,
        "the run was not started before its start deadline: it waited because a quota of its namespace is full: pods=0"
    );
}

#[test]
fn one_end_may_be_of_another_class_than_its_reasons_own_and_that_class_decides_on_a_retry() {
    let policy = || {
        let backoff = Some(Duration::from_secs(1));
        RetryPolicy::parse(3, backoff, vec![Class::Infrastructure], false).unwrap()
    };
    for (class, again) in [(Class::Infrastructure, true), (Class::Configuration, false), (Class::Unknown, false)] {
        let made = Observed::Made { run: run(), conditions: Vec::new(), guarded: false };
        let task = task_with(policy()).observe(made, at(1)).unwrap().unwrap().into_task();
        let step = task.observe(platform(Reason::ImagePull, class), at(9)).unwrap().unwrap();
        let retried = matches!(step.task().state, TaskState::Pending { .. });
        assert_eq!(retried, again, "{class:?}");
        let Some((_, Outcome::Failed(failure))) = &step.ended().unwrap().end else { panic!("{step:?}") };
        assert_eq!((failure.reason, failure.class, failure.message.as_str()), (Reason::ImagePull, class, "it was so"));
    }
}

#[test]
fn what_shows_late_is_noted_once_and_takes_the_place_of_what_was_said_of_its_kind() {
    let note =
        |reason: &str| Observed::Noted { run: run(), conditions: vec![Condition::unmet("StartedOnce", reason, "")] };
    let task = running().observe(note("PodReplaced"), at(3)).unwrap().unwrap().into_task();
    assert_eq!(task.conditions.len(), 1);
    assert!(task.clone().observe(note("PodReplaced"), at(4)).unwrap().is_none());
    let task = task.observe(note("Other"), at(5)).unwrap().unwrap().into_task();
    assert_eq!(task.conditions.iter().map(|known| known.reason.as_str()).collect::<Vec<_>>(), ["Other"]);
}

#[test]
fn a_message_from_elsewhere_becomes_one_line_of_bounded_length() {
    let wait = Wait::new(WaitReason::Pulling, &format!(" a\nb\x1b[2J{}", "ä".repeat(400)));
    assert!(wait.message.starts_with("a b [2J"), "{}", wait.message);
    assert!(wait.message.len() <= WAIT_MESSAGE_MAX);
    assert_eq!(wait.check(), Ok(()));
    assert!(Wait { message: "a\nb".into(), ..wait }.check().is_err());
}
