//! Logs to stderr, traces to a collector when one is named.

use anyhow::Context as _;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::json::{Json, JsonFields};

/// The header of W3C trace context.
const TRACEPARENT: &str = "traceparent";

/// The span around everything that a loop does.
pub(crate) const LOOP: &str = "worker";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Flushes what is still under way when it is dropped.
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Sets up logs and traces for the whole process. Needs a tokio runtime around it for the exporter.
pub fn init(
    service: &'static str,
    filter: &str,
    format: LogFormat,
    otlp_endpoint: Option<&str>,
) -> anyhow::Result<Telemetry> {
    // What the client of NATS says to itself is said by the bus, in words of ours.
    let filter = format!("async_nats=off,{filter}");
    let filter =
        EnvFilter::try_new(filter).context("--log is not a filter like `info` or `info,taskplane_api=debug`")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.fmt_fields(JsonFields).event_format(Json).boxed(),
    };
    let provider = otlp_endpoint.map(|endpoint| provider(service, endpoint)).transpose()?;
    // Spans of the exporter's own calls would be exported by further calls, without end.
    let ours = EnvFilter::new("info,async_nats=off,h2=off,hyper=off,tonic=off,tower=off,opentelemetry=off");
    // A loop has no end, so its span would never be told: what it does begins traces of its own.
    let bounded = filter_fn(|metadata| !metadata.is_span() || metadata.name() != LOOP);
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer(service)).with_filter(ours.and(bounded))
    });
    tracing_subscriber::registry().with(traces).with(lines.with_filter(filter)).try_init()?;
    Ok(Telemetry { provider })
}

fn provider(service: &'static str, endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .context("--otlp-endpoint cannot be used")?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            // Too late to tell anybody of a failure.
            let _ = provider.shutdown();
        }
    }
}

/// Makes `span` a child of the caller's, if the request says who that is.
pub fn continue_trace(span: &Span, headers: &http::HeaderMap) {
    if let Some(parent) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
        continue_from(span, parent);
    }
}

/// Makes `span` a child of the span that `traceparent` names.
pub fn continue_from(span: &Span, traceparent: &str) {
    // Fails only where traces are not collected at all.
    let _ = span.set_parent(named(traceparent));
}

/// Makes `span` refer to another one, beside which it goes on.
pub fn link(span: &Span, other: &Span) {
    span.add_link(other.context().span().span_context().clone());
}

/// The same with a span that `traceparent` names.
pub fn link_to(span: &Span, traceparent: &str) {
    span.add_link(named(traceparent).span().span_context().clone());
}

fn named(traceparent: &str) -> opentelemetry::Context {
    let carrier = std::collections::HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    TraceContextPropagator::new().extract(&carrier)
}

/// `span` as others can continue it; None where traces are not collected.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = std::collections::HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// The present span as others can continue it; where traces are not collected, what the caller sent is handed on.
pub fn traceparent(metadata: &tonic::metadata::MetadataMap) -> Option<String> {
    if let Some(present) = traceparent_of(&Span::current()) {
        return Some(present);
    }
    let sent = metadata.get(TRACEPARENT)?.to_str().ok()?;
    let well_formed = sent.len() == 55
        && sent.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    well_formed.then(|| sent.to_owned())
}
