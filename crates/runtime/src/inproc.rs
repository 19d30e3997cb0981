//! gRPC inside one process: the same calls over memory instead of a socket, so that nobody else on the host can make them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Uri};

const BUFFER: usize = 256 * 1024;

/// The server's end of one connection.
pub struct Connection(DuplexStream);

/// What a server serves: connections as clients open them.
pub type Incoming = ReceiverStream<io::Result<Connection>>;

/// A channel, and what a server needs to answer it. Connections are made as they are needed, and again after a loss.
pub fn pair() -> (Channel, Incoming) {
    let (sender, receiver) = mpsc::channel(16);
    let connect = tower::service_fn(move |_: Uri| {
        let sender = sender.clone();
        async move {
            let (client, server) = tokio::io::duplex(BUFFER);
            let gone = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
            sender.send(Ok(Connection(server))).await.map_err(gone)?;
            io::Result::Ok(TokioIo::new(client))
        }
    });
    let channel = Endpoint::from_static("http://in-process").connect_with_connector_lazy(connect);
    (channel, ReceiverStream::new(receiver))
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
