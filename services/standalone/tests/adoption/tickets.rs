//! What guards are answered, through an executor's relay and the api.

use taskplane_domain::run::RunKey;
use taskplane_domain::task::{Class, Outcome, Reason, Refusal, StateKind, Task};
use taskplane_executor::tickets;
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::StartAnswer;
use taskplane_proto::internal::v1::start_ticket_client::StartTicketClient;
use taskplane_proto::v1 as public;
use taskplane_runtime::{Lifecycle, inproc, server};
use taskplane_testkit::cluster::Phase;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::outcome;
use crate::scene::Scene;

crate::on_both_engines![true;
    a_command_starts_with_its_ticket_and_only_in_the_pod_that_has_it,
    two_pods_that_ask_at_once_get_one_start,
    a_cancel_before_the_ticket_is_kept,
    a_question_with_another_token_is_refused_and_changes_nothing,
    a_guard_of_an_attempt_before_is_told_that_it_is_over,
    a_pod_that_was_started_again_loses_its_task_and_starts_nothing,
    a_start_that_nobody_could_allow_is_tried_again,
    a_space_may_do_without,
];

/// The pod-facing side of an executor, which need not be the one that has the run.
struct Door {
    pods: StartTicketClient<Channel>,
    lifecycle: Lifecycle,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.lifecycle.soft().cancel();
        self.lifecycle.hard().cancel();
    }
}

fn door(scene: &Scene) -> Door {
    let (channel, incoming) = inproc::pair();
    let (lifecycle, routes) = (Lifecycle::new(), tickets::routes(scene.internal.clone()));
    let serving = lifecycle.clone();
    lifecycle.spawn_vital("tickets", async move { server::serve(routes, incoming, &[], &serving).await });
    Door { pods: StartTicketClient::new(channel), lifecycle }
}

async fn ask(door: &Door, key: RunKey, pod: &str, token: &str) -> Result<StartAnswer, Status> {
    let RunKey { task, attempt } = key;
    let (pod_uid, guard_nonce) = (pod.to_owned(), format!("nonce-{pod}"));
    let question =
        pb::AskStartRequest { task_uid: task.to_string(), attempt, pod_uid, guard_nonce, token: token.to_owned() };
    door.pods.clone().ask_start(question).await.map(|answer| answer.into_inner().answer())
}

/// A run whose pod is up, and the token its guard has.
async fn a_guarded_run(scene: &Scene, retry: Option<public::RetryPolicy>) -> (String, RunKey, String) {
    let (name, key) = scene.run_task(retry).await;
    let token = pod_of(scene, key).await;
    (name, key, token)
}

async fn pod_of(scene: &Scene, key: RunKey) -> String {
    let run = scene.cluster.run_when(key, |run| run.phase == Phase::Running).await;
    run.start_token.expect("a guard was asked for").0
}

async fn is(scene: &Scene, key: RunKey, kind: StateKind) -> Task {
    scene.task_when(key, |task| task.state.kind() == kind).await
}

async fn a_command_starts_with_its_ticket_and_only_in_the_pod_that_has_it(scene: Scene) {
    let (_agent, door) = (scene.agent("e").await, door(&scene));
    let (_, key, token) = a_guarded_run(&scene, None).await;
    let starting = is(&scene, key, StateKind::Starting).await;
    for _ in 0..2 {
        assert_eq!(ask(&door, key, "pod-1", &token).await.unwrap(), StartAnswer::Granted);
        assert_eq!(ask(&door, key, "pod-2", &token).await.unwrap(), StartAnswer::OtherPod);
    }
    let running = is(&scene, key, StateKind::Running).await;
    assert_eq!(running.version, starting.version + 1);
    scene.cluster.ends(key, 0);
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!((outcome(&task), task.state.started_at()), (&Outcome::Succeeded, running.state.started_at()));
    assert_eq!(ask(&door, key, "pod-1", &token).await.unwrap(), StartAnswer::Over);
    drop(door);
    scene.end().await;
}

async fn two_pods_that_ask_at_once_get_one_start(scene: Scene) {
    let (_agent, door) = (scene.agent("e").await, door(&scene));
    let (_, key, token) = a_guarded_run(&scene, None).await;
    let asking = (0..8).map(|number| {
        let (door, token) = (&door, &token);
        async move { ask(door, key, &format!("pod-{number}"), token).await.unwrap() }
    });
    let answers = futures::future::join_all(asking).await;
    assert_eq!(answers.iter().filter(|answer| **answer == StartAnswer::Granted).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == StartAnswer::OtherPod).count(), 7, "{answers:?}");
    drop(door);
    scene.end().await;
}

