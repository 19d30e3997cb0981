//! Pushing Apps: sources that are sound, sources that are not, deletion.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use taskplane_proto::v1 as pb;
use tonic::Code;

use crate::client::{archive, archive_source, env, reason, spec, violations};
use crate::server::{Server, within};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar with one entry as the header says, whatever the builder thinks of it.
fn odd(change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.as_mut_bytes()[..4].copy_from_slice(b"name");
    change(&mut header);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend([0; 1024]);
    bytes
}

fn named(name: &str) -> Vec<u8> {
    odd(|header| header.as_mut_bytes()[..100].copy_from_slice(&[name.as_bytes(), &vec![0; 100 - name.len()]].concat()))
}

fn link(kind: tar::EntryType, target: &str) -> Vec<u8> {
    odd(|header| {
        header.set_entry_type(kind);
        header.set_link_name_literal(target).unwrap();
    })
}

#[tokio::test]
async fn compressed_and_plain_archives_are_taken() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("file", "plain\n")]).await;
    assert_eq!(client.output("cat file").await, "plain\n");
    let zipped =
        client.push(spec("a", archive_source()), gzip(&archive(&[("file", "zipped\n"), ("dir/x", "")]))).await.unwrap();
    let Some(pb::app_source::Kind::Archive(source)) = zipped.source.unwrap().kind else { panic!("no archive") };
    assert_eq!((zipped.revision, source.sha256.len()), (2, 64));
    assert_eq!(client.output("cat file").await, "zipped\n");
}

#[tokio::test]
async fn archives_that_are_not_sound_are_refused_and_leave_the_app_as_it_was() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("file", "sound\n")]).await;
    let truncated = gzip(&archive(&[("file", &"x".repeat(10_000))]));
    let bomb = gzip(&archive(&[("zeroes", &"\0".repeat(200 << 20))]));
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("no archive", b"hello".to_vec()),
        ("truncated", truncated[..truncated.len() - 20].to_vec()),
        ("a way out", named("../x")),
        ("an absolute path", named("/etc/x")),
        ("a symlink out", link(tar::EntryType::Symlink, "../../etc/passwd")),
        ("a hard link out", link(tar::EntryType::Link, "/etc/passwd")),
        ("a device", odd(|header| header.set_entry_type(tar::EntryType::Char))),
        ("a fifo", odd(|header| header.set_entry_type(tar::EntryType::Fifo))),
        ("a setuid file", odd(|header| header.set_mode(0o4755))),
        ("a bomb", bomb),
        ("trailing junk", [archive(&[("a", "")]), b"junk".repeat(200)].concat()),
    ] {
        let refused = client.push(spec("a", archive_source()), bytes).await.expect_err(what);
        assert_eq!(violations(refused), ["app.source.archive"], "{what}");
    }
    assert_eq!(client.output("cat file").await, "sound\n");
    let app =
        client.apps.clone().get_app(pb::GetAppRequest { name: "spaces/s/apps/a".into() }).await.unwrap().into_inner();
    assert_eq!(app.revision, 1);
}

#[tokio::test]
async fn a_digest_that_does_not_fit_is_refused() {
    let server = Server::start().await;
    let client = server.client();
    client.space("s").await;
    let source = |sha256: &str| pb::AppSource {
        kind: Some(pb::app_source::Kind::Archive(pb::SourceArchive { sha256: sha256.into(), ..Default::default() })),
    };
    for sha256 in ["0".repeat(64), "x".into()] {
        let refused = client.push(spec("a", source(&sha256)), archive(&[("a", "")])).await.unwrap_err();
        assert_eq!(violations(refused), ["app.source.archive.sha256"]);
    }
}

#[tokio::test]
async fn a_push_that_breaks_off_makes_no_app() {
    let server = Server::start().await;
    let client = server.client();
    client.space("s").await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut apps = client.apps.clone();
    let push = tokio::spawn(async move { apps.push_app(tokio_stream::wrappers::ReceiverStream::new(receiver)).await });
    let part = |part| pb::PushAppRequest { part: Some(part) };
    sender.send(part(pb::push_app_request::Part::App(spec("a", archive_source())))).await.unwrap();
    sender.send(part(pb::push_app_request::Part::Chunk(vec![0; 512].into()))).await.unwrap();
    push.abort();
    assert!(push.await.is_err());
    let absent = client.apps.clone().get_app(pb::GetAppRequest { name: "spaces/s/apps/a".into() }).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
}

