//! The variables a local run gets: all of them, and nothing of the server's own environment but what is named here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use taskplane_domain::env::{BINDING_ROOT, DATABASE_URL};
use taskplane_domain::run::RunSpec;
use taskplane_domain::service::{database_url, vcap_services};
use taskplane_domain::uid::RunUid;

use crate::process::MARK;
use crate::record;
use crate::told::{LANG, PORT, application, limits};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Local runs share the machine's network, and nothing is routed to them.
const ADDRESS: &str = "127.0.0.1";

/// What a run inherits from the server, when the server has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Inherited {
    pub(super) path: Option<OsString>,
    pub(super) lang: Option<OsString>,
    pub(super) tmpdir: Option<OsString>,
}

/// All variables of a run, the last of a name wins: the machine's, the Space's and the App's, the Task's, the platform's.
pub(super) fn variables(
    inherited: &Inherited,
    dir: &Path,
    spec: &RunSpec,
    run: &RunUid,
    mark: &str,
) -> BTreeMap<OsString, OsString> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    all.insert("PATH".into(), inherited.path.clone().unwrap_or_else(|| DEFAULT_PATH.into()));
    all.insert("LANG".into(), inherited.lang.clone().unwrap_or_else(|| LANG.into()));
    all.insert("HOME".into(), dir.join(record::WORK).into());
    if let Some(tmpdir) = &inherited.tmpdir {
        all.insert("TMPDIR".into(), tmpdir.clone());
    }
    for (name, value) in spec.inherited_env.iter().chain(spec.task_env.iter()) {
        all.insert(name.into(), value.reveal().into());
    }
    all.extend(platform(spec, run, mark).into_iter().map(|(name, value)| (name.into(), value.into())));
    if !spec.services.is_empty() {
        all.insert(BINDING_ROOT.into(), dir.join(record::BINDINGS).into());
    }
    if let Some(uri) = database_url(&spec.services) {
        all.insert(DATABASE_URL.into(), uri.reveal().into());
    }
    all
}

