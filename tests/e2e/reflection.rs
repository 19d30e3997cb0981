//! Clients that know nothing but the address: Python's gRPC and buf, through reflection alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::server::{Server, within};

/// A program of the virtual environment that `make setup` makes.
fn tool(name: &str) -> PathBuf {
    let cache = std::env::var_os("TASKPLANE_CACHE").filter(|cache| !cache.is_empty()).map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| std::env::home_dir().unwrap().join(".cache/taskplane"));
    let path = cache.join("venv/bin").join(name);
    assert!(path.exists(), "{} is not there: run `make setup`", path.display());
    path
}

async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    within(async { tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap() }).await
}

#[tokio::test]
async fn a_python_client_works_from_reflection_alone() {
    let server = Server::start().await;
    let mut command = Command::new(tool("python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/reflection_client.py")).arg(&server.address);
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut states: Vec<Value> = summary["states"].take().as_array().unwrap().clone();
    assert_eq!(states.pop().unwrap(), "TASK_STATE_FAILED");
    let services = summary["services"].take();
    let mut services: Vec<&str> = services.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    services.retain(|service| service.starts_with("taskplane."));
    assert_eq!(
        services,
        ["App", "Event", "Job", "Retention", "SecurityGroup", "ServiceInstance", "Space", "Task"]
            .map(|noun| format!("taskplane.v1.{noun}Service"))
    );
    assert!(states.contains(&json!("TASK_STATE_RUNNING")), "{states:?}");
    assert_eq!(
        summary,
        json!({
            "services": null,
            "space": "spaces/from-python",
            "app": "spaces/from-python/apps/snake",
            "task": "spaces/from-python/apps/snake/tasks/1",
            "states": null,
            "state": "TASK_STATE_FAILED",
            "exit_code": 3,
            "log": ["hello from python", "to stderr"],
            "refused": "INVALID_ARGUMENT",
        })
    );
}

/// One call with `buf curl`, which asks the server for everything it needs to know.
async fn curl(server: &Server, method: &str, request: Value) -> Result<Value, Value> {
    let home = server.path("buf");
    let mut command = Command::new(tool("buf"));
    command
        .args(["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect", "--data", &request.to_string()])
        .arg(format!("http://{}/taskplane.v1.{method}", server.address))
        .env("HOME", &home)
        .env("BUF_CACHE_DIR", &home);
    let output = run(command).await;
    let parse = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    if output.status.success() { Ok(parse(&output.stdout)) } else { Err(parse(&output.stderr)) }
}

#[tokio::test]
async fn buf_curl_runs_a_task_and_reads_it() {
    let server = Server::start().await;
    server.client().app(&[("greeting", "hello\n")]).await;
    let request = json!({ "parent": "spaces/s/apps/a", "command": "cat greeting", "labels": { "by": "buf" } });
    let run = curl(&server, "TaskService/RunTask", request).await.unwrap();
    assert_eq!((&run["name"], &run["id"]), (&json!("spaces/s/apps/a/tasks/1"), &json!("1")));
    let log = json!({ "name": run["name"], "follow": true });
    let log = curl(&server, "TaskService/StreamLogs", log).await.unwrap();
    assert_eq!(log["lines"][0]["content"], "aGVsbG8=");
    server.client().over("spaces/s/apps/a/tasks/1").await;
    let task = curl(&server, "TaskService/GetTask", json!({ "name": run["name"] })).await.unwrap();
    assert_eq!((&task["state"], &task["labels"]["by"]), (&json!("TASK_STATE_SUCCEEDED"), &json!("buf")));

    let refused = curl(&server, "TaskService/GetTask", json!({ "name": "spaces/s/apps/a/tasks/2" })).await.unwrap_err();
    assert_eq!(refused["code"], "not_found");
    let refused = curl(&server, "TaskService/RunTask", json!({ "parent": "nowhere", "command": "true" })).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused["code"], "invalid_argument");
    assert!(refused["message"].as_str().unwrap().starts_with("parent: "), "{refused}");
    let details: Vec<&Value> = refused["details"].as_array().unwrap().iter().map(|detail| &detail["type"]).collect();
    assert_eq!(details, ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]);
}
