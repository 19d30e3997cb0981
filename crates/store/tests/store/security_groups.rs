//! Security groups, and what becomes of what is bound to them.

use taskplane_domain::app::App;
use taskplane_domain::name::{Name, SecurityGroupName};
use taskplane_domain::security_group::{BoundTo, Groups, Rule, RuleText, SecurityGroup, parse_rules};
use taskplane_domain::space::Space;
use taskplane_domain::uid::{SecurityGroupUid, SpaceUid};
use taskplane_store::StoreError;
use uuid::Uuid;

use crate::kit::Kit;

crate::on_both_engines![
    a_group_comes_back_as_it_was_written,
    a_group_needs_its_space_and_a_name_of_its_own,
    groups_are_listed_page_by_page_with_what_is_bound_to_them,
    an_update_makes_a_revision_of_all_that_is_bound,
    a_task_keeps_the_rules_that_it_was_accepted_with,
    a_group_that_is_bound_stays_and_says_to_what,
    nothing_is_bound_to_a_revision_that_is_not_the_present_one,
    a_deleted_space_takes_its_groups_along,
    an_app_of_an_earlier_release_has_no_groups,
    a_revision_of_a_group_goes_when_nothing_refers_to_it_any_more,
];

pub fn rules(destination: &str) -> Vec<Rule> {
    let text = RuleText {
        protocol: "tcp".into(),
        destination: destination.into(),
        ports: "443,8080-8090".into(),
        description: "why".into(),
        ..RuleText::default()
    };
    parse_rules("rules", vec![text]).unwrap()
}

pub fn names(groups: &Groups) -> Vec<String> {
    groups.iter().map(|group| format!("{}:{}", group.name, group.revision)).collect()
}

impl Kit {
    pub async fn a_group(&self, space: &Space, name: &str) -> SecurityGroup {
        let name = SecurityGroupName { space: space.name.0.clone(), group: name.parse().unwrap() };
        let uid = SecurityGroupUid(self.uid());
        let group = SecurityGroup::create(uid, space.uid, name, rules("10.0.0.0/8"), self.now());
        self.store.security_group_create(&group).await.unwrap();
        group
    }

    pub async fn bound(&self, app: &App, group: &SecurityGroup) -> App {
        let groups = app.spec.security_groups.with(group.reference()).unwrap();
        let change = app.clone().with_groups(groups, self.now()).unwrap();
        self.store.app_bind_group(&change, &group.reference()).await.unwrap();
        change.app
    }

    pub async fn unbound(&self, app: &App, group: &SecurityGroup) -> App {
        let groups = app.spec.security_groups.without(group.uid);
        let change = app.clone().with_groups(groups, self.now()).unwrap();
        self.store.app_update(&change).await.unwrap();
        change.app
    }

    pub async fn bound_space_wide(&self, space: &Space, group: &SecurityGroup) -> Space {
        let groups = space.security_groups.with(group.reference()).unwrap();
        let change = space.clone().with_groups(groups, self.now()).unwrap();
        self.store.space_bind_group(&change, &group.reference()).await.unwrap();
        change.space
    }

    pub async fn updated(&self, group: &SecurityGroup, destination: &str) -> SecurityGroup {
        let next = group.clone().update(rules(destination), self.now()).unwrap();
        self.store.security_group_update(&next).await.unwrap();
        next
    }

    pub async fn app_now(&self, app: &App) -> App {
        self.store.app_get(&app.name).await.unwrap()
    }
}

async fn a_group_comes_back_as_it_was_written(kit: Kit) {
    let space = kit.a_space("s").await;
    let group = kit.a_group(&space, "db").await;
    assert_eq!(kit.store.security_group_get(&group.name).await.unwrap(), (group.clone(), BoundTo::default()));
    kit.advance(5);
    let next = kit.updated(&group, "10.0.0.1-10.0.0.9,2001:db8::/32").await;
    assert_eq!((next.revision, next.updated_at), (2, kit.now()));
    assert_eq!(kit.store.security_group_get(&group.name).await.unwrap().0, next);
    assert_eq!(kit.store.security_group_rules(group.uid, 1).await.unwrap(), group.rules);
    assert_eq!(kit.store.security_group_rules(group.uid, 2).await.unwrap(), next.rules);
    assert!(matches!(kit.store.security_group_rules(group.uid, 3).await, Err(StoreError::NotFound(_))));
    let unknown = kit.store.security_group_get(&"spaces/s/securityGroups/x".parse().unwrap()).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound(name) if name == "spaces/s/securityGroups/x"));
}

