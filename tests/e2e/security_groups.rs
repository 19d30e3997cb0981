//! Security groups through the API: made, bound, changed, and what Tasks say of them.

use taskplane_proto::v1::{self as pb, ConditionStatus, TaskState};
use tonic::{Code, Status};

use crate::client::{Client, archive, archive_source, reason, spec, violations};
use crate::server::{Options, Server};

const GROUP: &str = "spaces/s/securityGroups/db";
const APP: &str = "spaces/s/apps/a";

fn rule(protocol: &str, destination: &str, ports: &str) -> pb::SecurityGroupRule {
    pb::SecurityGroupRule {
        protocol: protocol.into(),
        destination: destination.into(),
        ports: ports.into(),
        ..Default::default()
    }
}

fn group(rules: &[pb::SecurityGroupRule]) -> pb::SecurityGroup {
    pb::SecurityGroup { name: GROUP.into(), rules: rules.to_vec(), ..Default::default() }
}

fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() })
}

/// The one thing that is said of a Task, without what else its machine does not do.
fn said(task: &pb::Task) -> Option<(ConditionStatus, String, String)> {
    let said = task.conditions.iter().find(|condition| condition.r#type == "SecurityGroupsEnforced")?;
    Some((said.status(), said.reason.clone(), said.message.clone()))
}

impl Client {
    async fn make(&self, rules: &[pb::SecurityGroupRule]) -> Result<pb::SecurityGroup, Status> {
        let request = pb::CreateSecurityGroupRequest {
            parent: "spaces/s".into(),
            security_group_id: "db".into(),
            security_group: Some(group(rules)),
        };
        Ok(self.security_groups.clone().create_security_group(request).await?.into_inner())
    }

    async fn change(&self, rules: &[pb::SecurityGroupRule]) -> Result<pb::SecurityGroup, Status> {
        let request =
            pb::UpdateSecurityGroupRequest { security_group: Some(group(rules)), update_mask: mask(&["rules"]) };
        Ok(self.security_groups.clone().update_security_group(request).await?.into_inner())
    }

    async fn bind(&self, target: &str) -> Result<pb::SecurityGroup, Status> {
        let request = pb::BindSecurityGroupRequest { name: GROUP.into(), target: target.into() };
        Ok(self.security_groups.clone().bind_security_group(request).await?.into_inner())
    }

    async fn unbind(&self, target: &str) -> Result<pb::SecurityGroup, Status> {
        let request = pb::UnbindSecurityGroupRequest { name: GROUP.into(), target: target.into() };
        Ok(self.security_groups.clone().unbind_security_group(request).await?.into_inner())
    }

    async fn drop_group(&self, etag: &str) -> Result<(), Status> {
        let request = pb::DeleteSecurityGroupRequest { name: GROUP.into(), etag: etag.into() };
        self.security_groups.clone().delete_security_group(request).await.map(|_| ())
    }
}

#[tokio::test]
async fn a_group_is_made_bound_changed_and_deleted() {
    let server = Server::start().await;
    let client = server.client();
    let app = client.app(&[("a", "")]).await;
    let made = client.make(&[rule("tcp", "10.0.0.0/8, 2001:DB8::/32", "443,8080-8090")]).await.unwrap();
    assert_eq!(made.rules, [rule("tcp", "10.0.0.0/8,2001:db8::/32", "443,8080-8090")]);
    assert_eq!((made.name.as_str(), made.revision, made.space_wide, made.bound_app_count), (GROUP, 1, false, 0));
    assert_eq!(reason(&client.make(&[]).await.unwrap_err()), "ALREADY_EXISTS");

    let bound = client.bind(APP).await.unwrap();
    assert_eq!((bound.bound_app_count, bound.bound_apps.as_slice()), (1, [APP.to_owned()].as_slice()));
    assert_eq!(client.bind(APP).await.unwrap(), bound, "twice is no error");
    assert!(client.bind("spaces/s").await.unwrap().space_wide);
    let get_app = pb::GetAppRequest { name: APP.into() };
    let after = client.apps.clone().get_app(get_app.clone()).await.unwrap().into_inner();
    assert_eq!((after.revision, after.security_groups.as_slice()), (app.revision + 1, [GROUP.to_owned()].as_slice()));
    let space = client.spaces.clone().get_space(pb::GetSpaceRequest { name: "spaces/s".into() }).await.unwrap();
    assert_eq!(space.into_inner().security_groups, [GROUP]);

    let changed = client.change(&[rule("all", "10.0.0.1-10.0.0.9", "")]).await.unwrap();
    assert_eq!((changed.revision, changed.bound_app_count, changed.space_wide), (2, 1, true));
    assert_eq!(client.change(&changed.rules).await.unwrap(), changed, "an equal change is none");
    assert_eq!(client.apps.clone().get_app(get_app).await.unwrap().into_inner().revision, app.revision + 2);
    let pushed = client.push(spec("a", archive_source()), archive(&[("b", "")])).await.unwrap();
    assert_eq!(pushed.security_groups, [GROUP], "a push keeps what is bound");

    let refused = client.drop_group("").await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "IN_USE"));
    assert_eq!(refused.message(), format!("{GROUP} still has bindings: to the whole Space, to App a"));
    assert!(!client.unbind("spaces/s").await.unwrap().space_wide);
    assert_eq!(client.unbind(APP).await.unwrap().bound_app_count, 0);
    assert_eq!(client.unbind(APP).await.unwrap().bound_app_count, 0, "twice is no error");
    assert_eq!(reason(&client.drop_group(&made.etag).await.unwrap_err()), "ETAG_MISMATCH");
    client.drop_group(&changed.etag).await.unwrap();
    let get = pb::GetSecurityGroupRequest { name: GROUP.into() };
    assert_eq!(client.security_groups.clone().get_security_group(get).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_task_says_that_its_groups_are_not_enforced_here() {
    let server =
        Server::start_with(Options { args: vec!["--capacity".into(), "1".into()], ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    client.make(&[rule("tcp", "10.0.0.0/8", "443")]).await.unwrap();
    client.bind(APP).await.unwrap();
    let first = client.run("sleep 600").await;
    let unknown = said(&first).unwrap();
    assert_eq!((unknown.0, unknown.1.as_str()), (ConditionStatus::Unknown, "NotMadeYet"));
    assert!(unknown.2.ends_with("security group db (revision 1)"), "{}", unknown.2);
    let running = client.running(&first.name).await;
    let enforced = said(&running).unwrap();
    assert_eq!((enforced.0, enforced.1.as_str()), (ConditionStatus::False, "LocalProcess"));
    assert!(enforced.2.ends_with("security group db (revision 1)"), "{}", enforced.2);

    // There is room for one: this one is accepted, and waits while the group changes.
    let waiting = client.run("true").await;
    client.change(&[rule("tcp", "10.0.0.0/8", "444")]).await.unwrap();
    assert_eq!(client.get(&waiting.name).await.state(), TaskState::Pending);
    let next = client.run("true").await;
    client.unbind(APP).await.unwrap();
    let free = client.run("true").await;
    client.cancel(&first.name).await;
    let frozen = said(&client.over(&waiting.name).await).unwrap();
    assert!(frozen.0 == ConditionStatus::False && frozen.2.ends_with("db (revision 1)"), "{}", frozen.2);
    let frozen = said(&client.over(&next.name).await).unwrap();
    assert!(frozen.0 == ConditionStatus::False && frozen.2.ends_with("db (revision 2)"), "{}", frozen.2);
    assert_eq!(said(&client.over(&free.name).await), None, "nothing is bound any more");
    assert_eq!(said(&client.get(&first.name).await), Some(enforced), "it stays after the end");
}

#[tokio::test]
async fn bad_rules_and_bindings_are_refused_by_name() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let icmp = pb::SecurityGroupRule { r#type: Some(0), code: Some(0), ..rule("icmp", "0.0.0.0/0", "") };
    let logged = pb::SecurityGroupRule { log: true, ..rule("all", "0.0.0.0/0", "") };
    let rules =
        [rule("tcp", "10.0.0.0/8", "443"), icmp, logged, rule("all", "10.0.0.1/8", ""), rule("udp", "::1", "90-80")];
    let refused = client.make(&rules).await.unwrap_err();
    let line = "security_group.rules[3].destination: 10.0.0.1/8 has host bits set: write 10.0.0.0/8";
    assert!(refused.message().contains(line), "{}", refused.message());
    let fields = ["rules[1].protocol", "rules[2].log", "rules[3].destination", "rules[4].ports"];
    assert_eq!(violations(refused), fields.map(|field| format!("security_group.{field}")));
    assert_eq!(client.bind(APP).await.unwrap_err().code(), Code::NotFound, "nothing was made");

    let made = client.make(&[]).await.unwrap();
    assert_eq!(violations(client.change(&rules[3..4]).await.unwrap_err()), ["security_group.rules[0].destination"]);
    for paths in [&[][..], &["name"], &["rules", "etag"]] {
        let request = pb::UpdateSecurityGroupRequest { security_group: Some(group(&[])), update_mask: mask(paths) };
        let refused = client.security_groups.clone().update_security_group(request).await.unwrap_err();
        assert_eq!(violations(refused), ["update_mask"], "{paths:?}");
    }
    for target in ["", "a", "spaces/s/apps/", "spaces/t", "spaces/t/apps/a", "spaces/s/jobs/j"] {
        assert_eq!(violations(client.bind(target).await.unwrap_err()), ["target"], "{target:?}");
        assert_eq!(violations(client.unbind(target).await.unwrap_err()), ["target"], "{target:?}");
    }
    assert_eq!(client.bind("spaces/s/apps/none").await.unwrap_err().code(), Code::NotFound);
    let get = pb::GetSecurityGroupRequest { name: GROUP.into() };
    let now = client.security_groups.clone().get_security_group(get).await.unwrap().into_inner();
    assert_eq!(now, made, "nothing came of it");
}
