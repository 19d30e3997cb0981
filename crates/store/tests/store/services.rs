//! Services, and the Apps that are bound to them.

use taskplane_domain::app::App;
use taskplane_domain::name::ServiceName;
use taskplane_domain::service::{BOUND_MAX, Credentials, ServiceInstance, ServiceSpec};
use taskplane_domain::space::Space;
use taskplane_domain::uid::ServiceUid;
use taskplane_store::StoreError;

use crate::kit::{Kit, both, name, touch};

crate::on_both_engines![
    a_service_comes_back_as_it_was_written,
    a_changed_service_revises_every_app_that_is_bound_to_it,
    what_a_task_froze_stays_readable,
    a_bound_service_stays_and_names_its_apps,
    binding_and_changing_a_service_never_pass_each_other_by,
    binding_and_deleting_a_service_never_both_happen,
    a_change_that_does_not_fit_an_app_changes_nothing,
    a_service_is_bound_to_so_many_apps_and_no_more,
    a_space_with_services_stays,
];

fn spec(credentials: &str) -> ServiceSpec {
    ServiceSpec::parse("pg".into(), "small".into(), vec!["sql".into()], credentials.into(), "".into()).unwrap()
}

async fn a_service(kit: &Kit, space: &Space, text: &str) -> ServiceInstance {
    let named = ServiceName { space: space.name.0.clone(), service: name(text) };
    let change =
        ServiceInstance::create(ServiceUid(kit.uid()), space.uid, named, spec(r#"{"uri":"canary-one"}"#), kit.now());
    kit.store.service_create(&change).await.unwrap();
    change.service
}

async fn bound(kit: &Kit, app: &App, service: &ServiceInstance) -> App {
    let change = app.clone().bind(service.bound_as(service.name.service.clone()), kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
    change.app
}

async fn a_service_comes_back_as_it_was_written(kit: Kit) {
    let space = kit.a_space("s").await;
    let (b, a) = (a_service(&kit, &space, "b").await, a_service(&kit, &space, "a").await);
    assert_eq!(kit.store.service_get(&b.name).await.unwrap(), b);
    assert_eq!(kit.store.service_list(&space.name, None, 10).await.unwrap(), [a.clone(), b.clone()]);
    let behind = kit.store.service_list(&space.name, Some(&a.name.service), 10).await.unwrap();
    assert_eq!(behind, std::slice::from_ref(&b));
    let again = ServiceInstance::create(ServiceUid(kit.uid()), space.uid, b.name.clone(), spec("{}"), kit.now());
    assert!(matches!(kit.store.service_create(&again).await, Err(StoreError::AlreadyExists(_))));
    let told: Vec<_> = kit.events("s").await.into_iter().map(|(_, event)| event.topic()).collect();
    assert_eq!(told[1..], ["taskplane.v1.s.service.b.created", "taskplane.v1.s.service.a.created"]);
}

async fn a_changed_service_revises_every_app_that_is_bound_to_it(kit: Kit) {
    let space = kit.a_space("s").await;
    let (one, other) = (a_service(&kit, &space, "one").await, a_service(&kit, &space, "other").await);
    let mut apps = Vec::new();
    for text in ["a", "b", "c"] {
        apps.push(kit.an_app(&space, text).await);
    }
    let first = bound(&kit, &bound(&kit, &apps[0], &one).await, &other).await;
    let second = bound(&kit, &apps[1], &one).await;
    let bound_now = kit.store.service_bound(&one).await.unwrap();
    assert_eq!(bound_now.iter().map(|(app, _)| app.app.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    let change = one.clone().update(spec(r#"{"uri":"two"}"#), kit.now()).unwrap();
    kit.store.service_update(&change).await.unwrap();
    assert!(matches!(kit.store.service_update(&change).await, Err(StoreError::Conflict(_))));
    let read = async |app: &App| kit.store.app_get(&app.name).await.unwrap();
    let (a, b, c) = (read(&first).await, read(&second).await, read(&apps[2]).await);
    assert_eq!((a.revision, b.revision, c.revision), (first.revision + 1, second.revision + 1, 1));
    let revisions: Vec<_> = a.spec.services.iter().map(|binding| binding.revision).collect();
    assert_eq!(revisions, [2, 1]);
    assert_eq!(kit.store.service_bound(&change.service).await.unwrap(), bound_now);
    let of_b: Vec<_> = kit.events("s").await.into_iter().filter(|(_, event)| event.uid == b.uid.0).collect();
    assert_eq!(of_b.last().unwrap().1.sequence, b.version);
}

async fn what_a_task_froze_stays_readable(kit: Kit) {
    let space = kit.a_space("s").await;
    let service = a_service(&kit, &space, "db").await;
    let app = bound(&kit, &kit.an_app(&space, "a").await, &service).await;
    let task = kit.a_task(&space, &app).await;
    kit.store.service_update(&service.clone().update(spec("{}"), kit.now()).unwrap()).await.unwrap();
    let now = kit.store.app_get(&app.name).await.unwrap();
    kit.store.app_update(&now.unbind(&name("db"), kit.now()).unwrap()).await.unwrap();
    let service = kit.store.service_get(&service.name).await.unwrap();
    kit.store.service_delete(&service.clone().delete(kit.now())).await.unwrap();
    assert!(matches!(kit.store.service_get(&service.name).await, Err(StoreError::NotFound(_))));

    let frozen = kit.store.app_spec(task.app_uid, task.app_revision).await.unwrap();
    let binding = &frozen.services[0];
    let Credentials::Given(text) = kit.store.service_spec(binding.service, binding.revision).await.unwrap().credentials
    else {
        panic!("given")
    };
    assert_eq!(text.reveal(), r#"{"uri":"canary-one"}"#);
}

async fn a_bound_service_stays_and_names_its_apps(kit: Kit) {
    let space = kit.a_space("s").await;
    let service = a_service(&kit, &space, "db").await;
    for text in ["b", "a"] {
        bound(&kit, &kit.an_app(&space, text).await, &service).await;
    }
    let refused = kit.store.service_delete(&service.clone().delete(kit.now())).await.unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }));
    assert_eq!(refused.to_string(), "spaces/s/services/db still has bindings to a, b: unbind it there first");
    assert_eq!(kit.store.service_get(&service.name).await.unwrap(), service);
    for text in ["a", "b"] {
        let app = kit.store.app_get(&format!("spaces/s/apps/{text}").parse().unwrap()).await.unwrap();
        kit.delete_app(&app, false).await.unwrap();
    }
    kit.store.service_delete(&service.delete(kit.now())).await.unwrap();
}

async fn binding_and_changing_a_service_never_pass_each_other_by(kit: Kit) {
    let space = kit.a_space("s").await;
    let mut service = a_service(&kit, &space, "db").await;
    let (mut bound_first, mut changed_first) = (0, 0);
    for round in 0..30 {
        let app = kit.an_app(&space, &format!("a{round}")).await;
        let bind = app.clone().bind(service.bound_as(name("db")), kit.now()).unwrap().unwrap();
        let change = service.clone().update(spec(&format!("{{\"n\":{round}}}")), kit.now()).unwrap();
        let (bound, changed) =
            both(round % 2 == 0, kit.store.app_update(&bind), kit.store.service_update(&change)).await;
        changed.unwrap();
        service = change.service;
        let app = kit.store.app_get(&app.name).await.unwrap();
        match bound {
            // The App has the present revision, whoever made it so.
            Ok(()) => {
                assert_eq!(app.spec.services[0].revision, service.revision);
                bound_first += 1;
            }
            Err(StoreError::Conflict(_)) => {
                assert!(app.spec.services.is_empty());
                changed_first += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(bound_first > 0 && changed_first > 0, "{bound_first} and {changed_first}");
}

async fn binding_and_deleting_a_service_never_both_happen(kit: Kit) {
    let space = kit.a_space("s").await;
    let (mut deleted, mut bound) = (0, 0);
    for round in 0..30 {
        let service = a_service(&kit, &space, &format!("db{round}")).await;
        let app = kit.an_app(&space, &format!("a{round}")).await;
        let bind = app.bind(service.bound_as(name("db")), kit.now()).unwrap().unwrap();
        let gone = service.delete(kit.now());
        match both(round % 2 == 0, kit.store.app_update(&bind), kit.store.service_delete(&gone)).await {
            (Ok(()), Err(StoreError::InUse { .. })) => bound += 1,
            (Err(StoreError::Conflict(_)), Ok(())) => deleted += 1,
            (bind, delete) => panic!("{bind:?} and {delete:?}"),
        }
    }
    assert!(deleted > 0 && bound > 0);
}

async fn a_change_that_does_not_fit_an_app_changes_nothing(kit: Kit) {
    let space = kit.a_space("s").await;
    let large = |bytes: usize| spec(&format!("{{\"a\":\"{}\"}}", "x".repeat(bytes)));
    let mut app = kit.an_app(&space, "a").await;
    let mut last = None;
    for text in ["one", "two", "three"] {
        let service = a_service(&kit, &space, text).await;
        app = bound(&kit, &app, &service).await;
        if text != "three" {
            kit.store.service_update(&service.update(large(58_000), kit.now()).unwrap()).await.unwrap();
            app = kit.store.app_get(&app.name).await.unwrap();
        } else {
            last = Some(service);
        }
    }
    let last = last.unwrap();
    let refused = kit.store.service_update(&last.clone().update(large(58_000), kit.now()).unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("spaces/s/apps/a would get more than"), "{refused}");
    assert_eq!(kit.store.service_get(&last.name).await.unwrap(), last);
    assert_eq!(kit.store.app_get(&app.name).await.unwrap(), app);
}

async fn a_service_is_bound_to_so_many_apps_and_no_more(kit: Kit) {
    let space = kit.a_space("s").await;
    let service = a_service(&kit, &space, "db").await;
    for number in 0..BOUND_MAX {
        bound(&kit, &kit.an_app(&space, &format!("a{number}")).await, &service).await;
    }
    let app = kit.an_app(&space, "last").await;
    let change = app.bind(service.bound_as(name("db")), kit.now()).unwrap().unwrap();
    let refused = kit.store.app_update(&change).await.unwrap_err();
    assert!(refused.to_string().contains("is bound to 100 Apps already"), "{refused}");
    // All of them are revised at once, and pushes go on.
    kit.store.service_update(&service.update(spec("{}"), kit.now()).unwrap()).await.unwrap();
    let app = kit.store.app_get(&"spaces/s/apps/a7".parse().unwrap()).await.unwrap();
    assert_eq!(app.spec.services[0].revision, 2);
    let change = app.push(touch(kit.a_push(&space, "a7"), "2"), kit.now()).unwrap().unwrap();
    kit.store.app_update(&change).await.unwrap();
}

async fn a_space_with_services_stays(kit: Kit) {
    let space = kit.a_space("s").await;
    let service = a_service(&kit, &space, "db").await;
    let refused = kit.store.space_delete(&space.clone().deleted(kit.now())).await.unwrap_err();
    assert_eq!(refused.to_string(), "spaces/s still has 1 service");
    kit.store.service_delete(&service.delete(kit.now())).await.unwrap();
    kit.store.space_delete(&space.deleted(kit.now())).await.unwrap();
}