#[tokio::test]
async fn more_uploads_at_once_than_there_is_room_for_are_refused_with_a_time_to_come_again() {
    use tonic_types::StatusExt as _;
    let server = Server::start().await;
    let client = server.client();
    client.space("s").await;
    let (mut senders, mut pushes) = (Vec::new(), tokio::task::JoinSet::new());
    for number in 0..20 {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let mut apps = client.apps.clone();
        let app = spec(&format!("a{number}"), archive_source());
        pushes.spawn(async move { apps.push_app(tokio_stream::wrappers::ReceiverStream::new(receiver)).await });
        let first = pb::PushAppRequest { part: Some(pb::push_app_request::Part::App(app)) };
        sender.send(first).await.unwrap();
        senders.push(sender);
    }
    // Those that found room wait for the rest of their archives.
    for _ in 0..4 {
        let refused = within(pushes.join_next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "TOO_MANY_UPLOADS"));
        assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    }
    pushes.shutdown().await;
    // Their room is free as soon as the server has seen that they are gone.
    within(async { while client.push(spec("a", archive_source()), archive(&[("a", "")])).await.is_err() {} }).await;
}

#[tokio::test]
async fn an_app_goes_with_its_tasks_and_logs_but_not_while_one_is_live() {
    let server = Server::start().await;
    let client = server.client();
    let app = client.app(&[("a", "")]).await;
    let done = client.run("echo something to keep").await;
    client.over(&done.name).await;
    let live = client.run("sleep 600").await;
    client.running(&live.name).await;
    let delete = |etag: &str| {
        let request = pb::DeleteAppRequest { name: app.name.clone(), etag: etag.into(), force: false };
        let mut apps = client.apps.clone();
        async move { apps.delete_app(request).await.map(|_| ()) }
    };
    assert_eq!(violations(delete("").await.unwrap_err()), ["etag"]);
    assert_eq!(delete("\"99\"").await.unwrap_err().code(), Code::Aborted);
    let refused = delete(&app.etag).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "IN_USE"));
    let refused = client
        .spaces
        .clone()
        .delete_space(pb::DeleteSpaceRequest { name: "spaces/s".into(), etag: String::new(), force: false })
        .await
        .unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "IN_USE"));
    client.cancel(&live.name).await;
    client.over(&live.name).await;

    delete(&app.etag).await.unwrap();
    let get = pb::GetAppRequest { name: app.name.clone() };
    within(async {
        while let Ok(left) = client.apps.clone().get_app(get.clone()).await {
            assert_eq!(left.into_inner().standing(), pb::Standing::Deleting);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let absent = client
        .tasks
        .clone()
        .get_task(pb::GetTaskRequest { name: done.name.clone(), ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    let logs = server.path("data/objects/logs");
    crate::server::within(async {
        while files_below(&logs) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;

    client.push(spec("a", archive_source()), archive(&[("a", "")])).await.unwrap();
    assert_eq!(client.run("true").await.id, 1, "a new App of that name counts anew");
}

fn files_below(dir: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn pushes_at_once_all_count() {
    let server = Server::start().await;
    let client = server.client();
    client.space("s").await;
    let pushes = (0..8).map(|number| {
        let name = format!("V{number}");
        let app = pb::PushAppSpec { env: env(&[(&name, "x")]), ..spec("a", archive_source()) };
        client.push(app, archive(&[("a", "")]))
    });
    for pushed in futures::future::join_all(pushes).await {
        pushed.unwrap();
    }
    let app =
        client.apps.clone().get_app(pb::GetAppRequest { name: "spaces/s/apps/a".into() }).await.unwrap().into_inner();
    assert_eq!((app.revision, app.env_names.len()), (8, 8));
}
