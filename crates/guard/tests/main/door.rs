//! Whoever answers guards: TLS with a certificate of its own, and the answers that a test gives it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::StartAnswer;
use taskplane_proto::internal::v1::start_ticket_server::{StartTicket, StartTicketServer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

const CERTIFICATE: &[u8] = include_bytes!("one.pem");
const KEY: &[u8] = include_bytes!("one.key.pem");
/// SHA-256 of it, and of a certificate that nobody shows.
pub const PIN: &str = "a47c3ddf3fdc652b309ab11f811814dd8e592cf762bc2cc7d19a667225b5d7b1";
pub const OTHER_PIN: &str = "60bc295e98c9bda8252f2b3d5048cad766fb1686c210121281679698c0c376a4";

pub struct Door {
    pub address: String,
    script: Script,
    serving: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Result<StartAnswer, Status>>>>,
    asked: Arc<Mutex<Vec<pb::AskStartRequest>>>,
}

impl Door {
    /// Gives these answers, one each time; when there are no more it is unavailable.
    pub async fn open(answers: Vec<Result<StartAnswer, Status>>) -> Self {
        let script = Script { answers: Arc::new(Mutex::new(answers.into())), ..Script::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let acceptor = acceptor();
        let incoming = TcpListenerStream::new(listener)
            .then(move |stream| {
                let acceptor = acceptor.clone();
                async move { acceptor.accept(stream?).await }
            })
            // A guard that does not trust us has hung up.
            .filter(|accepted| std::future::ready(accepted.is_ok()));
        let server = Server::builder().add_service(StartTicketServer::new(script.clone()));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        let serving = tokio::spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
        Self { address, script, serving }
    }

    pub fn asked(&self) -> Vec<pb::AskStartRequest> {
        self.script.asked.lock().unwrap().clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[tonic::async_trait]
impl StartTicket for Script {
    async fn ask_start(&self, request: Request<pb::AskStartRequest>) -> Result<Response<pb::AskStartResponse>, Status> {
        self.asked.lock().unwrap().push(request.into_inner());
        let next = self.answers.lock().unwrap().pop_front();
        let answer = next.unwrap_or_else(|| Err(Status::unavailable("nobody knows")))?;
        Ok(Response::new(pb::AskStartResponse { answer: answer as i32 }))
    }
}
