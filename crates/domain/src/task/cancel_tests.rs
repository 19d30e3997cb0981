use super::*;

use jiff::SignedDuration;

use crate::run::{EndCause, Fate, RunEnd};
use crate::task::transition::tests::{at, pending, run, running, starting, task_with};
use crate::task::{Class, Deadlines, RetryPolicy, StateKind, Stuck, StuckReason};

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn end_of(task: Task, fate: Fate) -> Task {
    let seen = crate::run::Observed::Over { run: run(), fate };
    task.observe(seen, at(9000)).unwrap().unwrap().into_task()
}

fn ended_by_us(started_at: Option<Timestamp>) -> Fate {
    let exit = Exit { code: None, signal: Some(9) };
    Fate::Ended(RunEnd { cause: EndCause::Cancel, exit, started_at, finished_at: at(8000), message: String::new() })
}

fn outcome(task: &Task) -> &Outcome {
    let TaskState::Finished { outcome, .. } = &task.state else { panic!("not over: {:?}", task.state) };
    outcome
}

#[test]
fn an_end_is_forced_once_after_its_grace_and_fifteen_seconds() {
    let deadlines = Deadlines::default();
    for (grace, due) in [(None, 10 + 45), (seconds(5), 10 + 20), (seconds(0), 10 + 15)] {
        let asked = running().cancel_within(grace, at(10)).unwrap().into_task();
        assert_eq!(asked.force_at(&deadlines), Some(at(due)));
        let forced = asked.force(at(due)).unwrap();
        assert_eq!((forced.event().fact, forced.releases()), (Fact::TaskCancelForced, false));
        let forced = forced.into_task();
        let TaskState::Cancelling { since, grace, forced_at, .. } = forced.state else { panic!("over") };
        assert_eq!((since, grace, forced_at), (at(10), seconds(0), Some(at(due))));
        assert_eq!(forced.force_at(&deadlines), None);
        assert!(forced.clone().force(at(due + 1)).is_none(), "at most once");
        assert!(forced.cancel_within(seconds(0), at(due + 1)).is_none(), "nothing is quicker than that");
    }
    for task in [pending(), starting(), running()] {
        assert!(task.force(at(9)).is_none(), "nobody asked for its end");
    }
}

#[test]
fn each_state_has_its_deadline_and_its_word_for_being_stuck() {
    let deadlines = Deadlines { grace: Duration::from_secs(20), start: Duration::from_secs(600) };
    let mut timed = running();
    timed.spec.timeout = seconds(100);
    let cancelling = running().cancel(at(10)).unwrap().into_task();
    let forced = cancelling.clone().force(at(50)).unwrap().into_task();
    for (task, expected) in [
        (starting(), Some((2 + 600 + 60, StuckReason::NotStarted))),
        (timed, Some((3 + 100 + 20 + 60, StuckReason::OverTime))),
        (cancelling, Some((10 + 20 + 15 + 60, StuckReason::NotEnding))),
        (forced, Some((50 + 60, StuckReason::NotEnding))),
        (running(), None),
        (pending(), None),
    ] {
        let expected = expected.map(|(since, reason)| Stuck { since: at(since), reason });
        assert_eq!(task.stuck_at(&deadlines), expected, "{:?}", task.state);
        if let Some(stuck) = expected {
            assert_eq!(task.stuck(stuck.since - SignedDuration::from_micros(1), &deadlines), None);
            assert_eq!(task.stuck(stuck.since, &deadlines), Some(stuck));
        }
    }
    let over = end_of(running().cancel(at(10)).unwrap().into_task(), ended_by_us(None));
    assert_eq!(over.stuck_at(&deadlines), None);
}

#[test]
fn a_run_that_is_not_started_in_time_fails_with_a_reason_of_its_own() {
    let given_up = starting().give_up_starting(at(5000)).unwrap();
    assert_eq!(given_up.event().fact, Fact::TaskCancelRequested);
    let given_up = given_up.into_task();
    for fate in [Fate::NeverStarted, ended_by_us(None)] {
        let over = end_of(given_up.clone(), fate);
        assert_eq!(outcome(&over).reason(), Some(Reason::StartDeadline));
        assert_eq!(Reason::StartDeadline.class(), Class::Infrastructure);
    }
    let lost = end_of(given_up, Fate::Lost { message: "gone".into() });
    assert_eq!(outcome(&lost).reason(), Some(Reason::Lost));
    assert!(running().give_up_starting(at(5000)).is_none(), "it did start");
}

#[test]
fn only_an_attempt_that_never_started_is_tried_again_after_its_start_deadline() {
    let policy = RetryPolicy::parse(3, None, vec![Class::Infrastructure], false).unwrap();
    let given_up = || {
        let made = task_with(policy.clone())
            .observe(crate::run::Observed::Made { run: run(), conditions: vec![], guarded: false }, at(2));
        made.unwrap().unwrap().into_task().give_up_starting(at(5000)).unwrap().into_task()
    };
    let again = end_of(given_up(), Fate::NeverStarted);
    assert_eq!((again.state.kind(), again.attempt), (StateKind::Pending, 2));
    let late = end_of(given_up(), ended_by_us(Some(at(7000))));
    assert_eq!(outcome(&late).reason(), Some(Reason::StartDeadline));
    assert_eq!((late.state.started_at(), late.attempt), (Some(at(7000)), 1));
    // Whoever asks for the end of such a Task gets it.
    let asked = given_up().cancel(at(5001)).unwrap();
    assert_eq!(asked.event().fact, Fact::TaskCancelRequested);
    assert_eq!(end_of(asked.into_task(), Fate::NeverStarted).state.kind(), StateKind::Cancelled);
}

#[test]
fn what_an_operator_gives_up_is_lost_and_never_cancelled() {
    let policy = RetryPolicy::parse(3, None, vec![Class::User], true).unwrap();
    let made =
        task_with(policy).observe(crate::run::Observed::Made { run: run(), conditions: vec![], guarded: false }, at(2));
    let cancelling = made.unwrap().unwrap().into_task().cancel(at(3)).unwrap().into_task();
    let given_up = cancelling.abandon(at(900)).unwrap();
    assert!(given_up.releases() && given_up.ended().is_some());
    let given_up = given_up.into_task();
    assert_eq!((given_up.state.kind(), outcome(&given_up).reason()), (StateKind::Failed, Some(Reason::Lost)));
    for task in [pending(), starting(), running(), given_up] {
        assert!(task.abandon(at(901)).is_err());
    }
}

#[test]
fn a_log_can_be_given_up_with_the_end_before_it_and_after() {
    let asked = CancelTask { grace: None, delete_log: true };
    let ended = running().end(asked, at(5)).unwrap();
    assert_eq!(ended.event().fact, Fact::TaskCancelRequested);
    assert!(end_of(ended.into_task(), ended_by_us(None)).delete_log);
    let cancelling = running().cancel(at(5)).unwrap().into_task();
    let over = end_of(cancelling.clone(), ended_by_us(None));
    for task in [cancelling, over] {
        let (before, kind) = (task.state.clone(), task.state.kind());
        let step = task.end(asked, at(6)).unwrap();
        assert_eq!((step.event().fact, step.from()), (Fact::TaskLogDeleteRequested, Some(kind)));
        let task = step.into_task();
        assert_eq!((&task.state, task.delete_log), (&before, true));
        assert!(task.end(asked, at(7)).is_none(), "asking twice is no error");
    }
}
