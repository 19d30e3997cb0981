//! A collector of traces, in the test's own process: a real one, which servers export to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What was exported, with the service that did.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for group in request.into_inner().resource_spans {
            let attributes = group.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = name.and_then(|name| text(name.value?.value?)).unwrap_or_default();
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Collector {
    /// Serves on a port of its own; returns the endpoint.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(self.clone());
        let incoming = TcpIncoming::from(listener);
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        endpoint
    }

    pub fn spans(&self) -> Vec<Told> {
        self.0.lock().unwrap().iter().map(|(service, span)| Told::new(service, span)).collect()
    }

    pub fn of_trace(&self, trace: &str) -> Vec<Told> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }
}

/// A span as tests speak of it.
#[derive(Debug, Clone)]
pub struct Told {
    pub service: String,
    pub name: String,
    pub id: String,
    pub parent: String,
    trace: String,
    /// The traces that its links lead to.
    pub links: Vec<String>,
    pub attributes: BTreeMap<String, String>,
}

impl Told {
    fn new(service: &str, span: &Span) -> Self {
        let attributes = span.attributes.iter();
        let attributes =
            attributes.filter_map(|attribute| Some((attribute.key.clone(), text(attribute.value.clone()?.value?)?)));
        Self {
            service: service.to_owned(),
            name: span.name.clone(),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            trace: hex(&span.trace_id),
            links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
            attributes: attributes.collect(),
        }
    }

    pub fn is(&self, name: &str, attribute: &str, value: &str) -> bool {
        self.name == name && self.attributes.get(attribute).map(String::as_str) == Some(value)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one span that is so.
pub fn one<'t>(spans: &'t [Told], wanted: impl Fn(&Told) -> bool, what: &str) -> &'t Told {
    let found: Vec<&Told> = spans.iter().filter(|span| wanted(span)).collect();
    let [span] = found[..] else { panic!("{} of {what}: {spans:#?}", found.len()) };
    span
}
