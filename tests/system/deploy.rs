//! What people run a system with: the scripts, and the description for containers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml_ng::Value;

use crate::client::Client;
use crate::server::binary;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_goes_up_and_down_by_its_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let script = |name: &str| -> Output {
        let mut command = Command::new("bash");
        command.arg(root().join("scripts").join(name)).current_dir(root());
        let built = binary("taskplane-api").parent().and_then(Path::parent).unwrap().to_owned();
        command.env("CARGO_TARGET_DIR", built).env("TASKPLANE_UP_BUILT", "1").env("TASKPLANE_UP_PORT", "0");
        command.env("TASKPLANE_UP_MARK", &mark).env("TMPDIR", dir.path()).output().unwrap()
    };
    // Whatever becomes of this test, nothing is left of what it started.
    let _down = Down(&script);
    let up = tokio::task::block_in_place(|| script("up.sh"));
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let place = PathBuf::from(std::fs::read_to_string(&mark).unwrap().trim());
    let second = script("up.sh");
    assert!(!second.status.success() && String::from_utf8_lossy(&second.stderr).contains("is up already"));

    let address = std::fs::read_to_string(place.join("api-2")).unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", address.trim())).unwrap().connect_lazy();
    let client = Client::new(channel);
    client.app(&[("x", "x")]).await;
    assert_eq!(client.output("echo up").await, "up\n");

    let started = std::fs::read_to_string(place.join("started")).unwrap();
    let pids: Vec<&str> = started.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert!(pids.len() >= 9 && pids.iter().all(|pid| Path::new("/proc").join(pid).exists()));
    let down = tokio::task::block_in_place(|| script("down.sh"));
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    let runs =
        |pid: &&&str| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    assert_eq!(pids.iter().filter(runs).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(!place.exists() && !mark.exists());
}

struct Down<'s>(&'s dyn Fn(&str) -> Output);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        (self.0)("down.sh");
    }
}

#[test]
fn the_containers_are_started_with_settings_that_there_are() {
    let text = std::fs::read_to_string(root().join("deploy/compose.yaml")).unwrap();
    let mut compose: Value = serde_yaml_ng::from_str(&text).unwrap();
    // What is merged may itself merge.
    for _ in 0..3 {
        compose.apply_merge().unwrap();
    }
    let services = compose["services"].as_mapping().unwrap();
    let known: BTreeSet<&str> = compose["secrets"].as_mapping().unwrap().keys().filter_map(Value::as_str).collect();
    let keys = std::fs::read_to_string(root().join("deploy/keys.sh")).unwrap();
    assert!(known.iter().all(|secret| keys.contains(secret.split('.').next().unwrap())));
    let mut ours = 0;
    for (name, service) in services {
        let Some(program) = service["command"][0].as_str().filter(|word| word.starts_with("taskplane-")) else {
            continue;
        };
        ours += 1;
        let help = Command::new(binary(program)).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for (variable, value) in service["environment"].as_mapping().unwrap() {
            let variable = variable.as_str().unwrap();
            let told = [format!("[env: {variable}="), format!("[env: {variable}]")];
            assert!(
                told.iter().any(|told| help.contains(told)),
                "{name:?} sets {variable}, which {program} does not know"
            );
            let file = value.as_str().and_then(|value| value.strip_prefix("/run/secrets/"));
            let given = service["secrets"].as_sequence().unwrap();
            assert!(
                file.is_none_or(|file| known.contains(file) && given.iter().any(|secret| secret == file)),
                "{variable}"
            );
        }
    }
    assert_eq!(ours, 6);
}
