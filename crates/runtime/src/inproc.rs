//! gRPC inside one process: the same calls over memory instead of a socket, so that nobody else on the host can make them.

use std::io;

use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::net::{Connection, Incoming};

const BUFFER: usize = 256 * 1024;

/// A channel, and what a server needs to answer it. Connections are made as they are needed, and again after a loss.
pub fn pair() -> (Channel, Incoming) {
    let (sender, receiver) = mpsc::channel(16);
    let connect = tower::service_fn(move |_: Uri| {
        let sender = sender.clone();
        async move {
            let (client, server) = tokio::io::duplex(BUFFER);
            let gone = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
            sender.send(Ok(Connection::new(server))).await.map_err(gone)?;
            io::Result::Ok(TokioIo::new(client))
        }
    });
    let channel = Endpoint::from_static("http://in-process").connect_with_connector_lazy(connect);
    (channel, ReceiverStream::new(receiver).boxed())
}
