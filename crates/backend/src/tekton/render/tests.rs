use taskplane_domain::app::Command;
use taskplane_domain::env::Env;
use taskplane_domain::run::{InCluster, RunKey, StartToken};
use taskplane_domain::security_group::{GroupRef, GroupRules, Rule, RuleText};
use taskplane_domain::service::ServiceSpec;
use taskplane_domain::uid::{AppUid, JobUid, SecurityGroupUid, SpaceUid, TaskUid};
use uuid::Uuid;

use super::*;
use crate::tekton::config::{Guard, Pins};

fn spec() -> RunSpec {
    RunSpec {
        key: RunKey { task: TaskUid(Uuid::from_u128(1)), attempt: 2 },
        name: "spaces/blue/apps/billing/tasks/7".parse().unwrap(),
        space_uid: SpaceUid(Uuid::from_u128(64 + 3)),
        app_uid: AppUid(Uuid::from_u128(4)),
        app_revision: 5,
        display_name: "nightly".into(),
        source: Source::Image("registry.example/billing:1".into()),
        command: Command::stored("echo $(date)".into()),
        inherited_env: env(&[("A", "canary-app"), ("B", "app")]),
        task_env: Env::default(),
        services: Vec::new(),
        resources: Resources { memory: "256M".parse().ok(), disk: None, cpu: None },
        security_groups: Vec::new(),
        timeout: None,
        log_cap: None,
        start_token: None,
        trace: None,
        cluster: InCluster { naming_key: NamingKey(vec![9; 32]), ..InCluster::default() },
    }
}

