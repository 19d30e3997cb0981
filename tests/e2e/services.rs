//! Services: what a bound App's Tasks see, what they froze, and what is refused.

use taskplane_proto::v1::{self as pb, TaskState, TaskView, VariableOrigin};
use tonic::{Code, Status};

use crate::client::{Client, archive, archive_source, env, reason, spec, task, violations};
use crate::server::{Options, Server};

const APP: &str = "spaces/s/apps/a";
const DB: &str = "spaces/s/services/db";

fn service(credentials: &str) -> pb::ServiceInstance {
    pb::ServiceInstance {
        name: DB.into(),
        label: "pg".into(),
        tags: vec!["sql".into()],
        credentials: credentials.into(),
        ..Default::default()
    }
}

impl Client {
    pub async fn create_service(&self, id: &str, service: pb::ServiceInstance) -> Result<pb::ServiceInstance, Status> {
        let request = pb::CreateServiceInstanceRequest {
            parent: "spaces/s".into(),
            service_id: id.into(),
            service: Some(service),
        };
        Ok(self.services.clone().create_service_instance(request).await?.into_inner())
    }

    pub async fn update_service(
        &self,
        service: pb::ServiceInstance,
        paths: &[&str],
    ) -> Result<pb::ServiceInstance, Status> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = pb::UpdateServiceInstanceRequest { service: Some(service), update_mask };
        Ok(self.services.clone().update_service_instance(request).await?.into_inner())
    }

    pub async fn bind_service(&self, service: &str, binding_name: &str) -> Result<pb::App, Status> {
        let request = pb::BindServiceRequest {
            name: APP.into(),
            service: service.into(),
            binding_name: binding_name.into(),
            ..Default::default()
        };
        Ok(self.apps.clone().bind_service(request).await?.into_inner())
    }

    async fn unbind_service(&self, service: &str) -> Result<pb::App, Status> {
        let request = pb::UnbindServiceRequest { name: APP.into(), service: service.into(), ..Default::default() };
        Ok(self.apps.clone().unbind_service(request).await?.into_inner())
    }

    async fn delete_service(&self, name: &str) -> Result<(), Status> {
        let request = pb::DeleteServiceInstanceRequest { name: name.into(), ..Default::default() };
        self.services.clone().delete_service_instance(request).await.map(|_| ())
    }
}

