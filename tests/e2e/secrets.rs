//! Secrets at rest: the key they are sealed with, and what happens without it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use taskplane_proto::v1 as pb;

use crate::client::env;
use crate::server::{Options, Server};

#[tokio::test]
async fn a_key_is_made_for_its_owner_alone_and_the_data_is_refused_without_it() {
    let server = Server::start().await;
    let request = pb::CreateSpaceRequest {
        space_id: "s".into(),
        space: Some(pb::Space { env: env(&[("A", "canary-at-rest")]), ..Default::default() }),
    };
    server.client().spaces.create_space(request).await.unwrap();
    let key = server.path("data/secret.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    let dir = Arc::clone(&server.dir);
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    server.killed_by(Options::default()).await;
    let log = std::fs::read_to_string(dir.path().join("server.log")).unwrap();
    let last = log.lines().last().unwrap();
    assert!(last.starts_with("taskplane-standalone: secrets are sealed under key"), "{last}");
    assert!(last.contains("--secret-key-file"), "{last}");

    // With a new key above the old one it goes on, and both are needed from then on.
    let both = dir.path().join("keys");
    std::fs::write(&both, [b"11".repeat(32).as_slice(), b"\n", &kept].concat()).unwrap();
    let args = vec!["--secret-key-file".to_owned(), both.display().to_string()];
    let server = Server::start_in(dir, Options { args, ..Options::default() }).await;
    let request = pb::GetSpaceRequest { name: "spaces/s".into() };
    let space = server.client().spaces.get_space(request).await.unwrap().into_inner();
    assert_eq!(space.env_names, ["A"]);
}