async fn a_cancel_before_the_ticket_is_kept(scene: Scene) {
    let door = door(&scene);
    let agent = scene.agent("e").await;
    let (name, key, token) = a_guarded_run(&scene, None).await;
    // Nobody is there to pass the order on.
    agent.kill();
    scene.cancel(&name).await;
    assert_eq!(ask(&door, key, "pod-1", &token).await.unwrap(), StartAnswer::Cancelling);
    scene.cluster.guard_ends(key, Some(Refusal::Cancelling));
    let _again = scene.agent("e").await;
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!((task.state.kind(), outcome(&task).message()), (StateKind::Cancelled, "cancelled before it started"));
    drop(door);
    scene.end().await;
}

async fn a_question_with_another_token_is_refused_and_changes_nothing(scene: Scene) {
    let (_agent, door) = (scene.agent("e").await, door(&scene));
    let (_, key, token) = a_guarded_run(&scene, None).await;
    let (_, other, others) = a_guarded_run(&scene, None).await;
    let before = is(&scene, key, StateKind::Starting).await;
    let flipped = token.replace('a', "b").replace('0', "1");
    for wrong in ["", "zz", others.as_str(), &token[1..], flipped.as_str(), &token.repeat(2)] {
        let refused = ask(&door, key, "pod-1", wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{wrong}");
        assert!(!refused.message().contains(&token));
    }
    // The token of one attempt is none for the next.
    let next = RunKey { attempt: 2, ..key };
    assert_eq!(ask(&door, next, "pod-1", &token).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(ask(&door, key, "", &token).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(scene.store.task_get_by_uid(key.task).await.unwrap(), before);
    assert_eq!(ask(&door, other, "pod-1", &others).await.unwrap(), StartAnswer::Granted);
    drop(door);
    scene.end().await;
}

fn retry(class: public::ReasonClass) -> Option<public::RetryPolicy> {
    Some(public::RetryPolicy {
        max_attempts: 2,
        backoff: Some(Default::default()),
        retry_on: vec![class as i32],
        ..Default::default()
    })
}

async fn a_guard_of_an_attempt_before_is_told_that_it_is_over(scene: Scene) {
    let (_agent, door) = (scene.agent("e").await, door(&scene));
    let (_, key, token) = a_guarded_run(&scene, retry(public::ReasonClass::User)).await;
    assert_eq!(ask(&door, key, "pod-1", &token).await.unwrap(), StartAnswer::Granted);
    scene.cluster.ends(key, 1);
    let next = RunKey { attempt: 2, ..key };
    let second = pod_of(&scene, next).await;
    assert_eq!(ask(&door, key, "pod-1", &token).await.unwrap(), StartAnswer::Over);
    assert_eq!(ask(&door, next, "pod-2", &second).await.unwrap(), StartAnswer::Granted);
    drop(door);
    scene.end().await;
}

async fn a_pod_that_was_started_again_loses_its_task_and_starts_nothing(scene: Scene) {
    let (_agent, door) = (scene.agent("e").await, door(&scene));
    let (_, key, token) = a_guarded_run(&scene, retry(public::ReasonClass::Infrastructure)).await;
    assert_eq!(ask(&door, key, "pod-1", &token).await.unwrap(), StartAnswer::Granted);
    assert_eq!(ask(&door, key, "pod-2", &token).await.unwrap(), StartAnswer::OtherPod);
    scene.cluster.guard_ends(key, Some(Refusal::OtherPod));
    let task = scene.task_when(key, |task| task.state.kind().is_final()).await;
    assert_eq!((outcome(&task).reason(), task.attempt), (Some(Reason::Lost), 1));
    assert!(outcome(&task).message().contains("its pod was started again"), "{}", outcome(&task).message());
    drop(door);
    scene.end().await;
}

async fn a_start_that_nobody_could_allow_is_tried_again(scene: Scene) {
    let (_agent, door) = (scene.agent("e").await, door(&scene));
    let (_, key, _) = a_guarded_run(&scene, retry(public::ReasonClass::Infrastructure)).await;
    scene.cluster.guard_ends(key, None);
    let next = RunKey { attempt: 2, ..key };
    let token = pod_of(&scene, next).await;
    let attempts = scene.store.task_attempts(key.task).await.unwrap();
    let (_, first) = attempts[0].end.clone().unwrap();
    assert_eq!(first.reason().map(Reason::class), Some(Class::Infrastructure));
    assert_eq!(attempts[0].started_at, None);
    assert_eq!(ask(&door, next, "pod-2", &token).await.unwrap(), StartAnswer::Granted);
    drop(door);
    scene.end().await;
}

async fn a_space_may_do_without(scene: Scene) {
    let _agent = scene.agent("e").await;
    scene.without_start_tickets().await;
    let (_, key) = scene.run_task(None).await;
    let run = scene.cluster.run_when(key, |run| run.phase == Phase::Running).await;
    assert_eq!(run.start_token, None);
    // Its pod is its start.
    is(&scene, key, StateKind::Running).await;
    scene.end().await;
}
