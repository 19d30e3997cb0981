//! The means to look behind everybody's back, and to do harm there: as the cluster's administrator, whom nothing of ours ever is.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

pub fn rig() -> PathBuf {
    std::env::var_os("RIG_HOME").map(PathBuf::from).expect("RIG_HOME is not set: run `make test-cluster`")
}

pub fn kubectl(arguments: &[&str]) -> String {
    let output = Command::new(rig().join("bin/kube"))
        .arg("kubectl")
        .args(["--kubeconfig", rig().join("run/admin.kubeconfig").to_str().unwrap()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn all(what: &str, namespace: &str) -> Vec<Value> {
    let text = kubectl(&["get", what, "-n", namespace, "-o", "json"]);
    let mut list: Value = serde_json::from_str(&text).unwrap();
    list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
}

/// What a test leaves behind goes with its namespace; nobody waits for it.
pub fn leave(namespace: &str) {
    let _ = Command::new(rig().join("bin/kube"))
        .arg("kubectl")
        .args(["--kubeconfig", rig().join("run/admin.kubeconfig").to_str().unwrap_or_default()])
        .args(["delete", "namespace", namespace, "--wait=false", "--ignore-not-found"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}
