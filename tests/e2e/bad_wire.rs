//! Bytes that are not right: what a broken or ill-meaning client may put on the wire.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use prost::Message as _;
use taskplane_proto::v1 as pb;
use tonic::Code;

use crate::client::{archive_source, spec, task, violations};
use crate::raw::{Answer, Call, Raw, frame, framed};
use crate::unharmed::Unharmed;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn run() -> Vec<u8> {
    task("echo zzcanary").encode_to_vec()
}

/// A field of protobuf with this content.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

#[tokio::test]
async fn messages_that_cannot_be_read_are_the_callers_fault() {
    let target = Unharmed::start().await;
    let mut raw = Raw::connect(&target.server).await;
    let mut wrong = Vec::new();
    let groups = [[0xa3, 0x06].repeat(200), [0xa4, 0x06].repeat(200)].concat();
    let mut depth = field(1, b"");
    for _ in 0..100 {
        depth = field(1000, &depth);
    }
    for (what, bytes) in [
        ("cut off", framed(&run()[..20])),
        ("field number 0", framed(&[0x02, 0x01, 0x61])),
        ("a wire type that is not", framed(&[0x0f, 0x01])),
        ("another wire type", framed(&[0x08, 0x01])),
        ("an endless varint", framed(&[0xff; 30])),
        ("a length beyond the end", framed(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x61])),
        ("a lone surrogate", framed(&field(2, b"\xed\xa0\x80zzcanary"))),
        ("not UTF-8", framed(&field(2, b"zzcanary\xff\xfe"))),
        ("groups in groups", framed(&groups)),
        ("random", framed(&(0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>())),
        ("a flag that is not", frame(2, run().len(), &run())),
        ("a frame cut off", frame(0, 100, b"zzcanary")),
        ("a frame's head cut off", vec![0, 0]),
        ("no frame", Vec::new()),
    ] {
        let answer = raw.call(&Call::new("TaskService/RunTask", bytes)).await;
        if answer.code != Some(Code::InvalidArgument) || answer.message.contains("zzcanary") {
            wrong.push(format!("{what}: {answer:?}"));
        }
    }
    let garbage =
        Call::new("TaskService/RunTask", frame(1, 20, b"zzcanary is not gzip")).header("grpc-encoding", "gzip");
    let answer = raw.call(&garbage).await;
    if answer.code != Some(Code::InvalidArgument) {
        wrong.push(format!("not gzip: {answer:?}"));
    }
    // The one place where gRPC itself asks for INTERNAL.
    let answer = raw.call(&Call::new("TaskService/RunTask", frame(1, run().len(), &run()))).await;
    if !matches!(answer.code, Some(Code::Internal | Code::InvalidArgument)) {
        wrong.push(format!("compressed by nothing: {answer:?}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    target.check().await;
}

#[tokio::test]
async fn what_a_newer_client_says_besides_is_passed_over() {
    let target = Unharmed::start().await;
    let mut raw = Raw::connect(&target.server).await;
    let mut nested = Vec::new();
    for _ in 0..90 {
        nested = field(1000, &nested);
    }
    for besides in [field(1000, b"zzcanary"), field(536_870_911, &[]), nested, field(77, &[0xff; 100_000])] {
        let message = [pb::GetSpaceRequest { name: "spaces/s".into() }.encode_to_vec(), besides].concat();
        let answer = raw.call(&Call::new("SpaceService/GetSpace", framed(&message))).await;
        assert_eq!(answer.code, Some(Code::Ok), "{answer:?}");
    }
    // An enum value of tomorrow is not guessed at.
    let policy = pb::RetryPolicy { max_attempts: 2, retry_on: vec![99], ..Default::default() };
    let request = pb::RunTaskRequest { retry_policy: Some(policy), ..task("true") };
    assert_eq!(violations(target.client.run_task(request).await.unwrap_err())[0], "retry_policy.retry_on");
    target.check().await;
}

#[tokio::test]
async fn a_push_begins_with_its_app_and_says_one_thing_at_a_time() {
    use pb::push_app_request::Part;
    let target = Unharmed::start().await;
    let mut raw = Raw::connect(&target.server).await;
    let part = |part| pb::PushAppRequest { part: Some(part) }.encode_to_vec();
    let app = || part(Part::App(spec("new", archive_source())));
    let chunk = || part(Part::Chunk(vec![0; 512].into()));
    let image = || part(Part::App(spec("new", crate::client::image_source("x"))));
    for (what, messages) in [
        ("nothing", vec![]),
        ("no part", vec![Vec::new()]),
        ("a chunk first", vec![chunk(), app()]),
        ("both, a chunk last", vec![[app(), chunk()].concat()]),
        ("an App twice", vec![app(), app()]),
        ("an image and a chunk", vec![image(), chunk()]),
        ("no chunk", vec![app()]),
        ("a part that is none", vec![app(), Vec::new()]),
    ] {
        let body = messages.iter().flat_map(|message| framed(message)).collect();
        let answer = raw.call(&Call::new("AppService/PushApp", body)).await;
        assert_eq!(answer.code, Some(Code::InvalidArgument), "{what}: {answer:?}");
    }
    target.check().await;
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_read() {
    let target = Unharmed::start().await;
    let mut raw = Raw::connect(&target.server).await;
    let too_much = |answer: &Answer| matches!(answer.code, Some(Code::ResourceExhausted | Code::OutOfRange));
    let large = task(&"x".repeat(1 << 20)).encode_to_vec();
    let answer = raw.call(&Call::new("TaskService/RunTask", framed(&large))).await;
    assert!(too_much(&answer), "{answer:?}");
    // Four gigabytes, as its head has it.
    let answer = raw.call(&Call::new("TaskService/RunTask", frame(0, u32::MAX as usize, b"zzcanary"))).await;
    assert!(too_much(&answer), "{answer:?}");
    let bomb = gzip(&vec![0; 64 << 20]);
    let call = Call::new("TaskService/RunTask", frame(1, bomb.len(), &bomb)).header("grpc-encoding", "gzip");
    let answer = raw.call(&call).await;
    assert!(too_much(&answer), "{answer:?}");

    let token = pb::ListTasksRequest {
        parent: "spaces/s/apps/a".into(),
        page_token: "x".repeat(1 << 20),
        ..Default::default()
    };
    let answer = raw.call(&Call::new("TaskService/ListTasks", framed(&token.encode_to_vec()))).await;
    assert!(too_much(&answer), "{answer:?}");
    target.check().await;
}

#[tokio::test]
async fn calls_of_nothing_are_unimplemented() {
    let target = Unharmed::start().await;
    let mut raw = Raw::connect(&target.server).await;
    for path in [
        "/",
        "/taskplane.v1.TaskService",
        "/taskplane.v1.TaskService/",
        "/taskplane.v1.TaskService/Nothing",
        "/taskplane.v1.TaskService/runtask",
        "/taskplane.v1.TaskService/RunTask/",
        "/taskplane.v2.TaskService/RunTask",
        "//taskplane.v1.TaskService/RunTask",
        "/taskplane.v1.TaskService/%52unTask",
        "/taskplane.v1.TaskService/RunTask%1b%5b2J",
        // What executors call is not to be had here.
        "/taskplane.internal.v1.ExecutorControl/OpenSession",
        "/taskplane.internal.v1.ExecutorControl/AcquireWork",
        "/taskplane.internal.v1.ExecutorLogs/TailLogs",
    ] {
        let answer = raw.call(&Call { path: path.into(), ..Call::new("", framed(&run())) }).await;
        assert_eq!(answer.code, Some(Code::Unimplemented), "{path}: {answer:?}");
    }
    let call = Call::new("TaskService/RunTask", frame(1, run().len(), &run())).header("grpc-encoding", "brotli");
    assert_eq!(raw.call(&call).await.code, Some(Code::Unimplemented));
    target.check().await;
}

#[tokio::test]
async fn what_is_not_grpc_is_not_served() {
    let target = Unharmed::start().await;
    let mut raw = Raw::connect(&target.server).await;
    let mut wrong = Vec::new();
    for content_type in ["text/plain", "application/json", "application/x-www-form-urlencoded", "application/grp", ""] {
        let call = Call::new("TaskService/RunTask", framed(&run())).header("content-type", content_type);
        let answer = raw.call(&call).await;
        if answer.http != 415 {
            wrong.push(format!("content-type {content_type:?}: {answer:?}"));
        }
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = raw.call(&Call { method, ..Call::new("TaskService/RunTask", framed(&run())) }).await;
        if answer.http != 405 {
            wrong.push(format!("method: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // As gRPC has it, a suffix or a parameter is no other type.
    let get = framed(&pb::GetSpaceRequest { name: "spaces/s".into() }.encode_to_vec());
    for content_type in ["application/grpc+proto", "application/grpc;charset=utf-8"] {
        let answer =
            raw.call(&Call::new("SpaceService/GetSpace", get.clone()).header("content-type", content_type)).await;
        assert_eq!(answer.code, Some(Code::Ok), "{content_type}: {answer:?}");
    }
    target.check().await;
}

#[tokio::test]
async fn a_deadline_that_is_over_leaves_nothing_and_an_odd_one_is_ours() {
    let target = Unharmed::start().await;
    let mut raw = Raw::connect(&target.server).await;
    for timeout in ["0n", "0S", "0H"] {
        let call = Call::new("TaskService/RunTask", framed(&run())).header("grpc-timeout", timeout);
        let answer = raw.call(&call).await;
        assert_eq!(answer.code, Some(Code::DeadlineExceeded), "{timeout}: {answer:?}");
    }
    let get = framed(&pb::GetSpaceRequest { name: "spaces/s".into() }.encode_to_vec());
    for timeout in ["99999999H", "999999999H", "-1S", "soon", "1", "S", "1.5S", ""] {
        let answer = raw.call(&Call::new("SpaceService/GetSpace", get.clone()).header("grpc-timeout", timeout)).await;
        assert_eq!(answer.code, Some(Code::Ok), "{timeout}: {answer:?}");
    }
    target.check().await;
}

#[tokio::test]
async fn calls_that_are_broken_off_leave_nothing() {
    let target = Unharmed::start().await;
    let app = pb::push_app_request::Part::App(spec("new", archive_source()));
    let app = framed(&pb::PushAppRequest { part: Some(app) }.encode_to_vec());
    let watch = pb::WatchTasksRequest { parent: "spaces/s/apps/-".into(), ..Default::default() }.encode_to_vec();
    let logs =
        pb::StreamLogsRequest { name: "spaces/s/apps/a".into(), follow: true, ..Default::default() }.encode_to_vec();
    for _ in 0..10 {
        let mut raw = Raw::connect(&target.server).await;
        raw.break_off(&Call::new("TaskService/RunTask", run())).await;
        raw.break_off(&Call::new("AppService/PushApp", app.clone())).await;
        raw.break_off(&Call::new("TaskService/WatchTasks", framed(&watch))).await;
        raw.break_off(&Call::new("TaskService/StreamLogs", framed(&logs))).await;
        // The connection is still in order.
        let get = framed(&pb::GetSpaceRequest { name: "spaces/s".into() }.encode_to_vec());
        assert_eq!(raw.call(&Call::new("SpaceService/GetSpace", get)).await.code, Some(Code::Ok));
    }
    target.check().await;
}

#[tokio::test]
async fn a_flood_of_broken_calls_costs_the_flooder_alone() {
    let target = Unharmed::start().await;
    for _ in 0..10 {
        let mut raw = Raw::connect(&target.server).await;
        // Ends early when the server hangs up.
        for _ in 0..1000 {
            if !raw.break_off(&Call::new("TaskService/RunTask", run())).await {
                break;
            }
        }
    }
    target.check().await;
}

#[tokio::test]
async fn headers_beyond_the_bound_do_not_reach_a_call() {
    let target = Unharmed::start().await;
    let get = framed(&pb::GetSpaceRequest { name: "spaces/s".into() }.encode_to_vec());
    let mut raw = Raw::connect(&target.server).await;
    let answer =
        raw.call(&Call::new("SpaceService/GetSpace", get.clone()).header("x-much", &"zzcanary".repeat(4000))).await;
    assert_ne!(answer.code, Some(Code::Ok), "{answer:?}");
    let mut twice = Call::new("SpaceService/GetSpace", get);
    twice
        .headers
        .extend([("authorization", "Bearer zzcanary".to_owned()), ("authorization", "Basic zzcanary".to_owned())]);
    assert_eq!(raw.call(&twice).await.code, Some(Code::Ok));
    target.check().await;
}

#[tokio::test]
async fn what_does_not_speak_http_2_is_hung_up_on() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let target = Unharmed::start().await;
    for bytes in [&b"GET / HTTP/1.1\r\nhost: zzcanary\r\n\r\n"[..], &[0; 4096], b"\x16\x03\x01\x02\x00zzcanary"] {
        let mut stream = tokio::net::TcpStream::connect(&target.server.address).await.unwrap();
        // The server may hang up before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = crate::server::within(stream.read_to_end(&mut answer)).await;
        assert!(!String::from_utf8_lossy(&answer).contains("zzcanary"));
    }
    target.check().await;
}
