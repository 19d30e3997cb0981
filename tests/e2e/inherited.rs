//! All that a Task inherits, in one scenario: environment, service binding, resources, command and security groups. What was
//! accepted keeps what it was accepted with, whatever becomes of App, Space, service and group before it starts, and also
//! when the server dies in between.

use sha2::{Digest as _, Sha256};
use taskplane_proto::v1::{self as pb, TaskState};

use crate::client::{Client, archive, archive_source, env, spec, task};
use crate::server::{Options, Server};

const APP: &str = "spaces/s/apps/a";
const GROUP: &str = "spaces/s/securityGroups/db";
const WIDE: &str = "spaces/s/securityGroups/dns";
const SERVICE: &str = "spaces/s/services/db";

/// Prints what it sees; what is secret, by its digest.
const REPORT: &str = r#"
digest() { printf %s "$1" | sha256sum | cut -c1-64; }
echo "command $1"
echo "app env $(digest "$OF_APP")"
echo "space env $(digest "$OF_SPACE")"
echo "memory $MEMORY_LIMIT"
echo "service $(digest "$DATABASE_URL")"
"#;

/// Everything as it is before the change, or after it.
#[derive(Clone, Copy)]
struct Version {
    word: &'static str,
    memory: &'static str,
    revision: u32,
}

const BEFORE: Version = Version { word: "before", memory: "64M", revision: 1 };
const AFTER: Version = Version { word: "after", memory: "96M", revision: 2 };

impl Version {
    fn secret(self, of: &str) -> String {
        format!("zz{of}-{}-canary", self.word)
    }

    fn push(self) -> pb::PushAppSpec {
        pb::PushAppSpec {
            command: Some(format!("sh report.sh {}", self.word)),
            env: env(&[("OF_APP", &self.secret("app"))]),
            resources: Some(pb::Resources { memory: self.memory.into(), ..Default::default() }),
            ..spec("a", archive_source())
        }
    }

    fn space(self) -> pb::Space {
        pb::Space { name: "spaces/s".into(), env: env(&[("OF_SPACE", &self.secret("space"))]), ..Default::default() }
    }

    fn service(self) -> pb::ServiceInstance {
        let credentials = format!(r#"{{"uri": "{}"}}"#, self.secret("uri"));
        pb::ServiceInstance { name: SERVICE.into(), credentials, ..Default::default() }
    }

    fn group(self, name: &str) -> pb::SecurityGroup {
        let rule = pb::SecurityGroupRule {
            protocol: "tcp".into(),
            destination: format!("10.0.0.{}", self.revision),
            ports: "443".into(),
            ..Default::default()
        };
        pb::SecurityGroup { name: name.into(), rules: vec![rule], ..Default::default() }
    }

    /// What a Task of this version prints.
    fn report(self) -> String {
        let digest = |of: &str| {
            let digest = Sha256::digest(self.secret(of));
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        format!(
            "command {}\napp env {}\nspace env {}\nmemory {}\nservice {}\n",
            self.word,
            digest("app"),
            digest("space"),
            self.memory,
            digest("uri")
        )
    }

    /// Which revisions its groups have, as the Task says itself.
    fn groups(self) -> String {
        format!("db (revision {0}), dns (revision {0})", self.revision)
    }
}

fn mask(path: &str) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: vec![path.to_owned()] })
}

impl Client {
    /// Space, App, service and groups, and what is bound to what.
    async fn with_everything(&self, version: Version) {
        let (mut groups, mut services, mut apps) =
            (self.security_groups.clone(), self.services.clone(), self.apps.clone());
        let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(version.space()) };
        self.spaces.clone().create_space(request).await.unwrap();
        self.push(version.push(), archive(&[("report.sh", REPORT)])).await.unwrap();
        for (name, target) in [(GROUP, APP), (WIDE, "spaces/s")] {
            let id = name.rsplit('/').next().unwrap();
            let request = pb::CreateSecurityGroupRequest {
                parent: "spaces/s".into(),
                security_group_id: id.into(),
                security_group: Some(version.group(name)),
            };
            groups.create_security_group(request).await.unwrap();
            let request = pb::BindSecurityGroupRequest { name: name.into(), target: target.into() };
            groups.bind_security_group(request).await.unwrap();
        }
        let request = pb::CreateServiceInstanceRequest {
            parent: "spaces/s".into(),
            service_id: "db".into(),
            service: Some(version.service()),
        };
        services.create_service_instance(request).await.unwrap();
        let request = pb::BindServiceRequest { name: APP.into(), service: SERVICE.into(), ..Default::default() };
        apps.bind_service(request).await.unwrap();
    }

    /// All of it changes.
    async fn change_everything(&self, version: Version) {
        let request = pb::UpdateSpaceRequest { space: Some(version.space()), update_mask: mask("env") };
        self.spaces.clone().update_space(request).await.unwrap();
        self.push(version.push(), archive(&[("report.sh", REPORT)])).await.unwrap();
        for name in [GROUP, WIDE] {
            let request = pb::UpdateSecurityGroupRequest {
                security_group: Some(version.group(name)),
                update_mask: mask("rules"),
            };
            let changed = self.security_groups.clone().update_security_group(request).await.unwrap().into_inner();
            assert_eq!(changed.revision, version.revision.cast_signed());
        }
        let request =
            pb::UpdateServiceInstanceRequest { service: Some(version.service()), update_mask: mask("credentials") };
        self.services.clone().update_service_instance(request).await.unwrap();
    }

    /// The Task ran as `version` says, in everything.
    async fn ran_as(&self, version: Version, name: &str) {
        let over = self.over(name).await;
        assert_eq!(over.state(), TaskState::Succeeded, "{}", over.message);
        assert_eq!(self.log(name).await, version.report(), "{}", version.word);
        let said = over.conditions.iter().find(|said| said.r#type == "SecurityGroupsEnforced").unwrap();
        assert!(said.message.ends_with(&version.groups()), "{}: {}", version.word, said.message);
    }
}

#[tokio::test]
async fn a_task_keeps_all_five_things_that_it_inherited_when_it_was_accepted() {
    let options = Options { args: vec!["--capacity".into(), "1".into()], ..Options::default() };
    let server = Server::start_with(options.clone()).await;
    let client = server.client();
    client.with_everything(BEFORE).await;
    let inherited = |name: &str| pb::RunTaskRequest { display_name: name.into(), ..task("") };
    let now = client.run_task(inherited("now")).await.unwrap();
    client.ran_as(BEFORE, &now.name).await;

    // There is room for one Task, and this one takes it: those behind it are accepted, and do not start.
    let blocker = client.run("exec sleep 600").await;
    client.running(&blocker.name).await;
    let frozen = client.run_task(inherited("frozen")).await.unwrap();
    client.change_everything(AFTER).await;
    let next = client.run_task(inherited("next")).await.unwrap();
    assert_eq!(client.get(&frozen.name).await.state(), TaskState::Pending);
    assert!(client.get(&frozen.name).await.app_revision < next.app_revision);

    // The server dies with all that it has in memory, and the blocker with it.
    let server = server.restarted(options).await;
    let client = server.client();
    client.ran_as(BEFORE, &frozen.name).await;
    client.ran_as(AFTER, &next.name).await;

    let log = server.log();
    assert!(!log.contains("-canary"), "a value is in the server's log");
}
