//! Security groups while several change them, and what is bound to them, at once.

use std::sync::Arc;

use taskplane_domain::name::SpaceName;
use taskplane_domain::security_group::Groups;
use taskplane_store::StoreError;
use tokio::task::JoinSet;

use crate::kit::{Kit, both, touch};
use crate::security_groups::{names, rules};

crate::on_both_engines![
    of_many_updates_of_one_revision_one_is_made,
    deleting_a_group_and_binding_an_app_to_it_never_both_happen,
    updates_pushes_bindings_and_tasks_at_once_agree_in_the_end,
];

async fn of_many_updates_of_one_revision_one_is_made(kit: Kit) {
    let space = kit.a_space("s").await;
    let group = kit.a_group(&space, "db").await;
    let app = kit.bound(&kit.an_app(&space, "a").await, &group).await;
    let mut calls = JoinSet::new();
    for number in 1..=16 {
        let next = group.clone().update(rules(&format!("10.0.0.{number}")), kit.now()).unwrap();
        let store = kit.store.clone();
        calls.spawn(async move { store.security_group_update(&next).await });
    }
    let results = calls.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|result| matches!(result, Err(StoreError::Conflict(_)))).count(), 15);
    assert_eq!(kit.app_now(&app).await.revision, app.revision + 1);
}

async fn deleting_a_group_and_binding_an_app_to_it_never_both_happen(kit: Kit) {
    let space = kit.a_space("s").await;
    let app = kit.an_app(&space, "a").await;
    for round in 0..20 {
        let group = kit.a_group(&space, &format!("g{round}")).await;
        let now = kit.app_now(&app).await;
        let groups = Groups::default().with(group.reference()).unwrap();
        let change = now.with_groups(groups, kit.now()).unwrap();
        let reference = group.reference();
        let (bound, deleted) = both(
            round % 2 == 0,
            kit.store.app_bind_group(&change, &reference),
            kit.store.security_group_delete(&group),
        )
        .await;
        assert!(bound.is_ok() != deleted.is_ok(), "{bound:?} {deleted:?}");
        let bound_now = names(&kit.app_now(&app).await.spec.security_groups).contains(&format!("g{round}:1"));
        assert_eq!(bound_now, bound.is_ok());
    }
}

async fn until_it_counts<F: Future<Output = Result<(), StoreError>>>(mut attempt: impl FnMut() -> F) {
    loop {
        match attempt().await {
            Ok(()) => return,
            Err(StoreError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn updates_pushes_bindings_and_tasks_at_once_agree_in_the_end(kit: Kit) {
    const ROUNDS: u32 = 12;
    let kit = Arc::new(kit);
    let space = kit.a_space("s").await;
    let (db, web) = (kit.a_group(&space, "db").await, kit.a_group(&space, "web").await);
    let space = kit.bound_space_wide(&space, &web).await;
    let mut apps = Vec::new();
    for name in ["a", "b", "c"] {
        apps.push(kit.bound(&kit.an_app(&space, name).await, &db).await);
    }
    let mut calls = JoinSet::new();
    for group in [&db, &web] {
        let (kit, name) = (Arc::clone(&kit), group.name.clone());
        calls.spawn(async move {
            for round in 1..=ROUNDS {
                until_it_counts(async || {
                    let (group, _) = kit.store.security_group_get(&name).await?;
                    let next = group.update(rules(&format!("10.0.{round}.1")), kit.now()).unwrap();
                    kit.store.security_group_update(&next).await
                })
                .await;
            }
        });
    }
    for app in &apps {
        let (pushing, name, at) = (Arc::clone(&kit), app.name.clone(), space.clone());
        calls.spawn(async move {
            for round in 1..=ROUNDS {
                until_it_counts(async || {
                    let push = touch(pushing.a_push(&at, name.app.as_str()), &format!("{round}"));
                    let change = pushing.store.app_get(&name).await?.push(push, pushing.now()).unwrap().unwrap();
                    pushing.store.app_update(&change).await
                })
                .await;
            }
        });
        let (accepting, name, at) = (Arc::clone(&kit), app.name.clone(), SpaceName(app.name.space.clone()));
        calls.spawn(async move {
            for _ in 0..ROUNDS {
                until_it_counts(async || {
                    let (space, app) = (accepting.store.space_get(&at).await?, accepting.store.app_get(&name).await?);
                    accepting.store.task_accept(accepting.a_birth(&space, &app), None).await.map(|_| ())
                })
                .await;
            }
        });
    }
    let (binding, name, web_name) = (Arc::clone(&kit), apps[0].name.clone(), web.name.clone());
    calls.spawn(async move {
        for round in 0..ROUNDS {
            until_it_counts(async || {
                let (web, _) = binding.store.security_group_get(&web_name).await?;
                let app = binding.store.app_get(&name).await?;
                let groups = app.spec.security_groups.clone();
                let groups =
                    if round % 2 == 0 { groups.with(web.reference()).unwrap() } else { groups.without(web.uid) };
                let Some(change) = app.with_groups(groups, binding.now()) else { return Ok(()) };
                binding.store.app_bind_group(&change, &web.reference()).await
            })
            .await;
        }
    });
    calls.join_all().await;

    let revision = 1 + ROUNDS;
    let space = kit.store.space_get(&space.name).await.unwrap();
    assert_eq!(names(&space.security_groups), [format!("web:{revision}")]);
    for app in &apps {
        let now = kit.app_now(app).await;
        assert_eq!(names(&now.spec.security_groups), [format!("db:{revision}")]);
        assert_eq!(now.spec.env, crate::kit::env(&[("A", &ROUNDS.to_string())]), "no push was lost");
        let mut sequences: Vec<_> = kit.events("s").await.into_iter().map(|(_, event)| event).collect();
        sequences.retain(|event| event.uid == app.uid.0);
        let sequences: Vec<_> = sequences.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=now.version).collect::<Vec<_>>(), "one event for each version");
        for id in 1..=ROUNDS {
            let task = kit.store.task_get(&app.name.task(id.into())).await.unwrap();
            let spec = kit.store.app_spec(app.uid, task.app_revision).await.unwrap();
            for group in spec.security_groups.iter() {
                kit.store.security_group_rules(group.uid, group.revision).await.unwrap();
            }
        }
    }
}
