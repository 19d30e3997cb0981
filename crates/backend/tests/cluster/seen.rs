//! What a command sees of what it inherits.

use taskplane_domain::app::Command;
use taskplane_domain::env::Env;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::RunSpec;
use taskplane_domain::security_group::{GroupRef, GroupRules, Rule, RuleText};
use taskplane_domain::service::{BoundService, ServiceSpec};
use taskplane_domain::uid::SecurityGroupUid;
use uuid::Uuid;

use crate::admin::all;
use crate::kit::Kit;

const ODD: &str = "$ $$ $$$ $(X) $$(X) $(params.x) $(context.taskRun.name) \\$ \"q\" 'q' `b` \u{1f600}\tend";

fn env(vars: &[(&str, &str)]) -> Env {
    Env::stored(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_values_arrive_byte_for_byte() {
    let kit = Kit::new().await;
    let command = "printf '%s\\n' \"$APP\" \"$TASK\" '$ $$ $(X) $$(params.x) \u{1f600}' \"$(echo sub)\" $((1+2)); printf '%s' \"${c-unset}${KFT_CMD_0-gone}\"";
    let spec = RunSpec {
        inherited_env: env(&[("APP", ODD)]),
        task_env: env(&[("TASK", &format!("{ODD}\n2"))]),
        ..kit.spec(command)
    };
    let (_, output) = kit.run(&spec).await;
    let expected = format!("{ODD}\n{ODD}\n2\n$ $$ $(X) $$(params.x) \u{1f600}\nsub\n3\nunsetgone");
    assert_eq!(String::from_utf8(output).unwrap(), expected);
    let many = format!("printf '%s' '{}'", "$(".repeat(2_000));
    let (_, output) = kit.run(&RunSpec { command: Command::stored(many), ..kit.spec("") }).await;
    assert_eq!(output, "$(".repeat(2_000).into_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_bindings_resources_command_and_security_groups_show_in_the_pod() {
    let kit = Kit::new().await;
    let credentials = r#"{"uri":"pg://h/db","password":"p"}"#;
    let service = ServiceSpec::parse("pg".into(), "".into(), vec![], credentials.into(), "".into()).unwrap();
    let (binding, instance) = ("db".parse().unwrap(), "shop-db".parse().unwrap());
    let text = RuleText {
        protocol: "tcp".into(),
        destination: "10.0.0.0/8".into(),
        ports: "443".into(),
        ..RuleText::default()
    };
    let group = GroupRef { uid: SecurityGroupUid(Uuid::nil()), name: "db".parse().unwrap(), revision: 1 };
    let script = "echo $A $B $LANG $MEMORY_LIMIT $DISK_LIMIT $DATABASE_URL $(cat $SERVICE_BINDING_ROOT/db/password) $(cat /bindings/db/type) $TASKPLANE_TASK; \
                  echo $CF_INSTANCE_ADDR; echo $VCAP_SERVICES; echo $VCAP_APPLICATION; id -u";
    let spec = RunSpec {
        inherited_env: env(&[("A", "app"), ("B", "app"), ("DATABASE_URL", "app")]),
        task_env: env(&[("B", "task")]),
        services: vec![BoundService { binding, instance, spec: service }],
        resources: Resources { memory: "48Mi".parse().ok(), disk: "32Mi".parse().ok(), cpu: "20m".parse().ok() },
        security_groups: vec![GroupRules { group, rules: vec![Rule::parse("r", text).unwrap()] }],
        ..kit.spec(script)
    };
    let (end, output) = kit.run(&spec).await;
    assert_eq!(end.exit.code, Some(0));
    let output = String::from_utf8(output).unwrap();
    let mut lines = output.lines();
    assert_eq!(lines.next().unwrap(), format!("app task en_US.UTF-8 48M 32 pg://h/db p pg {}", spec.name));
    assert!(lines.next().unwrap().starts_with("10.97."), "{output}");
    assert!(lines.next().unwrap().contains("shop-db"), "{output}");
    assert!(lines.next().unwrap().contains("\"mem\":48"), "{output}");
    assert_eq!(lines.next().unwrap(), "2000");
    let pods = all("pods", &kit.namespace());
    let pod = &pods[0];
    let container = pod["spec"]["containers"].as_array().unwrap().iter().find(|one| one["name"] == "step-run").unwrap();
    assert_eq!(container["resources"]["limits"]["memory"], "48Mi");
    assert_eq!(container["resources"]["requests"]["cpu"], "20m");
    assert_eq!(container["resources"]["limits"].get("cpu"), None);
    let policy = pod["metadata"]["labels"]["taskplane.dev/netpol"].as_str().unwrap();
    let policies = all("networkpolicies", &kit.namespace());
    let names: Vec<_> = policies.iter().map(|policy| policy["metadata"]["name"].as_str().unwrap()).collect();
    assert!(names.contains(&policy) && names.contains(&"taskplane"), "{names:?}");
    assert_eq!(all("services,ingresses", &kit.namespace()).len(), 0);
    let told = all("pipelineruns", &kit.namespace())[0].to_string() + &pod.to_string();
    assert!(!told.contains("pg://h/db"), "a credential stands in the open");
}
