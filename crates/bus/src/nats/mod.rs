//! The bus that processes share: NATS, with a JetStream stream that keeps the events for others.
//!
//! Whoever listens needs no consumer of his own there. The stream tells of each event that it has taken, once, and one
//! subscription of the process hears them all; from there they go to its loops. A hole in the stream's own count is a
//! [`Ring::Missed`], as is a connection that comes or goes.

mod link;
mod message;
mod options;
#[cfg(feature = "conformance")]
pub mod outside;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::{HeaderMap, Message};
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use taskplane_domain::event::{Event, StreamMark};
use taskplane_proto::cloud_event;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fan_out::FanOut;
use crate::{Bus, BusError, Ring, Topic};
use link::{DEADLINE, Incoming, Link};
use message::Subjects;
pub use options::{NatsOptions, NatsTls, NatsTrouble};
use stream::{Incarnation, Keeper};

/// How long a look at the stream is good for while all goes well.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Between two attempts to connect, jittered.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Clones are the same bus; with the last one its connection ends.
#[derive(Debug, Clone)]
pub struct NatsBus {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

#[derive(Debug)]
struct Inner {
    options: NatsOptions,
    subjects: Subjects,
    rings: FanOut,
    link: watch::Sender<Option<Arc<Link>>>,
    dropped: watch::Sender<u64>,
}

impl NatsBus {
    /// Connects in the background and goes on trying, whether a server is there or not. Needs a tokio runtime around it.
    #[expect(clippy::disallowed_methods, reason = "it ends with the bus, which is what anybody could wait for")]
    pub fn connect(options: NatsOptions) -> Result<Self, NatsTrouble> {
        options.check()?;
        let subjects = Subjects::new(&options);
        let rings = FanOut::new(options.backlog);
        let inner = Arc::new(Inner {
            options,
            subjects,
            rings,
            link: watch::Sender::default(),
            dropped: watch::Sender::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(keep_connected(Arc::clone(&inner))));
        Ok(Self { inner, _stop: Arc::new(stop.drop_guard()) })
    }

    pub fn is_connected(&self) -> bool {
        self.inner.link.borrow().is_some()
    }

    /// Messages that were no events, since the start, as they come.
    pub fn dropped(&self) -> watch::Receiver<u64> {
        self.inner.dropped.subscribe()
    }

    /// Returns once there is a connection.
    pub async fn connected(&self) {
        // The sender lives as long as this bus.
        let _ = self.inner.link.subscribe().wait_for(Option::is_some).await;
    }

    fn link(&self) -> Result<Arc<Link>, BusError> {
        let link = self.inner.link.borrow().clone();
        link.ok_or_else(|| BusError::unavailable("not connected to NATS"))
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn stream(&self, known: Option<&StreamMark>) -> Result<Option<StreamMark>, BusError> {
        let Inner { options, subjects, .. } = self.inner.as_ref();
        let link = self.link()?;
        if let Some((mark, at)) = link.looked()
            && at.elapsed() < GOOD_FOR
            && known.is_none_or(|known| known.incarnation == mark.incarnation)
        {
            return Ok(Some(mark));
        }
        link.look_again();
        let keeper = Keeper { jetstream: &link.jetstream, options, subjects };
        let mark = timeout(2 * DEADLINE, keeper.look(known)).await.map_err(BusError::unavailable)??;
        link.has_looked(&mark);
        Ok(Some(mark))
    }

    async fn publish(&self, event: &Event, into: Option<&StreamMark>) -> Result<u64, BusError> {
        let Inner { options, subjects, .. } = self.inner.as_ref();
        let link = self.link()?;
        let looked = link.looked().filter(|(mark, _)| into.is_some_and(|into| into.incarnation == mark.incarnation));
        let incarnation = looked.and_then(|(mark, _)| Incarnation::parse(&mark.incarnation));
        let Some(Incarnation { token, .. }) = incarnation else {
            return Err(BusError::unavailable("the stream has to be looked at first"));
        };
        let message = message::encode(event, &options.stream)?;
        let subject = subjects.place(event, &token);
        let acknowledged = async { link.jetstream.send_publish(subject, message).await?.await };
        match timeout(DEADLINE, acknowledged).await {
            Ok(Ok(ack)) => Ok(ack.sequence),
            Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Err(BusError::Refused(Box::new(error)))
            }
            Ok(Err(error)) => {
                link.look_again();
                Err(BusError::unavailable(error))
            }
            Err(late) => {
                link.look_again();
                Err(BusError::unavailable(late))
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "nobody waits for it, and it is over within the deadline")]
    fn removals(&self) {
        let Ok(link) = self.link() else { return };
        let subject = self.inner.subjects.removals();
        tokio::spawn(async move {
            if !matches!(timeout(DEADLINE, link.client.publish(subject, "".into())).await, Ok(Ok(()))) {
                tracing::debug!("a ring got lost");
            }
        });
    }

    fn subscribe(&self, topic: Topic) -> BoxStream<'static, Ring> {
        self.inner.rings.subscribe(topic)
    }
}

async fn keep_connected(inner: Arc<Inner>) {
    let Inner { rings, link, .. } = inner.as_ref();
    let mut backoff = BACKOFF_FIRST;
    loop {
        if let Some((opened, incoming)) = connect_once(&inner, backoff == BACKOFF_FIRST).await {
            backoff = BACKOFF_FIRST;
            link.send_replace(Some(Arc::new(opened)));
            rings.tell(Ring::Missed);
            listen(&inner, incoming).await;
            link.send_replace(None);
            rings.tell(Ring::Missed);
            tracing::warn!("the connection to NATS is gone; events wait in the database, loops look on their periods");
        }
        let pause = backoff.mul_f64(rand::rng().random_range(0.5..1.5));
        tokio::time::sleep(pause).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// One attempt at each server, in a new order each time.
async fn connect_once(inner: &Inner, first: bool) -> Option<(Link, Incoming)> {
    let mut servers: Vec<&String> = inner.options.servers.iter().collect();
    servers.shuffle(&mut rand::rng());
    for server in servers {
        match link::open(&inner.options, server, &inner.subjects, &inner.rings).await {
            Ok(opened) => {
                tracing::info!(address = without_password(server), "connected to NATS");
                return Some(opened);
            }
            // The first failure of a row; the others say the same.
            Err(error) if first => {
                tracing::warn!(address = without_password(server), %error, "no connection to NATS, trying on");
            }
            Err(error) => tracing::debug!(address = without_password(server), %error, "no connection to NATS"),
        }
    }
    None
}

/// Tells of what comes in, until the connection ends.
async fn listen(inner: &Inner, Incoming { mut events, mut removals }: Incoming) {
    let mut next = None;
    loop {
        tokio::select! {
            message = events.next() => match message {
                Some(message) => hear(inner, &message, &mut next),
                None => return,
            },
            ring = removals.next() => match ring {
                Some(_) => inner.rings.tell(Ring::Removals),
                None => return,
            },
        }
    }
}

fn hear(inner: &Inner, message: &Message, next: &mut Option<u64>) {
    if let Some(place) = message.headers.as_ref().and_then(place) {
        if next.is_some_and(|next| next != place) {
            inner.rings.tell(Ring::Missed);
        }
        *next = Some(place + 1);
    }
    match cloud_event::from_json(&message.payload) {
        Ok(event) => inner.rings.tell(Ring::Event(Arc::new(event))),
        Err(error) => {
            inner.dropped.send_modify(|dropped| *dropped += 1);
            let dropped = *inner.dropped.borrow();
            // Whoever sends such things may send many.
            if dropped.is_power_of_two() {
                tracing::warn!(subject = %message.subject, dropped, %error, "a message is no event, and was dropped");
            }
        }
    }
}

/// In the stream, as the server counts.
fn place(headers: &HeaderMap) -> Option<u64> {
    headers.get(async_nats::header::NATS_SEQUENCE)?.as_str().parse().ok()
}

/// A URL may carry credentials.
fn without_password(server: &str) -> &str {
    server.rsplit_once('@').map_or(server, |(_, host)| host)
}
