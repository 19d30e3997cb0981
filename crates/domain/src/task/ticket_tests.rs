use super::*;

use proptest::prelude::*;

use crate::run::Observed;
use crate::task::transition::tests::{at, run, running, starting, task_with};
use crate::task::{Class, Outcome, RetryPolicy, StateKind};

fn ticket(pod: &str, nonce: &str) -> Ticket {
    Ticket::parse(pod.into(), nonce.into()).unwrap()
}

fn guarded_with(retry: RetryPolicy) -> Task {
    let made = Observed::Made { run: run(), conditions: vec![], guarded: true };
    task_with(retry).observe(made, at(2)).unwrap().unwrap().into_task()
}

fn guarded() -> Task {
    guarded_with(RetryPolicy::default())
}

fn claimed(task: Task, pod: &str, nonce: &str) -> Claim {
    task.claim_start(1, ticket(pod, nonce), at(3))
}

fn granted(task: Task) -> Task {
    match claimed(task, "pod-1", "n-1") {
        Claim::Grant(step) => step.into_task(),
        other => panic!("{other:?}"),
    }
}

fn refusal(claim: Claim) -> Option<Refusal> {
    match claim {
        Claim::Refused(refusal) => Some(refusal),
        Claim::Grant(_) | Claim::Granted => None,
    }
}

fn over(task: Task, fate: Fate) -> Task {
    task.observe(Observed::Over { run: run(), fate }, at(9)).unwrap().unwrap().into_task()
}

fn ended(cause: EndCause, code: Option<i32>) -> Fate {
    let exit = Exit { code, signal: None };
    Fate::Ended(RunEnd { cause, exit, started_at: None, finished_at: at(8), message: String::new() })
}

fn outcome(task: &Task) -> &Outcome {
    let TaskState::Finished { outcome, .. } = &task.state else { panic!("{:?}", task.state) };
    outcome
}

#[test]
fn the_grant_is_the_start() {
    let Claim::Grant(step) = claimed(guarded(), "pod-1", "n-1") else { panic!("refused") };
    assert_eq!((step.from(), step.event().fact), (Some(StateKind::Starting), Fact::TaskStarted));
    assert_eq!(step.task().state.started_at(), Some(at(3)));
    assert_eq!(step.task().version, guarded().version + 1);
}

#[test]
fn a_pod_that_runs_does_not_mean_that_its_command_does() {
    let seen = Observed::Started { run: run(), at: at(3) };
    assert!(guarded().observe(seen.clone(), at(4)).unwrap().is_none());
    assert!(starting().observe(seen, at(4)).unwrap().is_some(), "without a guard it does");
}

#[test]
fn only_the_very_process_that_was_let_through_is_let_through_again() {
    let task = granted(guarded());
    assert!(matches!(claimed(task.clone(), "pod-1", "n-1"), Claim::Granted));
    for (pod, nonce) in [("pod-2", "n-1"), ("pod-1", "n-2"), ("pod-2", "n-2")] {
        assert_eq!(refusal(claimed(task.clone(), pod, nonce)), Some(Refusal::OtherPod), "{pod} {nonce}");
    }
    assert_eq!(refusal(claimed(starting(), "pod-1", "n-1")), Some(Refusal::OtherPod), "nothing of it has a guard");
}

#[test]
fn nothing_starts_once_its_end_was_asked_for() {
    for task in [guarded(), granted(guarded())] {
        let cancelling = task.cancel(at(4)).unwrap().into_task();
        assert_eq!(refusal(claimed(cancelling, "pod-1", "n-1")), Some(Refusal::Cancelling));
    }
    let given_up = guarded().give_up_starting(at(4000)).unwrap().into_task();
    assert_eq!(refusal(claimed(given_up, "pod-1", "n-1")), Some(Refusal::Cancelling));
}

#[test]
fn nothing_starts_in_an_attempt_that_is_over_or_is_not_the_present_one() {
    let done = over(granted(guarded()), ended(EndCause::Natural, Some(0)));
    for task in [done, task_with(RetryPolicy::default())] {
        assert_eq!(refusal(claimed(task, "pod-1", "n-1")), Some(Refusal::Over));
    }
    for attempt in [0, 2] {
        let claim = guarded().claim_start(attempt, ticket("pod-1", "n-1"), at(3));
        assert_eq!(refusal(claim), Some(Refusal::Over));
    }
}

