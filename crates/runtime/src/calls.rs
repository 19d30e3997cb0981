//! Counts the calls that a server answers, by method and by the code they ended with.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::metrics::{Counter, Metrics};

const NAME: &str = "taskplane_grpc_requests_total";
const HELP: &str = "Calls answered.";
const STATUS: &str = "grpc-status";
/// For methods that no handler has answered: somebody may have made them up, and there is no end of those.
const UNKNOWN: &str = "unknown";

#[derive(Debug, Clone)]
pub(crate) struct CallsLayer(Counts);

#[derive(Debug, Clone)]
struct Counts {
    counter: Counter,
    known: Arc<Mutex<HashSet<String>>>,
}

impl CallsLayer {
    pub fn new(metrics: &Metrics) -> Self {
        let counter = metrics.counter(NAME, HELP, &["method", "code"]);
        Self(Counts { counter, known: Arc::default() })
    }
}

impl Counts {
    fn count(&self, method: &str, code: Code) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let method = match code {
            // These are said without a handler, too.
            Code::Unimplemented | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
                if !known.contains(method) =>
            {
                UNKNOWN
            }
            Code::Unimplemented | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => method,
            _ => {
                if !known.contains(method) {
                    known.insert(method.to_owned());
                }
                method
            }
        };
        self.counter.add_bounded(&[method, word(code)], 1);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Calls<S> {
    inner: S,
    counts: Counts,
}

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, counts: self.0.clone() }
    }
}

impl<S, B> Service<http::Request<B>> for Calls<S>
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

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let call = Call { counts: self.counts.clone(), method: request.uri().path().to_owned(), code: None };
        let answer = self.inner.call(request);
        Box::pin(async move {
            // Dropped without an answer, it counts itself as cancelled.
            let mut call = call;
            let (parts, body) = answer.await?.into_parts();
            // What is no gRPC at all has a status of its own, and no trailers.
            let foreign = (parts.status != http::StatusCode::OK).then_some(Code::Unknown);
            call.code = code(&parts.headers).or(foreign);
            Ok(http::Response::from_parts(parts, Body::new(Counted { body, call })))
        })
    }
}

/// One call. Counted when it is over, with what is known of its end by then.
struct Call {
    counts: Counts,
    method: String,
    code: Option<Code>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.counts.count(&self.method, self.code.unwrap_or(Code::Cancelled));
    }
}

/// An answer that looks for its end.
struct Counted {
    body: Body,
    call: Call,
}

impl http_body::Body for Counted {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(code) = frame.trailers_ref().and_then(code)
        {
            self.call.code = Some(code);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn code(headers: &http::HeaderMap) -> Option<Code> {
    headers.get(STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_methods_are_one() {
        let metrics = Metrics::default();
        let CallsLayer(counts) = CallsLayer::new(&metrics);
        for made_up in ["/a/B", "/c/D"] {
            for code in [Code::Unimplemented, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded] {
                counts.count(made_up, code);
            }
        }
        counts.count("/e/F", Code::Ok);
        counts.count("/e/F", Code::DeadlineExceeded);
        let text = metrics.text();
        assert!(!text.contains("/a/B") && !text.contains("/c/D"), "{text}");
        assert!(text.contains("{code=\"CANCELLED\",method=\"unknown\"} 2\n"), "{text}");
        assert!(text.contains("{code=\"DEADLINE_EXCEEDED\",method=\"/e/F\"} 1\n"), "{text}");
    }
}