async fn a_group_needs_its_space_and_a_name_of_its_own(kit: Kit) {
    let space = kit.a_space("s").await;
    let group = kit.a_group(&space, "db").await;
    let second = SecurityGroup { uid: SecurityGroupUid(kit.uid()), ..group.clone() };
    let taken = kit.store.security_group_create(&second).await.unwrap_err();
    assert!(matches!(taken, StoreError::AlreadyExists(name) if name == "spaces/s/securityGroups/db"));
    let nowhere = SecurityGroup { space_uid: SpaceUid(Uuid::nil()), ..second };
    assert!(
        matches!(kit.store.security_group_create(&nowhere).await, Err(StoreError::NotFound(name)) if name == "spaces/s")
    );
}

async fn groups_are_listed_page_by_page_with_what_is_bound_to_them(kit: Kit) {
    let space = kit.a_space("s").await;
    let [c, a, b] = [kit.a_group(&space, "c").await, kit.a_group(&space, "a").await, kit.a_group(&space, "b").await];
    kit.a_group(&kit.a_space("other").await, "a0").await;
    let app = kit.bound(&kit.an_app(&space, "x").await, &b).await;
    kit.bound(&kit.an_app(&space, "y").await, &b).await;
    kit.bound_space_wide(&space, &c).await;
    let app = kit.bound(&app, &a).await;
    kit.unbound(&app, &a).await;
    let list = async |after: Option<&Name>, limit| {
        let listed = kit.store.security_group_list(&space.name, after, limit).await.unwrap();
        let shown = |(group, bound): (SecurityGroup, BoundTo)| {
            (group.name.group.to_string(), bound.space_wide, bound.app_count)
        };
        listed.into_iter().map(shown).collect::<Vec<_>>()
    };
    let all = [("a".to_owned(), false, 0), ("b".to_owned(), false, 2), ("c".to_owned(), true, 0)];
    assert_eq!(list(None, 9).await, all);
    assert_eq!(list(None, 2).await, all[..2]);
    assert_eq!(list(Some(&"b".parse().unwrap()), 9).await, all[2..]);
    let (_, bound) = kit.store.security_group_get(&b.name).await.unwrap();
    let apps: Vec<_> = bound.apps.iter().map(ToString::to_string).collect();
    assert_eq!(apps, ["spaces/s/apps/x", "spaces/s/apps/y"]);
}

async fn an_update_makes_a_revision_of_all_that_is_bound(kit: Kit) {
    let space = kit.a_space("s").await;
    let (db, web) = (kit.a_group(&space, "db").await, kit.a_group(&space, "web").await);
    let space = kit.bound_space_wide(&space, &db).await;
    let one = kit.bound(&kit.an_app(&space, "one").await, &db).await;
    let two = kit.bound(&kit.bound(&kit.an_app(&space, "two").await, &db).await, &web).await;
    let left = kit.an_app(&space, "left").await;
    let left = kit.unbound(&kit.bound(&left, &db).await, &db).await;
    let other = kit.bound(&kit.an_app(&space, "other").await, &web).await;
    kit.advance(5);
    let db = kit.updated(&db, "10.0.0.1").await;

    for (before, groups) in [(&one, vec!["db:2"]), (&two, vec!["db:2", "web:1"])] {
        let after = kit.app_now(before).await;
        assert_eq!(names(&after.spec.security_groups), groups);
        assert_eq!(
            (after.revision, after.version, after.updated_at),
            (before.revision + 1, before.version + 1, kit.now())
        );
        assert_eq!(&kit.store.app_spec(before.uid, before.revision).await.unwrap(), &before.spec, "what was, stays");
    }
    let after = kit.store.space_get(&space.name).await.unwrap();
    assert_eq!(names(&after.security_groups), ["db:2"]);
    assert_eq!((after.env_revision, after.version), (space.env_revision + 1, space.version + 1));
    assert_eq!(names(&kit.store.space_env(space.uid, space.env_revision).await.unwrap().security_groups), ["db:1"]);
    assert_eq!((kit.app_now(&left).await, kit.app_now(&other).await), (left, other), "not bound to it");

    let told: Vec<_> =
        kit.events("s").await.into_iter().map(|(_, event)| event).filter(|event| event.at == kit.now()).collect();
    let mut facts: Vec<_> = told.iter().map(|event| format!("{} {}", event.subject, event.fact.as_str())).collect();
    facts.sort();
    assert_eq!(facts, ["spaces/s updated", "spaces/s/apps/one updated", "spaces/s/apps/two updated"]);
    // It goes on from there, as with any revision.
    let next = kit.updated(&db, "10.0.0.2").await;
    assert_eq!(names(&kit.app_now(&two).await.spec.security_groups), ["db:3", "web:1"]);
    assert_eq!(next.revision, 3);
}

