//! Handing out: no more of a Space than may run, and Spaces take turns.

use std::collections::BTreeMap;
use std::sync::Arc;

use taskplane_domain::name::Name;
use taskplane_domain::session::Session;
use taskplane_domain::space::Quota;
use taskplane_store::Usage;
use tokio::task::JoinSet;

use crate::kit::{Kit, name};
use crate::quotas::{a_space, running, usage};

crate::on_both_engines![
    no_more_tasks_are_handed_out_than_may_run,
    eight_claimers_at_once_never_hand_out_one_too_many,
    a_single_task_does_not_wait_behind_three_hundred_of_another_space,
    a_place_goes_to_the_space_that_has_the_fewest,
    where_one_runs_at_a_time_spaces_take_turns,
    three_at_a_time_are_shared_out_evenly_among_two,
    a_space_that_may_be_held_back_is_named_and_counted,
];

async fn claim(kit: &Kit, session: &Session, limit: u32) -> u64 {
    kit.store.work_claim(session.uid, limit).await.unwrap()
}

async fn no_more_tasks_are_handed_out_than_may_run(kit: Kit) {
    let (space, app) = a_space(&kit, "s", running(2)).await;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        kit.advance(1);
        tasks.push(kit.a_task(&space, &app).await);
    }
    let session = kit.a_session("e").await;
    assert_eq!(claim(&kit, &session, 10).await, 2);
    assert_eq!(claim(&kit, &session, 10).await, 0, "held, though not begun");
    let run = kit.running(&tasks[0]).await;
    let cancelling = kit.cancelled(&run).await;
    assert_eq!(claim(&kit, &session, 10).await, 0, "there as long as it has not ended");
    kit.observed(&cancelling, kit.end(&tasks[0], 143)).await;
    assert_eq!(claim(&kit, &session, 10).await, 1);
    // One that waits and is cancelled gives its place back as well.
    kit.cancelled(&tasks[2]).await;
    assert_eq!(claim(&kit, &session, 10).await, 1);
    let held = kit.store.work_held(session.uid).await.unwrap();
    let held: Vec<u64> = held.iter().map(|held| held.task.name.id).collect();
    assert_eq!(held, [2, 4], "the oldest first");
}

async fn eight_claimers_at_once_never_hand_out_one_too_many(kit: Kit) {
    let mut spaces = Vec::new();
    for number in 0..3 {
        let (space, app) = a_space(&kit, &format!("s{number}"), running(5)).await;
        for _ in 0..30 {
            kit.a_task(&space, &app).await;
        }
        spaces.push(space);
    }
    let kit = Arc::new(kit);
    let mut claimers = JoinSet::new();
    for number in 0..8 {
        let (kit, session) = (Arc::clone(&kit), kit.a_session(&format!("e{number}")).await);
        let spaces: Vec<_> = spaces.iter().map(|space| space.uid).collect();
        claimers.spawn(async move {
            let mut ended = 0;
            loop {
                claim(&kit, &session, 3).await;
                for space in &spaces {
                    let usage = kit.store.space_usage(*space).await.unwrap();
                    assert!(usage.running <= 5, "{usage:?}");
                }
                let held = kit.store.work_held(session.uid).await.unwrap();
                if held.is_empty() && kit.store.work_held_back(&name("local")).await.unwrap().is_empty() {
                    return ended;
                }
                for held in held {
                    let task = kit.running(&held.task).await;
                    kit.observed(&task, kit.end(&task, 0)).await;
                    ended += 1;
                }
            }
        });
    }
    assert_eq!(claimers.join_all().await.into_iter().sum::<i32>(), 90, "each of them once");
}

async fn a_single_task_does_not_wait_behind_three_hundred_of_another_space(kit: Kit) {
    let (hog, app) = a_space(&kit, "hog", Quota::default()).await;
    for _ in 0..300 {
        kit.a_task(&hog, &app).await;
    }
    let session = kit.a_session("e").await;
    assert_eq!(claim(&kit, &session, 10).await, 10);
    kit.advance(60);
    let mut victims = Vec::new();
    for number in 0..3 {
        let (space, app) = a_space(&kit, &format!("v{number}"), Quota::default()).await;
        victims.push(kit.a_task(&space, &app).await);
    }
    // Younger by a minute than all of the other Space, and next all the same.
    assert_eq!(claim(&kit, &session, 3).await, 3);
    for victim in victims {
        let owner = kit.store.task_owner(victim.uid).await.unwrap();
        assert_eq!(owner.unwrap().0.uid, session.uid);
    }
    assert_eq!(claim(&kit, &session, 3).await, 3, "what the others leave goes to whoever has something");
}

