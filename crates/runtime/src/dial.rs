//! Channels to services of ours in other processes.
//!
//! A channel holds one connection. Where several replicas serve the same, it is made to the next of them when it breaks: a
//! replica that went away, or hangs, is left within seconds.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::Authority;
use hyper_util::rt::TokioIo;
use rand::Rng as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::tls::{ClientTls, Role};

/// How long one replica may take to be connected to.
const CONNECTING: Duration = Duration::from_secs(2);
/// How often a connection is asked whether it still is one, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(3);

/// `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(Authority);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have the form HOST:PORT")]
pub struct BadAddress;

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let authority: Authority = text.parse().map_err(|_| BadAddress)?;
        let whole = !authority.host().is_empty() && authority.port_u16().is_some_and(|port| port > 0);
        if whole && !text.contains('@') { Ok(Self(authority)) } else { Err(BadAddress) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Address {
    /// Only processes of this host are reached by it.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// What a connection is to be.
#[derive(Debug, Clone)]
pub enum Carrier {
    Clear,
    /// Both ends show certificates, and the other one's must be made out to that role.
    Mutual(ClientTls, Role),
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A channel to whichever of these replicas answers. Nothing is connected before the first call.
pub fn channel(replicas: Vec<Address>, carrier: Carrier) -> Channel {
    let replicas: Arc<[Address]> = replicas.into();
    // Not every client begins with the same one.
    let turn = Arc::new(AtomicUsize::new(rand::rng().random_range(0..replicas.len().max(1))));
    let connect = tower::service_fn(move |_: Uri| {
        let (replicas, turn, carrier) = (Arc::clone(&replicas), Arc::clone(&turn), carrier.clone());
        async move { Ok::<_, io::Error>(TokioIo::new(connect(&replicas, &turn, &carrier).await?)) }
    });
    Endpoint::from_static("http://replicas")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(SILENCE)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connect)
}

/// To the first that takes it, beginning behind the one that was last.
async fn connect(replicas: &[Address], turn: &AtomicUsize, carrier: &Carrier) -> io::Result<Box<dyn Io>> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "no address is known");
    for _ in replicas {
        let next = turn.fetch_add(1, Ordering::Relaxed) % replicas.len();
        match timeout(CONNECTING, open(&replicas[next], carrier)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
        tracing::debug!(address = %replicas[next], error = %failed, "not connected");
    }
    Err(failed)
}

async fn open(replica: &Address, carrier: &Carrier) -> io::Result<Box<dyn Io>> {
    let stream = TcpStream::connect(replica.0.as_str()).await?;
    stream.set_nodelay(true)?;
    Ok(match carrier {
        Carrier::Clear => Box::new(stream),
        // The certificate of now: it may have changed since the last connection.
        Carrier::Mutual(tls, role) => {
            Box::new(TlsConnector::from(tls.present()).connect(role.server_name(), stream).await?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["localhost:7071", "127.0.0.1:1", "[::1]:7071", "api.taskplane:65535"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in ["", "localhost", ":7071", "a:0", "a:65536", "http://a:1", "a:1/x", "u@a:1", "a b:1"] {
            assert_eq!(bad.parse::<Address>(), Err(BadAddress), "{bad}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        let loops = |text: &str| text.parse::<Address>().unwrap().is_loopback();
        assert!(loops("localhost:1") && loops("127.3.2.1:1") && loops("[::1]:1"));
        assert!(!loops("10.0.0.1:1") && !loops("localhost.example:1") && !loops("[::]:1"));
    }

    #[tokio::test]
    async fn the_next_replica_is_tried_when_one_refuses() {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = |listener: &tokio::net::TcpListener| listener.local_addr().unwrap().to_string().parse().unwrap();
        let (replicas, turn) = ([address(&gone), address(&there)], AtomicUsize::new(0));
        drop(gone);
        let (connected, accepted) = tokio::join!(connect(&replicas, &turn, &Carrier::Clear), there.accept());
        assert!(connected.is_ok() && accepted.is_ok());
        // And the other way round next time.
        assert_eq!(turn.load(Ordering::Relaxed) % 2, 0);
    }
}
