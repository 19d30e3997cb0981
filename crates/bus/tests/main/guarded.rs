//! A server that asks who is there: TLS, certificates, credentials, and what each user may do.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::{self, stream};
use async_nats::{ConnectOptions, Event};
use futures::StreamExt as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use taskplane_bus::conformance::created;
use taskplane_bus::{Bus, NatsBus, NatsOptions, NatsTls};
use taskplane_testkit::nats::{Nats, NatsSetup};
use tokio::sync::mpsc;

const PERMISSIONS: &str = include_str!("../../../../deploy/nats/permissions.conf");

fn permissions() -> String {
    // The server would take them from its environment.
    PERMISSIONS.replace("$TASKPLANE_NATS_PASSWORD", "writes").replace("$READER_NATS_PASSWORD", "reads")
}

fn server_of(nats: &Nats, user: &str) -> String {
    nats.url().replace("nats://", &format!("nats://{user}@"))
}

#[tokio::test]
async fn a_reader_may_read_and_can_neither_publish_nor_change_anything() {
    let nats = Nats::start_with(&NatsSetup { config: permissions(), ..NatsSetup::default() }).unwrap();
    let options = NatsOptions::new(vec![server_of(&nats, "taskplane:writes")], "tests");
    let bus = NatsBus::connect(options.clone()).unwrap();
    bus.connected().await;
    let mark = bus.stream(None).await.unwrap().unwrap();
    bus.publish(&created("shop", 1), Some(&mark)).await.unwrap();

    let (told, mut denied) = mpsc::unbounded_channel();
    let reader = ConnectOptions::new()
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                told.send(error.to_string()).unwrap();
            }
            std::future::ready(())
        })
        .user_and_password("reader".to_owned(), "reads".to_owned())
        .connect(nats.url())
        .await
        .unwrap();
    let mut context = jetstream::new(reader.clone());
    context.set_timeout(Duration::from_secs(5));
    let events = context.get_stream(&options.stream).await.unwrap();
    let durable = pull::Config {
        durable_name: Some("audit".to_owned()),
        deliver_policy: DeliverPolicy::All,
        ..pull::Config::default()
    };
    let mut messages = events.create_consumer(durable).await.unwrap().messages().await.unwrap();
    let message = messages.next().await.unwrap().unwrap();
    assert_eq!(message.subject.as_str(), "taskplane.v1.shop.space.shop.created");
    message.double_ack().await.unwrap();

    // By every way there is into the stream, and at it.
    let into = events.cached_info().config.subjects[0].replace(">", "shop.space.shop.created");
    for subject in ["taskplane.v1.shop.space.shop.created", into.as_str(), "taskplane.bell.removals"] {
        reader.publish(subject.to_owned(), "{}".into()).await.unwrap();
        reader.flush().await.unwrap();
        let said = denied.recv().await.unwrap();
        assert!(said.to_lowercase().contains("permissions violation for publish"), "{said}");
    }
    context.set_timeout(Duration::from_millis(500));
    let config = events.cached_info().config.clone();
    assert!(context.update_stream(stream::Config { max_messages: 1, ..config }).await.is_err());
    assert!(events.purge().await.is_err());
    assert!(events.delete_message(1).await.is_err());
    assert!(context.delete_stream(&options.stream).await.is_err());
    assert!(context.create_stream(stream::Config { name: "OTHER".to_owned(), ..Default::default() }).await.is_err());
    let unchanged = bus.stream(Some(&mark)).await.unwrap().unwrap();
    assert_eq!(unchanged.incarnation, mark.incarnation);
}

#[tokio::test]
async fn a_wrong_password_is_no_connection() {
    let nats = Nats::start_with(&NatsSetup { config: permissions(), ..NatsSetup::default() }).unwrap();
    let bus = NatsBus::connect(NatsOptions::new(vec![server_of(&nats, "taskplane:guessed")], "tests")).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(2), bus.connected()).await.is_err());
    assert!(!bus.is_connected());
}

/// Certificates of one authority, as PEM files in the server's directory.
struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap() }
    }

    fn issue(&self, name: &str) -> [(String, Vec<u8>); 2] {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        [
            (format!("{name}.pem"), certificate.pem().into_bytes()),
            (format!("{name}.key"), key.serialize_pem().into_bytes()),
        ]
    }
}

#[tokio::test]
async fn a_server_with_tls_is_known_by_its_authority_and_knows_its_clients() {
    let pki = Pki::new();
    let mut files = vec![("ca.pem".to_owned(), pki.issuer.pem().into_bytes())];
    files.extend(pki.issue("server"));
    files.extend(pki.issue("client"));
    files.push(("other-ca.pem".to_owned(), Pki::new().issuer.pem().into_bytes()));
    let config = "tls { cert_file: server.pem, key_file: server.key, ca_file: ca.pem, verify: true }\n".to_owned();
    let nats = Nats::start_with(&NatsSetup { config, files }).unwrap();
    let file = |name: &str| nats.directory().join(name);
    let identity = Some((file("client.pem"), file("client.key")));
    let options = |tls: NatsTls| NatsOptions { tls, ..NatsOptions::new(vec![nats.url()], "tests") };

    let known = NatsTls { required: true, ca: Some(file("ca.pem")), identity: identity.clone() };
    let bus = NatsBus::connect(options(known.clone())).unwrap();
    tokio::time::timeout(Duration::from_secs(30), bus.connected()).await.unwrap();
    let mark = bus.stream(None).await.unwrap().unwrap();
    bus.publish(&created("shop", 1), Some(&mark)).await.unwrap();

    let strangers =
        [NatsTls { identity: None, ..known.clone() }, NatsTls { ca: Some(file("other-ca.pem")), ..known.clone() }];
    for tls in strangers {
        let bus = NatsBus::connect(options(tls.clone())).unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(2), bus.connected()).await.is_err(), "{tls:?}");
    }
}

#[tokio::test]
async fn whoever_wants_tls_does_not_talk_without_it() {
    let nats = Nats::start().unwrap();
    let tls = NatsTls { required: true, ..NatsTls::default() };
    let bus = NatsBus::connect(NatsOptions { tls, ..NatsOptions::new(vec![nats.url()], "tests") }).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(2), bus.connected()).await.is_err());
}
