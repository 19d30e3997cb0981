//! Measurements for Prometheus, in its text format. Each scrape asks their source anew: nothing is counted in between, so a
//! replica that starts again has lost nothing.

use std::fmt::Write as _;
use std::future::Future;

use anyhow::Context as _;
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::lifecycle::Lifecycle;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One thing that is measured. Labels are words of our own, never a name that somebody gave: their number is bounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    pub name: &'static str,
    pub help: &'static str,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, &'static str)>,
    pub value: f64,
}

impl Gauge {
    pub fn single(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, samples: vec![Sample { labels: Vec::new(), value }] }
    }
}

/// As Prometheus reads it.
pub fn text(gauges: &[Gauge]) -> String {
    let mut text = String::new();
    for Gauge { name, help, samples } in gauges {
        // Writing into a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for Sample { labels, value } in samples {
            let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

/// Answers `GET /metrics` with what `measure` finds, until the process is asked to stop.
pub async fn serve<F, Fut>(listener: TcpListener, lifecycle: Lifecycle, measure: F) -> anyhow::Result<()>
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<Vec<Gauge>>> + Send + 'static,
{
    let answer = move || {
        let measuring = measure();
        async move {
            match measuring.await {
                Ok(gauges) => ([(CONTENT_TYPE, TEXT)], text(&gauges)).into_response(),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "nothing could be measured");
                    StatusCode::SERVICE_UNAVAILABLE.into_response()
                }
            }
        }
    };
    let router = Router::new().route("/metrics", get(answer)).fallback(|| async { StatusCode::NOT_FOUND });
    let server = Server::builder()
        .accept_http1(true)
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), lifecycle.soft().clone().cancelled_owned());
    tokio::select! {
        result = server => result.context("--metrics-listen"),
        () = lifecycle.hard().cancelled() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_written_as_prometheus_reads_them() {
        let labelled = Gauge {
            name: "taskplane_tasks",
            help: "Tasks that are not over.",
            samples: vec![Sample { labels: vec![("state", "RUNNING"), ("reason", "X")], value: 3.0 }],
        };
        assert_eq!(
            text(&[labelled, Gauge::single("taskplane_age", "How old.", 0.5)]),
            "# HELP taskplane_tasks Tasks that are not over.\n\
             # TYPE taskplane_tasks gauge\n\
             taskplane_tasks{state=\"RUNNING\",reason=\"X\"} 3\n\
             # HELP taskplane_age How old.\n\
             # TYPE taskplane_age gauge\n\
             taskplane_age 0.5\n"
        );
    }
}
