//! A connection to one NATS server, for as long as it lasts.
//!
//! The client is kept from reconnecting by itself: what was on its way to a server that went down shall not reach the one that
//! comes up, which may have lost what it was to follow. Each connection begins with a look at the stream.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use taskplane_domain::event::StreamMark;
use tokio::time::{Instant, timeout};

use crate::Ring;
use crate::fan_out::FanOut;
use crate::nats::message::Subjects;
use crate::nats::options::{NatsOptions, NatsTls};

/// How long anything may take that is asked of the server.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// A server that answers nothing is noticed after two of these.
const PING: Duration = Duration::from_secs(5);
/// Events under way that nobody has acknowledged yet.
const UNACKNOWLEDGED: usize = 4096;
/// Messages that may wait to be read, before the client drops some and says so.
const UNREAD: usize = 65_536;
/// Where nobody listens.
const NOWHERE: &str = "nats://127.0.0.1:0";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) jetstream: Context,
    /// How the stream was when this connection looked last, if nothing went wrong since.
    looked: Mutex<Option<(StreamMark, Instant)>>,
}

/// What a connection brings in.
pub(crate) struct Incoming {
    pub(crate) events: Subscriber,
    pub(crate) removals: Subscriber,
}

impl Link {
    pub(crate) fn new(client: Client) -> Self {
        let jetstream = ContextBuilder::new()
            .timeout(DEADLINE)
            .ack_timeout(DEADLINE)
            .max_ack_inflight(UNACKNOWLEDGED)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Self { client, jetstream, looked: Mutex::default() }
    }

    /// How it was when last looked at, and when that was.
    pub(crate) fn looked(&self) -> Option<(StreamMark, Instant)> {
        self.lock().clone()
    }

    pub(crate) fn has_looked(&self, mark: &StreamMark) {
        *self.lock() = Some((mark.clone(), Instant::now()));
    }

    pub(crate) fn look_again(&self) {
        *self.lock() = None;
    }

    /// Nothing is left half-done while it is held.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(StreamMark, Instant)>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to `server`. What is subscribed to is in force when this returns.
pub(crate) async fn open(
    options: &NatsOptions,
    server: &str,
    subjects: &Subjects,
    rings: &FanOut,
) -> Result<(Link, Incoming), BoxError> {
    let attempt = async {
        let server: ServerAddr = server.parse()?;
        let mut settings = settings(options, rings.clone()).await?;
        if let Some((user, password)) = server.username().zip(server.password()) {
            settings = settings.user_and_password(user.to_owned(), password.to_owned());
        }
        let client = settings.connect(server).await?;
        client.set_server_pool(NOWHERE).await?;
        let events = client.subscribe(subjects.events()).await?;
        let removals = client.subscribe(subjects.removals()).await?;
        client.flush().await?;
        Ok::<_, BoxError>((Link::new(client), Incoming { events, removals }))
    };
    timeout(DEADLINE, attempt).await?
}

/// Files are read anew for each connection, so that a renewed certificate needs no restart.
async fn settings(options: &NatsOptions, rings: FanOut) -> Result<ConnectOptions, BoxError> {
    let NatsOptions { name, credentials, tls, .. } = options;
    let mut settings = ConnectOptions::new()
        .name(name)
        .connection_timeout(DEADLINE)
        .request_timeout(Some(DEADLINE))
        .ping_interval(PING)
        .subscription_capacity(UNREAD)
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        .event_callback(move |event| {
            let rings = rings.clone();
            async move {
                if let Event::SlowConsumer(_) = event {
                    rings.tell(Ring::Missed);
                }
            }
        });
    let NatsTls { required, ca, identity } = tls;
    settings = settings.require_tls(*required);
    if let Some(ca) = ca {
        settings = settings.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = identity {
        settings = settings.add_client_certificate(certificate.clone(), key.clone());
    }
    if let Some(credentials) = credentials {
        settings = settings.credentials_file(credentials).await?;
    }
    Ok(settings)
}
