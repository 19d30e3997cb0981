//! A gRPC server with its manners: bounds, deadlines, panics caught, traces continued, a drain that ends.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tower_http::trace::TraceLayer;

use crate::calls::CallsLayer;
use crate::lifecycle::Lifecycle;
use crate::net::Incoming;
use crate::telemetry;

/// Largest message a server reads, and writes.
pub const MESSAGE_IN: usize = 1 << 20;
pub const MESSAGE_OUT: usize = 4 << 20;

const STREAMS_PER_CONNECTION: u32 = 100;
/// All that a caller hears of a failure that is ours.
pub const OUR_FAULT: &str = "internal error";

/// How long a call may take that does not say so itself.
const DEADLINE: Duration = Duration::from_secs(30);

/// Serves `routes` to what comes in, until the process is asked to stop; then finishes the calls at hand.
/// `unhurried`: methods that may take longer than other calls, as `/package.Service/Method`.
pub async fn serve(
    routes: Routes,
    incoming: Incoming,
    unhurried: &'static [&'static str],
    lifecycle: &Lifecycle,
) -> anyhow::Result<()> {
    // What goes wrong is logged where it is known what it means, not for each status that a client is answered with.
    let trace = TraceLayer::new_for_grpc().on_failure(()).make_span_with(|request: &http::Request<Body>| {
        let span =
            tracing::info_span!("grpc.request", rpc.method = request.uri().path(), task.name = tracing::field::Empty);
        telemetry::continue_trace(&span, request.headers());
        span
    });
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_frame_size(64 * 1024)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_max_header_list_size(16 * 1024)
        .layer(trace)
        .layer(CallsLayer::new(lifecycle.metrics()))
        .layer(MannersLayer { unhurried })
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, lifecycle.soft().clone().cancelled_owned());
    // Idle connections may outlive a graceful stop: the hard end bounds it.
    tokio::select! {
        result = server => Ok(result?),
        () = lifecycle.hard().cancelled() => Ok(()),
    }
}

/// What a panic of a handler looks like to its caller; the rest of the server goes on.
fn panicked(panic: &(dyn std::any::Any + Send)) -> http::Response<Body> {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("");
    tracing::error!(panic = text, "a handler panicked");
    Status::internal(OUR_FAULT).into_http()
}

/// Ends calls at the deadline they bring, or at ours, with the code that says so; and answers for handlers that panic.
#[derive(Debug, Clone, Copy)]
struct MannersLayer {
    unhurried: &'static [&'static str],
}

#[derive(Debug, Clone)]
struct Manners<S> {
    inner: S,
    unhurried: &'static [&'static str],
}

impl<S> Layer<S> for MannersLayer {
    type Service = Manners<S>;

    fn layer(&self, inner: S) -> Manners<S> {
        Manners { inner, unhurried: self.unhurried }
    }
}

impl<S, B> Service<http::Request<B>> for Manners<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        if let Some(refusal) = not_grpc(&request) {
            return Box::pin(async move { Ok(refusal) });
        }
        // Taken off the request: tonic would answer CANCELLED where DEADLINE_EXCEEDED is meant.
        let asked = request.headers_mut().remove("grpc-timeout").and_then(|value| parse_timeout(value.to_str().ok()?));
        let unhurried = self.unhurried.contains(&request.uri().path());
        let limit = if unhurried { asked } else { Some(asked.map_or(DEADLINE, |asked| asked.min(DEADLINE))) };
        let call = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        let call = async move { call.await.unwrap_or_else(|panic| Ok(panicked(panic.as_ref()))) };
        Box::pin(async move {
            let late = || Status::new(Code::DeadlineExceeded, "the call took longer than its deadline").into_http();
            let answer = match limit {
                None => call.await,
                // Over before it began: nothing of it is done.
                Some(limit) if limit.is_zero() => Ok(late()),
                Some(limit) => tokio::time::timeout(limit, call).await.unwrap_or_else(|_| Ok(late())),
            };
            answer.map(blamed_rightly)
        })
    }
}

/// What is no gRPC call at all gets the answer that HTTP has for it.
fn not_grpc<B>(request: &http::Request<B>) -> Option<http::Response<Body>> {
    let plain = |status| {
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = status;
        Some(response)
    };
    let content_type =
        request.headers().get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let rest = content_type.strip_prefix(b"application/grpc");
    match rest.and_then(|rest| rest.first()) {
        _ if request.method() != http::Method::POST => plain(http::StatusCode::METHOD_NOT_ALLOWED),
        None if rest.is_some() => None,
        Some(b'+' | b';') => None,
        _ => plain(http::StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}

/// tonic says INTERNAL of messages that it cannot read, and OUT_OF_RANGE of those that are too large. Both are the caller's.
fn blamed_rightly(mut response: http::Response<Body>) -> http::Response<Body> {
    const STATUS: &str = "grpc-status";
    let headers = response.headers();
    let is = |code: Code| {
        headers.get(STATUS).is_some_and(|status| status.as_bytes() == (code as i32).to_string().as_bytes())
    };
    let message = headers.get("grpc-message").map(http::HeaderValue::as_bytes).unwrap_or_default();
    let right = if is(Code::Internal) && message != OUR_FAULT.replace(' ', "%20").as_bytes() {
        Code::InvalidArgument
    } else if is(Code::OutOfRange) && message.starts_with(b"Error") {
        Code::ResourceExhausted
    } else {
        return response;
    };
    response.headers_mut().insert(STATUS, http::HeaderValue::from(right as i32));
    response
}

/// The gRPC wire form: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = if digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok()?
    } else {
        return None;
    };
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_grpc_writes_them() {
        assert_eq!(parse_timeout("30S"), Some(Duration::from_secs(30)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "1", "-1S", "1s", "999999999S", "١S"] {
            assert_eq!(parse_timeout(bad).filter(|_| bad != "S"), None, "{bad}");
        }
    }
}
