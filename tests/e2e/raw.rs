//! Calls as no gRPC library would make them: any path, any header, any bytes.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request};
use tokio::net::TcpStream;
use tonic::Code;

use crate::server::{Server, within};

/// A connection of its own, without any manners.
pub struct Raw {
    send: SendRequest<Bytes>,
    address: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub http: u16,
    /// None: this was no answer of gRPC.
    pub code: Option<Code>,
    pub message: String,
}

/// A call, by default a proper one.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn new(method: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type", "application/grpc".to_owned()), ("te", "trailers".to_owned())];
        Self { method: Method::POST, path: format!("/taskplane.v1.{method}"), headers, body }
    }

    /// Replaces a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A message in its frame.
pub fn framed(message: &[u8]) -> Vec<u8> {
    frame(0, message.len(), message)
}

/// A frame whose head says what it likes.
pub fn frame(flag: u8, length: usize, message: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(length).unwrap());
    bytes.put_slice(message);
    bytes.into()
}

impl Raw {
    pub async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self { send, address: server.address.clone() }
    }

    /// The call's beginning, with its end still open.
    async fn begin(&mut self, call: &Call) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let mut request =
            Request::builder().method(call.method.clone()).uri(format!("http://{}{}", self.address, call.path));
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let mut ready = self.send.clone().ready().await?;
        ready.send_request(request.body(()).unwrap(), false)
    }

    pub async fn call(&mut self, call: &Call) -> Answer {
        within(async {
            let (response, mut stream) = self.begin(call).await.unwrap();
            // A server that has heard enough may stop listening.
            let _ = stream.send_data(call.body.clone().into(), true);
            let (head, mut body) = response.await.unwrap().into_parts();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            let trailers = body.trailers().await.unwrap().unwrap_or_default();
            let find = |name: &str| header(&head.headers, name).or_else(|| header(&trailers, name));
            let code = find("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
            Answer { http: head.status.as_u16(), code, message: find("grpc-message").unwrap_or_default() }
        })
        .await
    }

    /// Begins a call, sends a part of it, and breaks off. False when the server has hung up.
    pub async fn break_off(&mut self, call: &Call) -> bool {
        let Ok((_response, mut stream)) = within(self.begin(call)).await else { return false };
        let sent = stream.send_data(call.body.clone().into(), false).is_ok();
        stream.send_reset(h2::Reason::CANCEL);
        sent
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().unwrap().to_owned())
}