async fn a_place_goes_to_the_space_that_has_the_fewest(kit: Kit) {
    let mut spaces = BTreeMap::new();
    for (text, tasks) in [("a", 20), ("b", 20), ("c", 2)] {
        let (space, app) = a_space(&kit, text, Quota::default()).await;
        for _ in 0..tasks {
            kit.a_task(&space, &app).await;
        }
        spaces.insert(text, space);
        if text == "a" {
            let session = kit.a_session("first").await;
            assert_eq!(claim(&kit, &session, 6).await, 6);
        }
    }
    let session = kit.a_session("e").await;
    assert_eq!(claim(&kit, &session, 12).await, 12);
    let mut running = BTreeMap::new();
    for (text, space) in &spaces {
        running.insert(*text, usage(&kit, space).await.running);
    }
    assert_eq!(running, BTreeMap::from([("a", 8), ("b", 8), ("c", 2)]));
}

/// Claims so many at a time, and has them all end before the next claim. How often each Space had a place.
async fn rounds(kit: &Kit, limit: u32, count: usize) -> Vec<String> {
    let session = kit.a_session("e").await;
    let mut order = Vec::new();
    for _ in 0..count {
        claim(kit, &session, limit).await;
        for held in kit.store.work_held(session.uid).await.unwrap() {
            order.push(held.task.name.space.to_string());
            let task = kit.running(&held.task).await;
            kit.observed(&task, kit.end(&task, 0)).await;
        }
    }
    order
}

async fn where_one_runs_at_a_time_spaces_take_turns(kit: Kit) {
    for (text, tasks) in [("hog", 40), ("a", 3), ("b", 1)] {
        let (space, app) = a_space(&kit, text, Quota::default()).await;
        for _ in 0..tasks {
            kit.a_task(&space, &app).await;
        }
        kit.advance(1);
    }
    let order = rounds(&kit, 1, 8).await;
    assert_eq!(order, ["hog", "a", "b", "hog", "a", "hog", "a", "hog"]);
}

async fn three_at_a_time_are_shared_out_evenly_among_two(kit: Kit) {
    for text in ["a", "b"] {
        let (space, app) = a_space(&kit, text, Quota::default()).await;
        for _ in 0..20 {
            kit.a_task(&space, &app).await;
        }
    }
    let order = rounds(&kit, 3, 6).await;
    assert_eq!(order.iter().filter(|space| *space == "a").count(), 9, "{order:?}");
}

async fn a_space_that_may_be_held_back_is_named_and_counted(kit: Kit) {
    let held_back = async || -> Vec<Name> { kit.store.work_held_back(&name("local")).await.unwrap() };
    let (space, app) = a_space(&kit, "s", running(1)).await;
    let first = kit.a_task(&space, &app).await;
    let session = kit.a_session("e").await;
    assert_eq!(claim(&kit, &session, 5).await, 1);
    assert_eq!(held_back().await, []);
    let second = kit.a_task(&space, &app).await;
    assert_eq!(held_back().await, [name("s")]);
    assert_eq!(kit.store.task_circumstances(&second).await.unwrap().full_quota, Some(1));
    assert_eq!(kit.store.work_held_back(&name("far")).await.unwrap(), []);
    assert_eq!(usage(&kit, &space).await, Usage { live: 2, running: 1, waiting: 1 });
    let run = kit.running(&first).await;
    assert_eq!(held_back().await, [name("s")]);
    kit.observed(&run, kit.end(&first, 0)).await;
    assert_eq!(held_back().await, [name("s")], "nobody has looked since");
    assert_eq!(kit.store.task_circumstances(&second).await.unwrap().full_quota, None);
    assert_eq!(usage(&kit, &space).await, Usage { live: 1, running: 0, waiting: 1 });
    assert_eq!(claim(&kit, &session, 5).await, 1);
    assert_eq!(held_back().await, []);
}
