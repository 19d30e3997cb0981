//! Where the server listens, and what it says of itself.

use std::path::Path;
use std::process::{Command, Stdio};

use taskplane_proto::v1 as pb;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::raw::{Call, Raw, framed};
use crate::server::{Options, Server, binary, within};
use crate::unharmed::health;

fn options(args: &[&str]) -> Options {
    Options { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Options::default() }
}

/// Starts the program where it must refuse to, and returns what it says.
async fn refused(data: &Path, listen: &str) -> String {
    let mut command = Command::new(binary("taskplane-standalone"));
    command.arg("--data-dir").arg(data).args(["--listen", listen]).stdin(Stdio::null());
    let output = within(async { tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap() }).await;
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn addresses_that_others_reach_need_a_flag() {
    let dir = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let said = refused(&dir.path().join("data"), address).await;
        assert!(!dir.path().join("data").exists(), "it began before it refused");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(address) && said.contains("--insecure-listen"), "{said}");
    }
    let server = Server::start_with(options(&["--listen", "0.0.0.0:0", "--insecure-listen"])).await;
    assert!(server.address.starts_with("0.0.0.0:"), "{}", server.address);
    server.client().space("s").await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_in_a_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let said = refused(dir.path(), &address).await;
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("taskplane-standalone: ") && last.contains(&address), "{said}");
}

#[tokio::test]
async fn only_loopback_is_listened_on_and_by_one_port_alone() {
    let server = Server::start().await;
    // /proc/net/tcp holds every listener of this network; those of the server are found by their inodes.
    let mut inodes = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap() {
        if let Ok(target) = std::fs::read_link(entry.unwrap().path()) {
            let target = target.to_string_lossy().into_owned();
            inodes.extend(target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned));
        }
    }
    let mut listeners = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if columns[3] == "0A" && inodes.contains(columns[9]) {
                listeners.push(columns[1].to_owned());
            }
        }
    }
    let port: u16 = server.address.strip_prefix("127.0.0.1:").unwrap().parse().unwrap();
    assert_eq!(listeners, [format!("0100007F:{port:04X}")]);
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start().await;
    let said = refused(&server.path("data"), "127.0.0.1:0").await;
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("taskplane-standalone: "), "{said}");
    server.client().space("s").await;
}

#[tokio::test]
async fn health_is_up_until_the_server_is_asked_to_stop() {
    let mut server = Server::start().await;
    for service in ["", "taskplane.v1.TaskService"] {
        assert_eq!(health(&server, service).await, ServingStatus::Serving, "{service}");
    }
    let mut client = HealthClient::new(server.channel());
    let unknown = client.check(HealthCheckRequest { service: "zzcanary".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watch = client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(within(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    let told = async {
        let mut last = ServingStatus::Serving;
        while let Ok(Some(said)) = watch.message().await {
            last = said.status();
        }
        last
    };
    // A watcher of its health does not keep it from going.
    let (stopped, last) = within(async { tokio::join!(server.stop(), told) }).await;
    assert_eq!((stopped, last), (true, ServingStatus::NotServing));
    assert!(!server.log().contains("not drained in time"), "{}", server.log());
}

#[tokio::test]
async fn reflection_can_be_turned_off() {
    let paths = [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    for (args, expected) in [(&[][..], Code::Ok), (&["--no-reflection"][..], Code::Unimplemented)] {
        let server = Server::start_with(options(args)).await;
        let mut raw = Raw::connect(&server).await;
        for path in paths {
            // `list_services`, and the end of the stream.
            let call = Call { path: path.into(), ..Call::new("", framed(&[0x3a, 0x01, 0x2a])) };
            let answer = raw.call(&call).await;
            assert_eq!(answer.code, Some(expected), "{path}: {answer:?}");
        }
        let spaces = server.client().spaces.list_spaces(pb::ListSpacesRequest::default()).await.unwrap();
        assert!(spaces.into_inner().spaces.is_empty());
    }
}