fn platform(spec: &RunSpec, run: &RunUid, mark: &str) -> Vec<(&'static str, String)> {
    let mut vars = vec![
        ("CF_INSTANCE_IP", ADDRESS.to_owned()),
        ("CF_INSTANCE_PORT", PORT.to_owned()),
        ("CF_INSTANCE_ADDR", format!("{ADDRESS}:{PORT}")),
        ("CF_INSTANCE_INTERNAL_IP", ADDRESS.to_owned()),
        ("VCAP_APP_HOST", ADDRESS.to_owned()),
        ("CF_INSTANCE_GUID", run.to_string()),
        ("INSTANCE_GUID", run.to_string()),
        ("CF_TASK_ID", spec.key.task.to_string()),
        ("CF_TASK_NAME", spec.display_name.clone()),
        ("VCAP_APPLICATION", application(spec, spec.resources)),
        ("VCAP_SERVICES", vcap_services(&spec.services).reveal().to_owned()),
        ("TASKPLANE_TASK", spec.name.to_string()),
        ("TASKPLANE_ATTEMPT", spec.key.attempt.to_string()),
        (MARK, mark.to_owned()),
    ];
    vars.extend(limits(spec.resources));
    vars
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use taskplane_domain::app::{Command, Source};
    use taskplane_domain::env::Env;
    use taskplane_domain::frozen;
    use taskplane_domain::quantity::Resources;
    use taskplane_domain::run::{InCluster, RunKey};
    use taskplane_domain::service::{BoundService, ServiceSpec};
    use taskplane_domain::uid::{AppUid, SpaceUid, TaskUid};
    use uuid::Uuid;

    fn spec(inherited: &[(&str, &str)], own: &[(&str, &str)]) -> RunSpec {
        let env = |vars: &[(&str, &str)]| Env::stored(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        RunSpec {
            key: RunKey { task: TaskUid(Uuid::from_u128(1)), attempt: 2 },
            name: "spaces/blue/apps/billing/tasks/7".parse().unwrap(),
            space_uid: SpaceUid(Uuid::from_u128(3)),
            app_uid: AppUid(Uuid::from_u128(4)),
            app_revision: 5,
            display_name: "nightly".into(),
            source: Source::Image("unused".into()),
            command: Command::stored("true".into()),
            inherited_env: env(inherited),
            task_env: env(own),
            services: Vec::new(),
            resources: Resources { memory: "256M".parse().ok(), disk: "1Gi".parse().ok(), cpu: None },
            security_groups: Vec::new(),
            timeout: None,
            log_cap: None,
            start_token: None,
            trace: None,
            cluster: InCluster::default(),
        }
    }

    fn get(spec: &RunSpec, inherited: &Inherited, name: &str) -> Option<String> {
        let all = variables(inherited, Path::new("/run"), spec, &RunUid("uid".into()), "key@root");
        all.get(std::ffi::OsStr::new(name)).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_last_word_is_the_tasks_and_above_it_the_platforms() {
        let spec = spec(
            &[("A", "app"), ("B", "app"), ("PATH", "/app"), ("CF_INSTANCE_IP", "8.8.8.8")],
            &[("B", "task"), ("LANG", "C"), ("TASKPLANE_RUN", "none")],
        );
        let inherited = Inherited { path: Some("/server".into()), lang: Some("de_DE".into()), tmpdir: None };
        for (name, value) in [
            ("A", Some("app")),
            ("B", Some("task")),
            ("PATH", Some("/app")),
            ("LANG", Some("C")),
            ("TMPDIR", None),
            ("HOME", Some("/run/work")),
            ("CF_INSTANCE_IP", Some("127.0.0.1")),
            ("TASKPLANE_RUN", Some("key@root")),
        ] {
            assert_eq!(get(&spec, &inherited, name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn a_server_without_path_or_language_gives_the_usual_ones() {
        assert_eq!(get(&spec(&[], &[]), &Inherited::default(), "PATH").as_deref(), Some(DEFAULT_PATH));
        assert_eq!(get(&spec(&[], &[]), &Inherited::default(), "LANG").as_deref(), Some("en_US.UTF-8"));
    }

    #[test]
    fn limits_are_told_in_mebibytes_and_only_when_set() {
        let mut spec = spec(&[], &[]);
        for (name, value) in [("MEMORY_LIMIT", "256M"), ("MEMORY_LIMIT_IN_MB", "256"), ("DISK_LIMIT", "1024")] {
            assert_eq!(get(&spec, &Inherited::default(), name).as_deref(), Some(value), "{name}");
        }
        spec.resources = Resources::default();
        assert_eq!(get(&spec, &Inherited::default(), "MEMORY_LIMIT"), None);
        assert_eq!(get(&spec, &Inherited::default(), "DISK_LIMIT"), None);
    }

    #[test]
    fn a_binding_gives_the_database_and_the_apps_own_variable_gives_way() {
        let service = ServiceSpec::parse("pg".into(), "".into(), vec![], r#"{"uri":"postgres://h"}"#.into(), "".into());
        let mut spec = spec(&[("DATABASE_URL", "app"), ("SERVICE_BINDING_ROOT", "/elsewhere")], &[]);
        assert_eq!(get(&spec, &Inherited::default(), "DATABASE_URL").as_deref(), Some("app"));
        assert_eq!(get(&spec, &Inherited::default(), "VCAP_SERVICES").as_deref(), Some("{}"));
        let (binding, instance) = ("db".parse().unwrap(), "shop-db".parse().unwrap());
        spec.services = vec![BoundService { binding, instance, spec: service.unwrap() }];
        assert_eq!(get(&spec, &Inherited::default(), "DATABASE_URL").as_deref(), Some("postgres://h"));
        assert_eq!(get(&spec, &Inherited::default(), "SERVICE_BINDING_ROOT").as_deref(), Some("/run/bindings"));
        let vcap: serde_json::Value =
            serde_json::from_str(&get(&spec, &Inherited::default(), "VCAP_SERVICES").unwrap()).unwrap();
        assert_eq!(vcap["pg"][0]["instance_name"], "shop-db");
        assert_eq!(vcap["pg"][0]["credentials"], json!({"uri": "postgres://h"}));
    }

    #[test]
    fn an_owner_is_told_of_exactly_what_the_platform_sets() {
        let spec = spec(&[], &[]);
        let mut set: Vec<&str> =
            platform(&spec, &RunUid("uid".into()), "mark").into_iter().map(|(name, _)| name).collect();
        let mut told: Vec<&str> =
            frozen::ALWAYS.into_iter().chain(frozen::WITH_MEMORY).chain([frozen::WITH_DISK]).collect();
        set.sort_unstable();
        told.sort_unstable();
        assert_eq!(set, told);
    }

    #[test]
    fn vcap_application_tells_of_the_app() {
        let text = get(&spec(&[], &[]), &Inherited::default(), "VCAP_APPLICATION").unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["application_name"], "billing");
        assert_eq!(value["application_version"], "5");
        assert_eq!(value["space_name"], "blue");
        assert_eq!(value["limits"], json!({"mem": 256, "disk": 1024}));
        assert_eq!(value["application_id"], Uuid::from_u128(4).to_string());
    }
}