#[tokio::test]
async fn a_bound_apps_task_sees_its_service_in_every_form() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    client.create_service("db", service(r#"{"uri":"postgres://u@h/d","port":5432.0,"a/b":"x"}"#)).await.unwrap();
    let app = client.bind_service(DB, "main").await.unwrap();
    assert_eq!((app.revision, app.services[0].binding_name.as_str()), (2, "main"));

    let log = client
        .output(
            "echo \"$VCAP_SERVICES\"; echo \"$DATABASE_URL\"; cd \"$SERVICE_BINDING_ROOT\"; \
             find . -printf '%P %m\\n' | sort; echo $(cat main/port) $(cat main/type)",
        )
        .await;
    let expected = r#"{"pg":[{"binding_name":"main","instance_name":"db","name":"main","label":"pg","tags":["sql"],"plan":"","credentials":{"uri":"postgres://u@h/d","port":5432.0,"a/b":"x"},"volume_mounts":[]}]}
postgres://u@h/d
 700
main 700
main/port 400
main/provider 400
main/type 400
main/uri 400
5432.0 pg
"#;
    assert_eq!(log, expected);
    // Nothing of it is left beside what the run's log still needs.
    let left: Vec<_> = walk(&server.path("data/runs")).into_iter().filter(|path| path.ends_with("uri")).collect();
    assert!(left.is_empty(), "{left:?}");
    // Without a binding there is nothing but the empty list.
    client.unbind_service("main").await.unwrap();
    let log = client.output("echo \"$VCAP_SERVICES ${DATABASE_URL-none} ${SERVICE_BINDING_ROOT-none}\"").await;
    assert_eq!(log, "{} none none\n");
}

pub fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(walk(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

#[tokio::test]
async fn an_accepted_task_keeps_what_it_froze_and_its_owner_sees_what_that_is() {
    // One at a time: the second waits until everything has changed.
    let server =
        Server::start_with(Options { args: vec!["--capacity".into(), "1".into()], ..Options::default() }).await;
    let client = server.client();
    let settings = pb::Space { env: env(&[("S", "old"), ("BOTH", "space")]), ..Default::default() };
    let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(settings) };
    client.spaces.clone().create_space(request).await.unwrap();
    client.create_service("db", service(r#"{"uri":"old"}"#)).await.unwrap();
    let push = pb::PushAppSpec {
        env: env(&[("A", "old"), ("BOTH", "app"), ("DATABASE_URL", "the app's own")]),
        services: vec![pb::PushedService { service: "db".into(), binding_name: String::new() }],
        ..spec("a", archive_source())
    };
    client.push(push, archive(&[("a", "")])).await.unwrap();
    let gate = server.path("gate");
    let first = client.run(&format!("until [ -e {} ]; do sleep 0.01; done", gate.display())).await;
    client.running(&first.name).await;
    let say = "echo \"$S $A $BOTH $DATABASE_URL $T\"";
    let waiting = client.run_task(pb::RunTaskRequest { env: env(&[("T", "mine")]), ..task(say) }).await.unwrap();

    client.update_service(service(r#"{"uri":"new"}"#), &["credentials"]).await.unwrap();
    let push = pb::PushAppSpec {
        parent: "spaces/s".into(),
        app_id: "a".into(),
        env: env(&[("A", "new")]),
        unset_env: vec!["BOTH".into()],
        ..Default::default()
    };
    client.push(push, Vec::new()).await.unwrap();
    let space = pb::Space { name: "spaces/s".into(), env: env(&[("S", "new")]), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["env.S".into()] });
    let request = pb::UpdateSpaceRequest { space: Some(space), update_mask };
    client.spaces.clone().update_space(request).await.unwrap();
    let after = client.run(say).await;
    std::fs::write(&gate, "").unwrap();

    client.over(&waiting.name).await;
    client.over(&after.name).await;
    assert_eq!(client.log(&waiting.name).await, "old old app old mine\n");
    assert_eq!(client.log(&after.name).await, "new new space new \n");

    let view = async |view: TaskView| {
        let request = pb::GetTaskRequest { name: waiting.name.clone(), view: view as i32 };
        client.tasks.clone().get_task(request).await.unwrap().into_inner()
    };
    assert!(view(TaskView::Basic).await.variables.is_empty());
    let owned = view(TaskView::Owner).await;
    let origin = |name: &str| owned.variables.iter().find(|variable| variable.name == name).map(|found| found.origin());
    for (name, from) in [
        ("S", VariableOrigin::Space),
        ("A", VariableOrigin::App),
        ("BOTH", VariableOrigin::App),
        ("T", VariableOrigin::Task),
        ("VCAP_SERVICES", VariableOrigin::Platform),
        ("DATABASE_URL", VariableOrigin::Binding),
        ("SERVICE_BINDING_ROOT", VariableOrigin::Binding),
    ] {
        assert_eq!(origin(name), Some(from), "{name}");
    }
    let binding = pb::ServiceBinding { binding_name: "db".into(), service: DB.into(), revision: 1 };
    assert_eq!(owned.services, [binding]);
}

#[tokio::test]
async fn a_service_is_made_changed_and_deleted() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let made = client.create_service("db", service(r#"{"b":{"x":1},"a":"canary"}"#)).await.unwrap();
    assert_eq!(
        (made.credentials.as_str(), made.credential_keys.as_slice()),
        ("", ["a".to_owned(), "b".into()].as_slice())
    );
    assert_eq!(reason(&client.create_service("db", service("{}")).await.unwrap_err()), "ALREADY_EXISTS");
    client.bind_service(DB, "").await.unwrap();
    assert_eq!(client.bind_service(DB, "db").await.unwrap().revision, 2, "twice is no error");
    assert_eq!(reason(&client.bind_service(DB, "other").await.unwrap_err()), "BOUND_ALREADY");
    client.create_service("mq", service("{}")).await.unwrap();
    assert_eq!(reason(&client.bind_service("spaces/s/services/mq", "db").await.unwrap_err()), "BINDING_NAME_TAKEN");
    assert_eq!(reason(&client.bind_service("spaces/s/services/no", "").await.unwrap_err()), "NOT_FOUND");
    assert_eq!(violations(client.bind_service("spaces/t/services/db", "").await.unwrap_err()), ["service"]);

    let stale = pb::ServiceInstance { etag: "\"9\"".into(), ..service("{}") };
    assert_eq!(reason(&client.update_service(stale, &["credentials"]).await.unwrap_err()), "ETAG_MISMATCH");
    let changed = client.update_service(service("{}"), &["plan", "credentials"]).await.unwrap();
    assert_eq!((changed.revision, changed.bound_apps[0].app.as_str(), changed.label.as_str()), (2, APP, "pg"));
    let refused = client.delete_service(DB).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::FailedPrecondition, "IN_USE".into()));
    assert_eq!(refused.message(), "spaces/s/services/db still has bindings to a: unbind it there first");
    client.unbind_service("db").await.unwrap();
    assert_eq!(reason(&client.unbind_service("db").await.unwrap_err()), "NOT_FOUND");
    client.delete_service(DB).await.unwrap();
    assert_eq!(reason(&client.delete_service(DB).await.unwrap_err()), "NOT_FOUND");
}

#[tokio::test]
async fn what_is_wrong_with_a_service_is_named_field_by_field() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let deep = "{\"a\":".repeat(17) + "1" + &"}".repeat(17);
    let large = format!("{{\"a\":\"{}\"}}", "canary".repeat(11_000));
    for (credentials, says) in [
        ("[1]", "must be a JSON object"),
        ("\"canary\"", "must be a JSON object"),
        ("{\"a\": canary}", "is not JSON: byte 6"),
        ("{\"a\":1,\"a\":\"canary\"}", "must not have the same key twice in one object, as at byte 7"),
        ("{\"x\":{\"a\":1,\"a\":2}}", "must not have the same key twice in one object, as at byte 12"),
        (deep.as_str(), "must not be nested deeper than 16 levels"),
        (large.as_str(), "must be at most 65536 bytes long"),
    ] {
        let refused = client.create_service("db", service(credentials)).await.unwrap_err();
        assert!(refused.message().contains(says) && !refused.message().contains("canary"), "{refused:?}");
        assert_eq!(violations(refused), ["service.credentials"]);
    }
    for (field, bad) in [
        ("service.label", pb::ServiceInstance { label: "a\nb".into(), ..service("{}") }),
        ("service.plan", pb::ServiceInstance { plan: "x".repeat(129), ..service("{}") }),
        ("service.tags[1]", pb::ServiceInstance { tags: vec!["a".into(), "a".into()], ..service("{}") }),
        ("service.tags[0]", pb::ServiceInstance { tags: vec![String::new()], ..service("{}") }),
        ("service.tags", pb::ServiceInstance { tags: (0..33).map(|n| n.to_string()).collect(), ..service("{}") }),
        ("service.secret_name", pb::ServiceInstance { secret_name: "No Name".into(), ..service("") }),
        ("service.secret_name", pb::ServiceInstance { secret_name: "name".into(), ..service("{}") }),
    ] {
        assert_eq!(violations(client.create_service("db", bad).await.unwrap_err()), [field]);
    }
    for id in ["", "A", "-a", "a b", &"x".repeat(51)] {
        assert_eq!(violations(client.create_service(id, service("{}")).await.unwrap_err()), ["service_id"]);
    }
    client.create_service("db", service("{\"uri\":\"x\"}")).await.unwrap();
    for name in ["A", "a.b", "../x"] {
        assert_eq!(violations(client.bind_service(DB, name).await.unwrap_err()), ["binding_name"]);
    }
    for mask in [&[][..], &["name"], &["uid"]] {
        assert_eq!(violations(client.update_service(service("{}"), mask).await.unwrap_err()), ["update_mask"]);
    }
    // What a binding sets, a Task does not replace; without one it is a variable like any other.
    let own = || pb::RunTaskRequest { env: env(&[("DATABASE_URL", "mine")]), ..task("true") };
    client.run_task(own()).await.unwrap();
    client.bind_service(DB, "").await.unwrap();
    let refused = client.run_task(own()).await.unwrap_err();
    assert!(refused.message().contains("is set by the App's binding db"), "{refused:?}");
    assert_eq!(violations(refused), ["env[DATABASE_URL]"]);
    // A Secret of a cluster is read where there is a cluster.
    let kept = pb::ServiceInstance { secret_name: "db-credentials".into(), ..service("") };
    client.create_service("far", kept).await.unwrap();
    client.bind_service("spaces/s/services/far", "").await.unwrap();
    assert_eq!(reason(&client.run_task(task("true")).await.unwrap_err()), "SECRETS_NOT_READ");
    client.unbind_service("far").await.unwrap();
    let fine = client.run("true").await;
    assert_eq!(client.over(&fine.name).await.state(), TaskState::Succeeded);
}
