//! Connections as servers take them in, whatever carries them: a socket, or memory within one process.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::Connected;

/// What a server serves: connections as clients open them.
pub type Incoming = BoxStream<'static, io::Result<Connection>>;

/// When no connection can be taken in, for want of open files say: before the next try.
const BREATH: Duration = Duration::from_millis(50);

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The server's end of one connection.
pub struct Connection {
    io: Box<dyn Io>,
}

impl Connection {
    pub fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { io: Box::new(io) }
    }
}

/// An address to serve on; `flag` is named when that cannot be.
pub async fn bind(at: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at).await.with_context(|| format!("{flag} {at} cannot be used"))
}

/// What comes in on a socket. One connection that fails is no reason to take no more.
pub fn plain(listener: TcpListener) -> Incoming {
    TcpListenerStream::new(listener)
        .filter_map(|accepted| async {
            match accepted {
                Ok(stream) => {
                    // It would only be slower.
                    let _ = stream.set_nodelay(true);
                    Some(Ok(Connection::new(stream)))
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not taken in");
                    tokio::time::sleep(BREATH).await;
                    None
                }
            }
        })
        .boxed()
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
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
