//! Start tickets: the row decides, and one process of one pod is let through, whoever asks at the same time.

use taskplane_domain::run::{Fate, Observed};
use taskplane_domain::task::{Claim, Guard, Refusal, StateKind, Task, Ticket};
use taskplane_store::StoreError;
use tokio::task::JoinSet;

use crate::kit::{Kit, both, run_of};

crate::on_both_engines![
    a_guarded_task_comes_back_as_it_was_stored,
    a_grant_is_one_version_and_one_event,
    of_many_pods_that_ask_at_once_one_is_let_through,
    a_cancel_and_a_claim_at_once_end_in_one_of_the_two,
    a_grant_needs_no_holder_and_leaves_it_alone,
    a_ticket_that_makes_no_sense_is_named,
];

fn ticket(pod: &str) -> Ticket {
    Ticket { pod_uid: pod.to_owned(), nonce: format!("nonce of {pod}").replace(' ', "-") }
}

async fn guarded(kit: &Kit, task: &Task) -> Task {
    kit.observed(task, Observed::Made { run: run_of(task), conditions: Vec::new(), guarded: true }).await
}

/// As the api does it: decided on the row, stored if the row is still that, else decided anew.
async fn claimed(kit: &Kit, task: &Task, pod: &str) -> Result<(), Refusal> {
    loop {
        let row = kit.store.task_get_by_uid(task.uid).await.unwrap();
        match row.claim_start(task.attempt, ticket(pod), kit.now()) {
            Claim::Granted => return Ok(()),
            Claim::Refused(refusal) => return Err(refusal),
            Claim::Grant(step) => match kit.store.task_commit(&step).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            },
        }
    }
}

async fn a_guarded_task_comes_back_as_it_was_stored(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let waiting = guarded(&kit, &task).await;
    assert_eq!(waiting.guard, Guard::Waiting);
    assert_eq!(kit.store.task_get(&task.name).await.unwrap(), waiting);
    claimed(&kit, &waiting, "pod-1").await.unwrap();
    let running = kit.store.task_get(&task.name).await.unwrap();
    assert_eq!((running.guard.clone(), running.state.kind()), (Guard::Granted(ticket("pod-1")), StateKind::Running));
    assert_eq!(running.state.started_at(), Some(kit.now()));
    // An attempt that never started is made again, with a guard of its own.
    let other = guarded(&kit, &kit.a_task(&space, &app).await).await;
    let again = kit.observed(&other, Observed::Over { run: run_of(&other), fate: Fate::NeverStarted }).await;
    assert_eq!(again.guard, Guard::Off);
    assert_eq!(kit.store.task_get(&other.name).await.unwrap(), again);
}

async fn a_grant_is_one_version_and_one_event(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let waiting = guarded(&kit, &task).await;
    for _ in 0..3 {
        claimed(&kit, &waiting, "pod-1").await.unwrap();
        assert_eq!(claimed(&kit, &waiting, "pod-2").await, Err(Refusal::OtherPod));
    }
    assert_eq!(kit.store.task_get(&task.name).await.unwrap().version, waiting.version + 1);
    let facts: Vec<_> = kit.events("s").await.into_iter().map(|(_, event)| event.fact.as_str()).collect();
    assert_eq!(facts.iter().filter(|fact| **fact == "started").count(), 1);
}

async fn of_many_pods_that_ask_at_once_one_is_let_through(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let waiting = guarded(&kit, &task).await;
    let kit = std::sync::Arc::new(kit);
    let mut asking = JoinSet::new();
    for number in 0..8 {
        let (kit, waiting) = (std::sync::Arc::clone(&kit), waiting.clone());
        asking.spawn(async move { (number, claimed(&kit, &waiting, &format!("pod-{number}")).await) });
    }
    let answers = asking.join_all().await;
    let through: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_ok()).collect();
    assert_eq!(through.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(_, answer)| matches!(answer, Ok(()) | Err(Refusal::OtherPod))), "{answers:?}");
    let holder = ticket(&format!("pod-{}", through[0].0));
    assert_eq!(kit.store.task_get(&task.name).await.unwrap().guard, Guard::Granted(holder));
}

async fn a_cancel_and_a_claim_at_once_end_in_one_of_the_two(kit: Kit) {
    let (space, app, _) = kit.the_usual().await;
    for round in 0..8 {
        let waiting = guarded(&kit, &kit.a_task(&space, &app).await).await;
        let ending = async {
            loop {
                let row = kit.store.task_get_by_uid(waiting.uid).await.unwrap();
                match kit.store.task_commit(&row.cancel(kit.now()).unwrap()).await {
                    Ok(()) => return,
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let (answer, ()) = both(round % 2 == 0, claimed(&kit, &waiting, "pod-1"), ending).await;
        let after = kit.store.task_get(&waiting.name).await.unwrap();
        assert_eq!(after.state.kind(), StateKind::Cancelling);
        match answer {
            Ok(()) => {
                assert_eq!((after.guard.clone(), after.version), (Guard::Granted(ticket("pod-1")), waiting.version + 2))
            }
            Err(refusal) => assert_eq!((refusal, &after.guard), (Refusal::Cancelling, &Guard::Waiting)),
        }
        assert_eq!(claimed(&kit, &after, "pod-1").await, Err(Refusal::Cancelling));
    }
}

async fn a_grant_needs_no_holder_and_leaves_it_alone(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    let session = kit.a_session("e").await;
    kit.store.work_claim(session.uid, 1).await.unwrap();
    let waiting = guarded(&kit, &task).await;
    claimed(&kit, &waiting, "pod-1").await.unwrap();
    let held = kit.store.work_held(session.uid).await.unwrap();
    let step = held[0].task.clone().observe(kit.end(&task, 0), kit.now()).unwrap().unwrap();
    kit.store.task_report(&step, session.uid, held[0].fence).await.unwrap();
    assert_eq!(kit.store.task_get(&task.name).await.unwrap().state.kind(), StateKind::Succeeded);
}

async fn a_ticket_that_makes_no_sense_is_named(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    claimed(&kit, &guarded(&kit, &task).await, "pod-1").await.unwrap();
    for (cells, column) in [
        ("ticket_pod = NULL", "ticket_pod"),
        ("ticket_pod = 'p', ticket_nonce = NULL", "ticket_nonce"),
        ("guarded = false", "guarded"),
    ] {
        kit.execute(&format!("UPDATE tasks SET {cells}")).await;
        let corrupt = kit.store.task_get(&task.name).await.unwrap_err();
        assert!(matches!(corrupt, StoreError::Corrupt(corrupt) if corrupt.column == column), "{cells}");
    }
}