fn env(vars: &[(&str, &str)]) -> Env {
    Env::stored(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn rendered(spec: &RunSpec) -> Rendered {
    render(spec, &TektonConfig::default(), &[], "space-blue").unwrap()
}

fn steps(run: &Value) -> &Vec<Value> {
    run["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"]["steps"].as_array().unwrap()
}

fn step(run: &Value) -> &Value {
    steps(run).last().unwrap()
}

fn guarding() -> TektonConfig {
    let addresses = vec!["10.0.0.1:7073".to_owned(), "tickets.taskplane.svc:7073".to_owned()];
    let guard = Guard { image: "registry.example/guard:1".into(), addresses, pins: Pins::new(|| Ok(Vec::new())) };
    TektonConfig { guard: Some(guard), start_deadline: Duration::from_secs(900), ..TektonConfig::default() }
}

fn asking() -> RunSpec {
    RunSpec { start_token: Some(StartToken("canary-token".into())), ..spec() }
}

fn guarded(spec: &RunSpec) -> Rendered {
    render(spec, &guarding(), &["5a".repeat(32), "6b".repeat(32)], "space-blue").unwrap()
}

#[test]
fn a_run_is_inert_named_after_its_attempt_and_the_same_each_time() {
    let Rendered { name, run, .. } = rendered(&spec());
    assert_eq!(name, "t-00000000000000000000000000000001-2");
    assert_eq!(run["metadata"]["name"], name);
    assert_eq!(run["spec"]["status"], "PipelineRunPending");
    assert_eq!(rendered(&spec()), rendered(&spec()));
}

#[test]
fn labels_say_whose_it_is_and_reach_the_pod() {
    let mut spec = spec();
    spec.cluster.job = Some((JobUid(Uuid::from_u128(5)), "nightly-report".parse().unwrap()));
    let labels = &rendered(&spec).run["metadata"]["labels"];
    for (key, value) in [
        ("app.kubernetes.io/name", "billing"),
        ("taskplane.dev/managed", "true"),
        ("taskplane.dev/task-id", "00000000000000000000000000000001"),
        ("taskplane.dev/attempt", "2"),
        ("taskplane.dev/task", "7"),
        ("taskplane.dev/space", "blue"),
        ("taskplane.dev/app", "billing"),
        ("taskplane.dev/job", "nightly-report"),
        ("taskplane.dev/shard", "3"),
    ] {
        assert_eq!(labels[key], value, "{key}");
    }
    assert_eq!(labels.get("app.kubernetes.io/managed-by"), None, "Tekton overwrites it on the pod");
}

#[test]
fn no_value_of_a_variable_stands_in_the_run() {
    let mut spec = spec();
    spec.task_env = env(&[("B", "canary-task")]);
    let service =
        ServiceSpec::parse("pg".into(), "".into(), vec![], r#"{"uri":"canary-uri"}"#.into(), "".into()).unwrap();
    let (binding, instance) = ("db".parse().unwrap(), "shop-db".parse().unwrap());
    spec.services = vec![BoundService { binding, instance, spec: service }];
    let Rendered { run, secrets, .. } = rendered(&spec);
    assert!(!run.to_string().contains("canary"), "{run}");
    let names: Vec<_> = secrets.iter().map(name_of).collect();
    assert_eq!(names.len(), 3);
    assert_eq!(names[1], "t-00000000000000000000000000000001-2-env");
    assert!(names[0].starts_with("env-0000") && names[2].starts_with("bindings-0000"), "{names:?}");
    assert_eq!(secrets[0]["stringData"]["A"], "canary-app");
    assert_eq!(secrets[0]["stringData"]["DATABASE_URL"], "canary-uri");
    assert_eq!(secrets[2]["stringData"]["0.uri"], "canary-uri");
    assert!(secrets.iter().all(|secret| secret["immutable"] == true));
    // Of two sources the last one counts.
    assert_eq!(step(&run)["envFrom"], json!([{"secretRef": {"name": names[0]}}, {"secretRef": {"name": names[1]}}]));
    assert_eq!(step(&run)["volumeMounts"][0]["mountPath"], "/bindings/db");
}

#[test]
fn the_same_variables_are_one_secret_whose_name_tells_nothing() {
    let name = |spec: &RunSpec| name_of(&rendered(spec).secrets[0]);
    let (one, mut other) = (spec(), spec());
    other.key.attempt = 3;
    other.name = "spaces/blue/apps/billing/tasks/8".parse().unwrap();
    assert_eq!(name(&one), name(&other));
    other.inherited_env = env(&[("A", "b")]);
    assert_ne!(name(&one), name(&other));
    let mut foreign = spec();
    foreign.cluster.naming_key = NamingKey(vec![8; 32]);
    assert_ne!(name(&one), name(&foreign));
}

#[test]
fn what_somebody_would_rewrite_does_not_stand_inline() {
    let mut spec = spec();
    spec.display_name = "costs $(params.x) $$".into();
    let Rendered { run, secrets, .. } = rendered(&spec);
    let inline = step(&run)["env"].as_array().unwrap();
    for var in inline.iter().filter(|var| var["name"] != "CF_INSTANCE_ADDR") {
        let value = var["value"].as_str().unwrap_or_default();
        assert!(!value.contains("$("), "{var}");
        assert!(!value.replace("$$", "").contains('$'), "{var}");
    }
    assert!(!inline.iter().any(|var| var["name"] == "CF_TASK_NAME"));
    assert_eq!(secrets[1]["stringData"]["CF_TASK_NAME"], "costs $(params.x) $$");
}

#[test]
fn memory_and_disk_are_requested_and_limited_alike_and_cpu_is_not_limited() {
    let compute = &step(&rendered(&spec()).run)["computeResources"].clone();
    assert_eq!(compute["limits"], json!({"memory": "256Mi", "ephemeral-storage": "1Gi"}));
    assert_eq!(compute["requests"], json!({"memory": "256Mi", "ephemeral-storage": "1Gi", "cpu": "100m"}));
}

#[test]
fn a_limit_is_nested_three_times_and_none_is_none() {
    let timeouts = |timeout| {
        let run = rendered(&RunSpec { timeout, ..spec() }).run;
        let task = run["spec"]["pipelineSpec"]["tasks"][0].clone();
        (run["spec"]["timeouts"]["pipeline"].clone(), task["timeout"].clone(), step(&run)["timeout"].clone())
    };
    let (whole, inner, step) = timeouts(Some(Duration::from_secs(5400)));
    assert_eq!((whole, inner, step), (json!("9900s"), json!("6000s"), json!("5400s")));
    assert_eq!(timeouts(None), (json!("0s"), json!("0s"), Value::Null));
    assert_eq!(timeouts(Some(Duration::from_millis(1500))).2, "1500ms");
}

#[test]
fn pods_are_confined_and_placed() {
    let mut spec = spec();
    spec.cluster.placement = Placement {
        node_labels: [("disk".to_owned(), "ssd".to_owned())].into(),
        tolerations: vec![
            Toleration {
                key: Some("gpu".into()),
                value: Some("a".into()),
                effect: Some(Effect::NoExecute),
                at_most: Some(Duration::from_secs(9)),
            },
            Toleration { key: Some("x".into()), value: None, effect: None, at_most: None },
        ],
        priority_class: Some("low".into()),
    };
    let Rendered { run, account, .. } = rendered(&spec);
    let pod = &run["spec"]["taskRunTemplate"]["podTemplate"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["nodeSelector"], json!({"disk": "ssd"}));
    assert_eq!(
        pod["tolerations"],
        json!([{"operator": "Equal", "key": "gpu", "value": "a", "effect": "NoExecute", "tolerationSeconds": 9},
               {"operator": "Exists", "key": "x"}])
    );
    assert_eq!(pod["priorityClassName"], "low");
    assert_eq!(step(&run)["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(run["spec"]["taskRunTemplate"]["serviceAccountName"], "task-billing");
    assert_eq!(account["metadata"]["name"], "task-billing");
    assert_eq!(account["automountServiceAccountToken"], false);
}

#[test]
fn security_groups_are_one_policy_named_by_what_it_says() {
    let group = |destination: &str, ports: &str| {
        let text = RuleText {
            protocol: "tcp".into(),
            destination: destination.into(),
            ports: ports.into(),
            ..RuleText::default()
        };
        let reference = GroupRef { uid: SecurityGroupUid(Uuid::nil()), name: "db".parse().unwrap(), revision: 1 };
        GroupRules { group: reference, rules: vec![Rule::parse("r", text).unwrap()] }
    };
    let with = |groups| rendered(&RunSpec { security_groups: groups, ..spec() });
    let Rendered { run, policy, .. } =
        with(vec![group("10.0.0.1-10.0.0.2", "5432,8000-8010"), group("192.0.2.0/24", "443")]);
    let policy = policy.unwrap();
    assert_eq!(policy["metadata"]["name"], run["metadata"]["labels"][names::NETPOL]);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Egress"]));
    assert_eq!(
        policy["spec"]["egress"],
        json!([
            {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}, {"ipBlock": {"cidr": "10.0.0.2/32"}}],
             "ports": [{"protocol": "TCP", "port": 5432}, {"protocol": "TCP", "port": 8000, "endPort": 8010}]},
            {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"protocol": "TCP", "port": 443}]},
        ])
    );
    assert_eq!(with(vec![]).policy, None);
    assert_ne!(with(vec![group("10.0.0.1", "1")]).policy, with(vec![group("10.0.0.1", "2")]).policy);
}

#[test]
fn another_spec_has_another_hash_whatever_this_executor_is_set_to() {
    let hash = |spec: &RunSpec, config: &TektonConfig| render(spec, config, &[], "space-blue").unwrap().hash;
    let config = TektonConfig::default();
    let other = TektonConfig { run_as_user: 7, pods_per_space: 1, ..TektonConfig::default() };
    assert_eq!(hash(&spec(), &config), hash(&spec(), &other));
    let command = Command::stored("true".into());
    assert_ne!(hash(&spec(), &config), hash(&RunSpec { command, ..spec() }, &config));
    assert_ne!(hash(&spec(), &config), hash(&RunSpec { task_env: env(&[("A", "x")]), ..spec() }, &config));
}

#[test]
fn what_is_too_large_or_has_no_image_is_not_made() {
    let reason = |spec: &RunSpec| match render(spec, &TektonConfig::default(), &[], "n") {
        Err(BackendError::NotMade { reason, .. }) => Some(reason),
        _ => None,
    };
    let archive =
        taskplane_domain::app::SourceArchive { sha256: "0".repeat(64), size_bytes: 1, entry_count: 1, upload: None };
    assert_eq!(reason(&RunSpec { source: Source::Archive(archive), ..spec() }), Some(Reason::InvalidSpec));
    let command = Command::stored("x".repeat(200 * 1024));
    assert_eq!(reason(&RunSpec { command, ..spec() }), Some(Reason::InvalidSpec));
    let longest = Command::stored("$(".repeat(8 * 1024));
    assert_eq!(reason(&RunSpec { command: longest, ..spec() }), None);
}

#[test]
fn the_trace_goes_on_in_tekton() {
    let trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01".to_owned();
    let run = rendered(&RunSpec { trace: Some(trace.clone()), ..spec() }).run;
    let context = run["metadata"]["annotations"]["tekton.dev/pipelinerunSpanContext"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(context).unwrap(), json!({ "traceparent": trace }));
}

#[test]
fn a_guard_comes_before_the_command_and_is_told_everything_by_a_secret_of_its_own() {
    let Rendered { run, secrets, guarded, .. } = guarded(&asking());
    assert!(guarded);
    let names: Vec<_> = steps(&run).iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["guard", "run"]);
    let guard = &steps(&run)[0];
    assert_eq!(
        (&guard["image"], &guard["command"]),
        (&json!("registry.example/guard:1"), &json!(["/taskplane-guard"]))
    );
    assert_eq!((guard.get("timeout"), guard.get("onError")), (None, None));
    assert_eq!(guard["securityContext"], step(&run)["securityContext"]);
    let told = "t-00000000000000000000000000000001-2-guard";
    assert_eq!(guard["envFrom"], json!([{"secretRef": {"name": told}}]));
    let pod_uid = json!({"name": "TASKPLANE_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}});
    assert_eq!(guard["env"], json!([pod_uid]));
    let secret = secrets.iter().find(|secret| name_of(secret) == told).unwrap();
    assert_eq!(
        secret["stringData"],
        json!({
            "TASKPLANE_TICKETS": "10.0.0.1:7073,tickets.taskplane.svc:7073",
            "TASKPLANE_TICKET_PINS": format!("{},{}", "5a".repeat(32), "6b".repeat(32)),
            "TASKPLANE_TASK_UID": "00000000-0000-0000-0000-000000000001",
            "TASKPLANE_ATTEMPT": "2",
            "TASKPLANE_START_TOKEN": "canary-token",
            "TASKPLANE_START_WITHIN": "900",
        })
    );
    assert_eq!(secret["immutable"], true);
    assert!(run["metadata"]["annotations"][names::SECRETS].as_str().unwrap().contains(told), "it goes with the run");
}

#[test]
fn the_command_does_not_see_its_start_token() {
    let Rendered { run, secrets, .. } = guarded(&asking());
    assert!(!run.to_string().contains("canary-token"), "{run}");
    let sources = step(&run)["envFrom"].to_string();
    for secret in secrets.iter().filter(|secret| sources.contains(&name_of(secret))) {
        assert!(!secret.to_string().contains("canary-token"), "{secret}");
    }
}

#[test]
fn there_is_a_guard_where_the_space_wants_one_and_the_cluster_has_one() {
    let without = [render(&asking(), &TektonConfig::default(), &[], "n").unwrap(), guarded(&spec())];
    for Rendered { run, secrets, guarded, .. } in without {
        assert_eq!((guarded, steps(&run).len(), secrets.len()), (false, 1, 1));
        assert_eq!(run["metadata"]["annotations"].get(names::GUARDED), None);
    }
    assert_eq!(guarded(&asking()).run["metadata"]["annotations"][names::GUARDED], "true");
    assert_eq!(guarded(&asking()).hash, rendered(&asking()).hash);
}

#[test]
fn waiting_for_a_ticket_takes_nothing_of_the_commands_time() {
    let timeout = Some(Duration::from_secs(90));
    let run = guarded(&RunSpec { timeout, ..asking() }).run;
    let task = &run["spec"]["pipelineSpec"]["tasks"][0];
    assert_eq!(step(&run)["timeout"], "90s", "from the command's start");
    assert_eq!(task["timeout"], "1590s", "start deadline, pulling, and the command's own");
    assert_eq!(run["spec"]["timeouts"]["pipeline"], "2790s");
}