async fn a_task_keeps_the_rules_that_it_was_accepted_with(kit: Kit) {
    let space = kit.a_space("s").await;
    let (db, dns) = (kit.a_group(&space, "db").await, kit.a_group(&space, "dns").await);
    let space = kit.bound_space_wide(&space, &dns).await;
    let app = kit.bound(&kit.an_app(&space, "a").await, &db).await;
    let waiting = kit.a_task(&space, &app).await;
    let frozen = async |task: &taskplane_domain::task::Task| {
        let spec = kit.store.app_spec(task.app_uid, task.app_revision).await.unwrap();
        let of_space = kit.store.space_env(task.space_uid, task.space_env_revision).await.unwrap();
        let mut said = Vec::new();
        for group in spec.security_groups.joined(&of_space.security_groups).iter() {
            said.push((
                group.name.to_string(),
                kit.store.security_group_rules(group.uid, group.revision).await.unwrap(),
            ));
        }
        said
    };
    let before = vec![("db".to_owned(), rules("10.0.0.0/8")), ("dns".to_owned(), rules("10.0.0.0/8"))];
    assert_eq!(frozen(&waiting).await, before);
    let db = kit.updated(&db, "10.0.0.1").await;
    kit.updated(&dns, "10.0.0.53").await;
    let next = kit.a_task(&kit.store.space_get(&space.name).await.unwrap(), &kit.app_now(&app).await).await;
    assert_eq!(frozen(&next).await, [("db".to_owned(), rules("10.0.0.1")), ("dns".to_owned(), rules("10.0.0.53"))]);
    // Neither the end of a binding nor that of the group changes what was frozen.
    kit.unbound(&kit.app_now(&app).await, &db).await;
    kit.store.security_group_delete(&db).await.unwrap();
    assert_eq!(frozen(&waiting).await, before);
}

async fn a_group_that_is_bound_stays_and_says_to_what(kit: Kit) {
    let space = kit.a_space("s").await;
    let group = kit.a_group(&space, "db").await;
    let mut apps = Vec::new();
    for number in 1..=7 {
        apps.push(kit.bound(&kit.an_app(&space, &format!("a{number}")).await, &group).await);
    }
    let space = kit.bound_space_wide(&space, &group).await;
    let refused = kit.store.security_group_delete(&group).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "spaces/s/securityGroups/db still has bindings: to the whole Space, to App a1, to App a2, to App a3, to App a4, to \
         App a5, to 2 Apps more"
    );
    for app in &apps[1..] {
        kit.unbound(app, &group).await;
    }
    let change = space.clone().with_groups(space.security_groups.without(group.uid), kit.now()).unwrap();
    kit.store.space_update(&change).await.unwrap();
    let refused = kit.store.security_group_delete(&group).await.unwrap_err().to_string();
    assert_eq!(refused, "spaces/s/securityGroups/db still has bindings: to App a1");
    assert_eq!(kit.store.security_group_get(&group.name).await.unwrap().0, group, "nothing was deleted");
    kit.delete_app(&apps[0], false).await.unwrap();
    kit.store.security_group_delete(&group).await.unwrap();
    assert!(matches!(kit.store.security_group_get(&group.name).await, Err(StoreError::NotFound(_))));
    assert!(matches!(kit.store.security_group_delete(&group).await, Err(StoreError::NotFound(_))));
}

