//! A server of an operator, whose users show a JWT and sign with its key: what `--nats-creds` is for.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use taskplane_bus::conformance::created;
use taskplane_bus::{Bus, NatsBus, NatsOptions};
use taskplane_testkit::nats::{Nats, NatsSetup};

/// As `nsc` makes it: what `issuer` says of `subject`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, says: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": name, "nats": says,
    });
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// `keeps`: whether it may have streams; the system's own account must not.
fn account(operator: &KeyPair, account: &KeyPair, name: &str, keeps: bool) -> String {
    let most = if keeps { -1 } else { 0 };
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": most, "disk_storage": most, "streams": most, "consumer": most,
    });
    jwt(operator, account, name, &json!({ "type": "account", "version": 2, "limits": limits }))
}

/// The file that a user is given.
fn credentials(account: &KeyPair, allowed: &[&str]) -> String {
    let user = KeyPair::new_user();
    let says = json!({
        "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
        "pub": { "allow": allowed }, "sub": { "allow": ["taskplane.v1.>", "taskplane.bell.>", "_INBOX.>"] },
    });
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(account, &user, "user", &says),
        user.seed().unwrap()
    )
}

#[tokio::test]
async fn a_file_with_a_jwt_and_a_seed_is_who_we_are() {
    let (operator, system, ours) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}\n",
        jwt(&operator, &operator, "operator", &json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        system.public_key(),
        account(&operator, &system, "SYS", false),
        ours.public_key(),
        account(&operator, &ours, "TASKPLANE", true),
    );
    let files = vec![
        ("ours.creds".to_owned(), credentials(&ours, &["taskplane.>", "$JS.API.STREAM.*.TASKPLANE_EVENTS"]).into()),
        // Of an account that this operator has not made.
        ("strange.creds".to_owned(), credentials(&KeyPair::new_account(), &[">"]).into()),
    ];
    let nats = Nats::start_with(&NatsSetup { config, files }).unwrap();
    let options = |file: Option<&str>| NatsOptions {
        credentials: file.map(|file| nats.directory().join(file)),
        ..NatsOptions::new(vec![nats.url()], "tests")
    };
    let bus = NatsBus::connect(options(Some("ours.creds"))).unwrap();
    tokio::time::timeout(Duration::from_secs(30), bus.connected()).await.unwrap();
    let mark = bus.stream(None).await.unwrap().unwrap();
    bus.publish(&created("shop", 1), Some(&mark)).await.unwrap();
    for stranger in [None, Some("strange.creds")] {
        let bus = NatsBus::connect(options(stranger)).unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(2), bus.connected()).await.is_err(), "{stranger:?}");
    }
}