#[test]
fn without_a_ticket_the_command_has_not_started_whatever_was_seen() {
    for (fate, reason) in [
        (Fate::Lost { message: "its node is gone".into() }, Reason::StartFailed),
        (ended(EndCause::Natural, Some(0)), Reason::StartFailed),
        (ended(EndCause::Natural, Some(70)), Reason::StartFailed),
        (ended(EndCause::Timeout, None), Reason::StartFailed),
        (ended(EndCause::Refused(Refusal::OtherPod), None), Reason::StartFailed),
        (ended(EndCause::Unanswered, None), Reason::StartDeadline),
    ] {
        let task = over(guarded(), fate.clone());
        assert_eq!(outcome(&task).reason(), Some(reason), "{fate:?}");
        assert_eq!(reason.class(), Class::Infrastructure);
        assert_eq!((task.state.started_at(), outcome(&task).exit()), (None, Exit::default()));
    }
    let again = over(guarded(), Fate::NeverStarted);
    assert_eq!((again.state.kind(), again.attempt, again.guard), (StateKind::Pending, 1, Guard::Off));
}

#[test]
fn without_a_ticket_an_end_of_the_platforms_keeps_its_class_and_nothing_of_it_is_unknown() {
    let platform = |class| ended(EndCause::Platform { reason: Reason::NodeFailure, class }, None);
    for (class, told) in [
        (Class::Unknown, Class::Infrastructure),
        (Class::Infrastructure, Class::Infrastructure),
        (Class::Configuration, Class::Configuration),
    ] {
        let task = over(guarded(), platform(class));
        let Outcome::Failed(failure) = outcome(&task) else { panic!("{task:?}") };
        assert_eq!((failure.reason, failure.class, failure.exit), (Reason::NodeFailure, told, Exit::default()));
    }
}

#[test]
fn an_end_of_the_platforms_before_anybody_saw_the_command_is_unknown_once_it_had_its_ticket() {
    let every = vec![Class::User, Class::Infrastructure, Class::Configuration];
    let policy = RetryPolicy::parse(3, None, every, false).unwrap();
    for class in [Class::User, Class::Infrastructure, Class::Configuration, Class::Unknown] {
        let cause = EndCause::Platform { reason: Reason::NodePressure, class };
        let task = over(granted(guarded_with(policy.clone())), ended(cause, None));
        let Outcome::Failed(failure) = outcome(&task) else { panic!("{task:?}") };
        assert_eq!((failure.reason, failure.class), (Reason::NodePressure, Class::Unknown), "not tried again");
        assert!(failure.message.ends_with("had its start ticket, and nobody saw it end"), "{}", failure.message);
    }
    let unknown = RetryPolicy::parse(3, None, vec![], true).unwrap();
    let cause = EndCause::Platform { reason: Reason::NodeFailure, class: Class::Infrastructure };
    let again = over(granted(guarded_with(unknown)), ended(cause, None));
    assert_eq!((again.state.kind(), again.attempt), (StateKind::Pending, 2), "unless that was asked for");
}

#[test]
fn whoever_saw_the_command_run_is_believed_about_its_end() {
    let policy = RetryPolicy::parse(2, None, vec![Class::Infrastructure], false).unwrap();
    let cause = EndCause::Platform { reason: Reason::PodKilled, class: Class::Infrastructure };
    let exit = Exit::default();
    let end =
        RunEnd { cause, exit, started_at: Some(at(3)), finished_at: at(8), message: "its pod was deleted".into() };
    let task = over(granted(guarded_with(policy)), Fate::Ended(end));
    assert_eq!((task.state.kind(), task.attempt), (StateKind::Pending, 2));
}

#[test]
fn an_attempt_that_is_known_not_to_have_started_is_tried_again_where_that_is_asked_for() {
    let policy = RetryPolicy::parse(2, None, vec![Class::Infrastructure], false).unwrap();
    let again = over(guarded_with(policy.clone()), Fate::Lost { message: "gone".into() });
    assert_eq!((again.state.kind(), again.attempt, &again.guard), (StateKind::Pending, 2, &Guard::Off));
    // The guard of the attempt before is still somewhere, and asks.
    assert_eq!(refusal(claimed(again, "pod-1", "n-1")), Some(Refusal::Over));
    let started = over(granted(guarded_with(policy)), Fate::Lost { message: "gone".into() });
    assert_eq!(outcome(&started).reason(), Some(Reason::Lost));
}

#[test]
fn a_pod_that_was_started_again_ends_its_task_as_lost() {
    let policy = RetryPolicy::parse(3, None, vec![Class::User, Class::Infrastructure], false).unwrap();
    let task = over(granted(guarded_with(policy)), ended(EndCause::Refused(Refusal::OtherPod), Some(70)));
    assert_eq!(outcome(&task).reason(), Some(Reason::Lost));
    assert!(outcome(&task).message().starts_with("its pod was started again"), "{}", outcome(&task).message());
    assert_eq!((outcome(&task).exit(), task.state.started_at()), (Exit::default(), Some(at(3))));
    for fate in [ended(EndCause::Unanswered, None), Fate::NeverStarted] {
        assert_eq!(outcome(&over(granted(guarded()), fate)).reason(), Some(Reason::Lost));
    }
}

