//! Connections as servers take them in, whatever carries them: a socket, with TLS on it or in the clear, or memory within one
//! process. Each says who is at its other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Interceptor;
use tonic::transport::server::Connected;
use tonic::{Request, Status};

use crate::tls::{Role, ServerTls, executors};

/// What a server serves: connections as clients open them.
pub type Incoming = BoxStream<'static, io::Result<Connection>>;

/// When no connection can be taken in, for want of open files say: before the next try.
const BREATH: Duration = Duration::from_millis(50);

/// How long a handshake may take, and how many may be under way at once.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 256;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The server's end of one connection.
pub struct Connection {
    io: Box<dyn Io>,
    peer: Peer,
}

/// Who is at the other end. Found among the extensions of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Nobody was asked: the other end is in this process, or the listener is in the clear.
    Unasked,
    /// One whose certificate our authority made out to these roles; as an executor, to these names, or to any when there is none.
    Certified { roles: Vec<Role>, executors: Vec<String> },
}

impl Peer {
    pub fn may_be(&self, role: Role) -> bool {
        match self {
            Self::Unasked => true,
            Self::Certified { roles, .. } => roles.contains(&role),
        }
    }

    /// Whether it may go by that name among the executors.
    pub fn may_be_called(&self, executor: &str) -> bool {
        match self {
            Self::Unasked => true,
            Self::Certified { executors, .. } => executors.is_empty() || executors.iter().any(|name| name == executor),
        }
    }
}

/// Lets calls of one role through, and no others.
pub fn only(role: Role) -> impl Interceptor + Clone {
    move |request: Request<()>| match request.extensions().get::<Peer>() {
        Some(peer) if peer.may_be(role) => Ok(request),
        _ => Err(Status::permission_denied(format!("this is for {} alone, as a certificate says", role.name()))),
    }
}

impl Connection {
    /// Of one whom nobody asked.
    pub fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { io: Box::new(io), peer: Peer::Unasked }
    }
}

/// An address to serve on; `flag` is named when that cannot be.
pub async fn bind(at: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at).await.with_context(|| format!("{flag} {at} cannot be used"))
}

/// What comes in on a socket, in the clear.
pub fn plain(listener: TcpListener) -> Incoming {
    accepted(listener).map(|stream| Ok(Connection::new(stream))).boxed()
}

/// The same behind a TLS handshake. One who does not get through it is nobody's concern but its own.
pub fn secured(listener: TcpListener, tls: ServerTls) -> Incoming {
    accepted(listener)
        .map(move |stream| {
            // The present one: it may have changed since the last connection.
            let acceptor = TlsAcceptor::from(tls.present());
            async move {
                let from = stream.peer_addr();
                match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let certificates = stream.get_ref().1.peer_certificates();
                        let peer = certificates.and_then(<[_]>::first).map_or(Peer::Unasked, |own| Peer::Certified {
                            roles: [Role::Api, Role::Executor].into_iter().filter(|role| role.is_of(own)).collect(),
                            executors: executors(own),
                        });
                        Some(Ok(Connection { io: Box::new(stream), peer }))
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(?from, %error, "a handshake failed");
                        None
                    }
                    Err(_) => None,
                }
            }
        })
        .buffer_unordered(HANDSHAKES)
        .filter_map(std::future::ready)
        .boxed()
}

/// One connection that fails is no reason to take no more.
fn accepted(listener: TcpListener) -> impl Stream<Item = TcpStream> + Send {
    TcpListenerStream::new(listener).filter_map(|accepted| async {
        match accepted {
            Ok(stream) => {
                // It would only be slower.
                let _ = stream.set_nodelay(true);
                Some(stream)
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken in");
                tokio::time::sleep(BREATH).await;
                None
            }
        }
    })
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