async fn nothing_is_bound_to_a_revision_that_is_not_the_present_one(kit: Kit) {
    let space = kit.a_space("s").await;
    let old = kit.a_group(&space, "db").await;
    let app = kit.an_app(&space, "a").await;
    let groups = Groups::default().with(old.reference()).unwrap();
    let of_app = app.clone().with_groups(groups.clone(), kit.now()).unwrap();
    let of_space = space.clone().with_groups(groups, kit.now()).unwrap();
    let present = kit.updated(&old, "10.0.0.1").await;
    let conflict =
        |result: Result<(), StoreError>| matches!(result, Err(StoreError::Conflict(name)) if name.ends_with("/db"));
    assert!(conflict(kit.store.app_bind_group(&of_app, &old.reference()).await));
    assert!(conflict(kit.store.space_bind_group(&of_space, &old.reference()).await));
    kit.store.security_group_delete(&present).await.unwrap();
    let gone = kit.store.app_bind_group(&of_app, &old.reference()).await.unwrap_err();
    assert!(matches!(gone, StoreError::NotFound(name) if name == "spaces/s/securityGroups/db"));
    assert_eq!(kit.app_now(&app).await, app, "nothing was written");
    assert_eq!(kit.store.space_get(&space.name).await.unwrap(), space);
}

/// Whoever loses a race reads again and decides again, as the api does.
async fn a_deleted_space_takes_its_groups_along(kit: Kit) {
    let space = kit.a_space("s").await;
    let group = kit.a_group(&space, "db").await;
    let space = kit.bound_space_wide(&space, &group).await;
    kit.store.space_delete(&space.deleted(kit.now())).await.unwrap();
    assert!(matches!(kit.store.security_group_get(&group.name).await, Err(StoreError::NotFound(_))));
    assert!(matches!(kit.store.security_group_rules(group.uid, 1).await, Err(StoreError::NotFound(_))));
    let again = kit.a_space("s").await;
    assert!(kit.store.security_group_list(&again.name, None, 9).await.unwrap().is_empty());
    kit.a_group(&again, "db").await;
}

async fn an_app_of_an_earlier_release_has_no_groups(kit: Kit) {
    let space = kit.a_space("s").await;
    kit.execute("UPDATE space_envs SET security_groups = NULL").await;
    assert_eq!(kit.store.space_get(&space.name).await.unwrap(), space);
    assert!(kit.store.space_env(space.uid, 1).await.unwrap().security_groups.is_empty());
}

async fn a_revision_of_a_group_goes_when_nothing_refers_to_it_any_more(kit: Kit) {
    let space = kit.a_space("s").await;
    let group = kit.a_group(&space, "db").await;
    let app = kit.bound(&kit.an_app(&space, "a").await, &group).await;
    let task = kit.a_task(&space, &app).await;
    let second = kit.updated(&group, "10.0.0.2").await;
    let third = kit.updated(&second, "10.0.0.3").await;
    let there = async |revision| kit.store.security_group_rules(group.uid, revision).await.is_ok();
    assert_eq!(kit.store.security_group_revisions_trim(9).await.unwrap(), 0, "revisions of the App refer to each");
    kit.store.app_revisions_trim(None, 9).await.unwrap();
    assert_eq!(kit.store.security_group_revisions_trim(9).await.unwrap(), 1);
    assert!(there(1).await && !there(2).await && there(3).await, "the Task has the first one");
    assert_eq!(kit.store.task_get_by_uid(task.uid).await.unwrap().app_revision, app.revision);
    kit.unbound(&kit.app_now(&app).await, &third).await;
    kit.store.app_revisions_trim(None, 9).await.unwrap();
    kit.store.security_group_delete(&third).await.unwrap();
    assert_eq!(kit.store.security_group_revisions_trim(9).await.unwrap(), 1);
    assert!(there(1).await && !there(3).await);
}
