//! Who may call whom on the internal ports, and TLS on the public one.

use std::process::Command;

use taskplane_proto::internal::v1 as internal;
use taskplane_proto::internal::v1::executor_control_client::ExecutorControlClient;
use taskplane_proto::internal::v1::executor_logs_client::ExecutorLogsClient;
use taskplane_proto::v1::{self as pb, TaskState};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use crate::client::Client;
use crate::kit::System;
use crate::pki::Authority;
use crate::server::{binary, within};

const API: &str = "api.taskplane";
const EXECUTOR: &str = "executor.taskplane";

/// A system whose processes show certificates to each other.
async fn secured(names: &[&str]) -> (System, Authority) {
    let mut system = System::prepare().await;
    let authority = Authority::new(system.dir.path(), "ca");
    authority.write("api", &[API]);
    authority.write("executor", &[EXECUTOR]);
    system.extra.api = internal_flags(&system, "api");
    system.extra.executor = internal_flags(&system, "executor");
    system.launch(names).await;
    (system, authority)
}

fn internal_flags(system: &System, file: &str) -> Vec<String> {
    let path = |name: String| system.path(&name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem".into()), path(format!("{file}.pem")), path(format!("{file}.pem.key")));
    ["--internal-ca", &ca, "--internal-cert", &certificate, "--internal-key", &key].map(str::to_owned).to_vec()
}

/// To a server that must be `role`, as one who has that certificate, or none.
fn channel(address: &str, ca: &str, role: &str, own: Option<(String, String)>) -> Channel {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name(role);
    if let Some((certificate, key)) = own {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap().connect_lazy()
}

async fn heartbeat(channel: Channel) -> Status {
    let request = internal::HeartbeatRequest { session: "00000000-0000-0000-0000-000000000000".into() };
    within(ExecutorControlClient::new(channel).heartbeat(request)).await.unwrap_err()
}

async fn tail(channel: Channel) -> Status {
    let request =
        internal::TailLogsRequest { task_uid: "00000000-0000-0000-0000-000000000000".into(), ..Default::default() };
    within(ExecutorLogsClient::new(channel).tail_logs(request)).await.unwrap_err()
}

/// Before it could make a call: what that looks like depends on when the connection was closed.
fn is_turned_away(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal)
}

#[tokio::test]
async fn each_internal_port_serves_one_role_and_nobody_without_a_certificate_of_ours() {
    let (mut system, authority) = secured(&["api-1"]).await;
    let ca = authority.pem.as_str();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    system.extra.executor.extend(["--logs-listen".to_owned(), free.clone()]);
    system.launch(&["executor-1"]).await;

    let api = system.internal_addresses();
    // Let through: the session is not known, which is another matter.
    assert_eq!(
        heartbeat(channel(&api, ca, API, Some(authority.issue(&[EXECUTOR])))).await.code(),
        Code::FailedPrecondition
    );
    for names in [&[API][..], &["other.example"], &["executor.taskplane.example"]] {
        let refused = heartbeat(channel(&api, ca, API, Some(authority.issue(names)))).await;
        assert_eq!(refused.code(), Code::PermissionDenied, "{names:?}");
    }
    assert_eq!(tail(channel(&free, ca, EXECUTOR, Some(authority.issue(&[API])))).await.code(), Code::NotFound);
    let refused = tail(channel(&free, ca, EXECUTOR, Some(authority.issue(&[EXECUTOR])))).await;
    assert_eq!(refused.code(), Code::PermissionDenied);

    // Of another authority, with the right name; of none; and in the clear.
    let stranger = Authority::new(system.dir.path(), "stranger");
    for own in [Some(stranger.issue(&[EXECUTOR, API])), None] {
        for refused in
            [heartbeat(channel(&api, ca, API, own.clone())).await, tail(channel(&free, ca, EXECUTOR, own)).await]
        {
            assert!(is_turned_away(&refused), "{refused:?}");
        }
    }
    let clear = Endpoint::from_shared(format!("http://{api}")).unwrap().connect_lazy();
    assert!(is_turned_away(&heartbeat(clear).await));

    // The public port does not serve what is internal.
    assert_eq!(heartbeat(system.channel("api-1")).await.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_task_runs_and_is_followed_over_certificates_and_a_renewed_one_is_taken_up() {
    let (mut system, authority) = secured(&["api-1", "executor-1"]).await;
    let client = system.client("api-1");
    client.app(&[("x", "x")]).await;
    let running = client.run("echo before; sleep 1000").await;
    client.running(&running.name).await;
    let request = pb::StreamLogsRequest { name: running.name.clone(), follow: true, ..Default::default() };
    let mut lines = client.tasks.clone().stream_logs(request).await.unwrap().into_inner();
    assert_eq!(within(lines.message()).await.unwrap().unwrap().lines[0].content, "before");

    // Another authority altogether: who comes from now on is asked for its certificates.
    let renewed = Authority::new(system.dir.path(), "ca");
    renewed.write("api", &[API]);
    renewed.write("executor", &[EXECUTOR]);
    let old =
        heartbeat(channel(&system.internal_addresses(), &renewed.pem, API, Some(authority.issue(&[EXECUTOR])))).await;
    assert!(is_turned_away(&old), "{old:?}");
    system.kill("executor-1");
    system.process("executor-1").start_again();
    let task = client.run("echo after").await;
    assert_eq!(client.over(&task.name).await.state(), TaskState::Succeeded);
}

#[tokio::test]
async fn a_certificate_that_does_not_say_what_its_process_is_is_refused_at_the_start() {
    let mut system = System::prepare().await;
    let authority = Authority::new(system.dir.path(), "ca");
    authority.write("executor", &[EXECUTOR]);
    system.extra.api = internal_flags(&system, "executor");
    let output =
        Command::new(binary("taskplane-api")).args(system.args("api-1")).arg("--check-config").output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("--internal-cert") && line.contains("does not carry the name api.taskplane"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[tokio::test]
async fn a_certificate_that_names_an_executor_opens_sessions_of_no_other() {
    const ONE: &str = "executor-1.executor.taskplane";
    let (mut system, authority) = secured(&["api-1"]).await;
    let api = system.internal_addresses();
    let open = async |names: &[&str], executor: &str| {
        let own = channel(&api, &authority.pem, API, Some(authority.issue(names)));
        let request = internal::OpenSessionRequest {
            executor: executor.to_owned(),
            cluster: "local".to_owned(),
            ..Default::default()
        };
        within(ExecutorControlClient::new(own).open_session(request)).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!(open(&[EXECUTOR, ONE], "executor-1").await, Ok(()));
    for other in ["executor-2", "executor", ""] {
        assert_eq!(open(&[EXECUTOR, ONE], other).await, Err(Code::PermissionDenied), "{other}");
    }
    assert_eq!(open(&[EXECUTOR, "*.executor.taskplane"], "executor-2").await, Err(Code::PermissionDenied));
    // The name alone is not the role; the role alone is any executor.
    assert_eq!(open(&[ONE], "executor-1").await, Err(Code::PermissionDenied));
    assert_eq!(open(&[EXECUTOR], "executor-2").await, Ok(()));

    authority.write("executor", &[EXECUTOR, ONE]);
    system.launch(&["executor-1"]).await;
    let output =
        Command::new(binary("taskplane-executor")).args(system.args("executor-2")).arg("--check-config").output();
    let line = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(line.contains("--executor-name") && line.contains("of other names: executor-1"), "{line}");
}

#[tokio::test]
async fn the_public_port_speaks_tls_and_the_command_line_with_it() {
    let mut system = System::prepare().await;
    let authority = Authority::new(system.dir.path(), "public");
    authority.write("tls", &["localhost"]);
    let path = |name: &str| system.path(name).display().to_string();
    system.extra.api = vec!["--tls-cert".into(), path("tls.pem"), "--tls-key".into(), path("tls.pem.key")];
    system.launch(&["api-1"]).await;
    let secured = Client::new(channel(&system.address("api-1"), &authority.pem, "localhost", None));
    secured.space("s").await;

    let api = format!("https://localhost:{}", system.address("api-1").rsplit_once(':').unwrap().1);
    let say = |args: &[&str]| {
        let config = system.path("config.yaml");
        Command::new(binary("taskplane")).args(args).arg("--config").arg(config).output().unwrap()
    };
    let (file, other) = (system.path("public.pem"), system.path("tls.pem"));
    let made = say(&["target", "-s", "s", "--api", &api, "--ca-file", file.to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Both are remembered.
    let apps = say(&["apps"]);
    assert!(apps.status.success(), "{}", String::from_utf8_lossy(&apps.stderr));
    let refused = say(&["apps", "--ca-file", other.to_str().unwrap(), "--request-timeout", "2s"]);
    assert!(!refused.status.success());

    // Without a file: whoever this system trusts.
    let plainly = |trusted: &std::path::Path| {
        let mut command = Command::new(binary("taskplane"));
        command.args(["apps", "-s", "s", "--api", &api, "--request-timeout", "2s"]);
        command.arg("--config").arg(system.path("none.yaml")).env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR");
        command.output().unwrap()
    };
    let apps = plainly(&file);
    assert!(apps.status.success(), "{}", String::from_utf8_lossy(&apps.stderr));
    assert!(!plainly(&other).status.success());
    let nobody = plainly(std::path::Path::new("/nowhere"));
    let line = String::from_utf8(nobody.stderr).unwrap();
    assert!(!nobody.status.success() && line.contains("--ca-file"), "{line}");
}
