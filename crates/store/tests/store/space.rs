//! Spaces.

use taskplane_domain::name::SpaceName;
use taskplane_domain::space::{Space, SpaceSettings};
use taskplane_domain::uid::SpaceUid;
use taskplane_store::StoreError;

use crate::kit::{Kit, env, name, settings};

crate::on_both_engines![
    a_space_comes_back_as_it_was_written,
    an_update_keeps_the_environments_before_it,
    a_stale_update_is_a_conflict,
    a_space_with_apps_stays,
    a_deleted_space_leaves_its_name_free,
    spaces_are_listed_page_by_page,
    of_two_spaces_of_one_name_the_second_is_refused,
];

async fn a_space_comes_back_as_it_was_written(kit: Kit) {
    let space = kit.a_space("s").await;
    assert_eq!(kit.store.space_get(&space.name).await.unwrap(), space);
    let unknown = kit.store.space_get(&SpaceName(name("t"))).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound(name) if name == "spaces/t"));
}

async fn an_update_keeps_the_environments_before_it(kit: Kit) {
    let space = kit.a_space("s").await;
    let before = space.settings.env.clone();
    let settings = settings(&[("S", "2")], 5);
    let change = space.update(settings, kit.now()).unwrap();
    kit.store.space_update(&change).await.unwrap();
    assert_eq!(kit.store.space_get(&change.space.name).await.unwrap(), change.space);
    assert_eq!(kit.store.space_env(change.space.uid, 1).await.unwrap().env, before);
    assert_eq!(kit.store.space_env(change.space.uid, 2).await.unwrap().env, env(&[("S", "2")]));
    assert!(matches!(kit.store.space_env(change.space.uid, 3).await, Err(StoreError::NotFound(_))));
    // Settings alone make no revision of the environment.
    let settings = SpaceSettings { log_cap: None, ..change.space.settings.clone() };
    let change = change.space.update(settings, kit.now()).unwrap();
    kit.store.space_update(&change).await.unwrap();
    assert_eq!(kit.store.space_get(&change.space.name).await.unwrap().env_revision, 2);
}

async fn a_stale_update_is_a_conflict(kit: Kit) {
    let space = kit.a_space("s").await;
    let with = |cap| SpaceSettings { log_cap: Some(cap), ..space.settings.clone() };
    let (first, second) = (space.clone().update(with(5000), kit.now()), space.clone().update(with(6000), kit.now()));
    kit.store.space_update(&first.unwrap()).await.unwrap();
    let late = kit.store.space_update(&second.unwrap()).await.unwrap_err();
    assert!(matches!(late, StoreError::Conflict(name) if name == "spaces/s"));
    let stale = kit.store.space_delete(&space.clone().deleted(kit.now())).await.unwrap_err();
    assert!(matches!(stale, StoreError::Conflict(_)));
    assert_eq!(kit.events("s").await.len(), 2);
}

async fn a_space_with_apps_stays(kit: Kit) {
    let space = kit.a_space("s").await;
    kit.an_app(&space, "a").await;
    kit.an_app(&space, "b").await;
    let refused = kit.store.space_delete(&space.clone().deleted(kit.now())).await.unwrap_err();
    assert_eq!(refused.to_string(), "spaces/s still has 2 apps");
    assert_eq!(kit.store.space_get(&space.name).await.unwrap(), space);
}

async fn a_deleted_space_leaves_its_name_free(kit: Kit) {
    let space = kit.a_space("s").await;
    kit.store.space_delete(&space.clone().deleted(kit.now())).await.unwrap();
    assert!(matches!(kit.store.space_get(&space.name).await, Err(StoreError::NotFound(_))));
    let again = kit.store.space_delete(&space.clone().deleted(kit.now())).await.unwrap_err();
    assert!(matches!(again, StoreError::NotFound(_)));
    let second = kit.a_space("s").await;
    assert_eq!(kit.store.space_get(&space.name).await.unwrap().uid, second.uid);
    let facts: Vec<_> = kit.events("s").await.iter().map(|(_, event)| event.fact.as_str()).collect();
    assert_eq!(facts, ["created", "deleted", "created"]);
}

async fn spaces_are_listed_page_by_page(kit: Kit) {
    for text in ["c", "a", "d", "b", "e"] {
        kit.a_space(text).await;
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = kit.store.space_list(after.as_ref(), 2).await.unwrap();
        seen.extend(page.iter().map(|space| space.name.0.to_string()));
        match page.last() {
            Some(last) => after = Some(last.name.0.clone()),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

async fn of_two_spaces_of_one_name_the_second_is_refused(kit: Kit) {
    let space = kit.a_space("s").await;
    let other = Space::create(SpaceUid(kit.uid()), space.name.clone(), space.settings.clone(), kit.now());
    let refused = kit.store.space_create(&other).await.unwrap_err();
    assert!(matches!(refused, StoreError::AlreadyExists(name) if name == "spaces/s"));
    assert_eq!(kit.events("s").await.len(), 1);
}