#[test]
fn a_refused_start_lets_the_cancel_go_on() {
    let refused = || ended(EndCause::Refused(Refusal::Cancelling), Some(71));
    for (task, message) in [(guarded(), "cancelled before it started"), (granted(guarded()), "cancelled while it ran")]
    {
        let cancelling = task.cancel(at(4)).unwrap().into_task();
        let task = over(cancelling, refused());
        assert_eq!((task.state.kind(), outcome(&task).message()), (StateKind::Cancelled, message));
    }
    let given_up = guarded().give_up_starting(at(4000)).unwrap().into_task();
    assert_eq!(outcome(&over(given_up, refused())).reason(), Some(Reason::StartDeadline));
}

#[test]
fn a_cancel_is_one_also_when_nobody_saw_the_command_that_had_its_ticket() {
    let cancelling = granted(guarded()).cancel(at(4)).unwrap().into_task();
    let task = over(cancelling, Fate::NeverStarted);
    assert_eq!((task.state.kind(), outcome(&task).message()), (StateKind::Cancelled, "cancelled while it ran"));
    assert_eq!(task.state.started_at(), Some(at(3)));
    let cancelling = granted(guarded()).cancel(at(4)).unwrap().into_task();
    let task = over(cancelling, Fate::Lost { message: "its node is gone".into() });
    assert_eq!(outcome(&task).reason(), Some(Reason::Lost), "it may still be running");
}

#[test]
fn a_command_that_had_its_ticket_ends_as_any_other() {
    let end = |cause, code| outcome(&over(granted(guarded()), ended(cause, code))).clone();
    assert_eq!(end(EndCause::Natural, Some(0)), Outcome::Succeeded);
    assert_eq!(end(EndCause::Natural, Some(3)).exit().code, Some(3));
    assert_eq!(outcome(&over(running(), ended(EndCause::Natural, Some(0)))), &Outcome::Succeeded);
}

#[test]
fn a_ticket_names_a_pod_and_a_process() {
    for (pod, nonce) in [("", "n"), ("p", ""), ("p q", "n"), ("p", "n\n"), (&"x".repeat(65), "n")] {
        assert!(Ticket::parse(pod.into(), nonce.into()).is_err(), "{pod:?} {nonce:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Claim { attempt: u32, pod: u8, nonce: u8 },
    Made,
    Lost,
    NeverStarted,
    Cancel,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_u32..3, 0_u8..3, 0_u8..2).prop_map(|(attempt, pod, nonce)| Step::Claim { attempt, pod, nonce }),
        3 => Just(Step::Made),
        1 => Just(Step::Lost),
        1 => Just(Step::NeverStarted),
        1 => Just(Step::Cancel),
    ]
}

proptest! {
    /// Whoever asks, whenever: no two processes are ever told yes for one attempt, and none after a cancel.
    #[test]
    fn each_attempt_starts_at_most_once(steps in prop::collection::vec(step(), 0..60)) {
        let policy = RetryPolicy::parse(3, None, vec![Class::Infrastructure], true).unwrap();
        let mut task = task_with(policy);
        let mut yes = std::collections::BTreeMap::<u32, (u8, u8)>::new();
        for step in steps {
            let cancelling = task.state.kind() == StateKind::Cancelling;
            let next = match step {
                Step::Claim { attempt, pod, nonce } => {
                    let (claim, asked) = (ticket(&pod.to_string(), &nonce.to_string()), task.clone());
                    let (told_yes, next) = match asked.claim_start(attempt, claim, at(3)) {
                        Claim::Grant(step) => (true, Some(*step)),
                        Claim::Granted => (true, None),
                        Claim::Refused(_) => (false, None),
                    };
                    if told_yes {
                        prop_assert!(!cancelling);
                        prop_assert_eq!(*yes.entry(attempt).or_insert((pod, nonce)), (pod, nonce));
                    }
                    next
                }
                Step::Made => {
                    let made = Observed::Made { run: run(), conditions: vec![], guarded: true };
                    task.clone().observe(made, at(2)).unwrap_or_default()
                }
                Step::Lost => {
                    let fate = Fate::Lost { message: String::new() };
                    task.clone().observe(Observed::Over { run: run(), fate }, at(9)).unwrap_or_default()
                }
                Step::NeverStarted => {
                    let seen = Observed::Over { run: run(), fate: Fate::NeverStarted };
                    task.clone().observe(seen, at(9)).unwrap_or_default()
                }
                Step::Cancel => task.clone().cancel(at(5)),
            };
            task = next.map_or(task, Transition::into_task);
        }
    }
}
