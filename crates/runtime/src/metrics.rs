//! Measurements for Prometheus, in its text format.
//!
//! Two kinds: *meters* count in this process what it does, from its start on; *gauges* are asked of their source anew at each
//! scrape, and any replica answers the same. Labels are words of our own, never a name that somebody gave: their number is
//! bounded, and the types see to it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::lifecycle::Lifecycle;
use crate::{health, net};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Counted where a successor opens its session, and where silence is found out.
pub const TAKEOVERS: &str = "taskplane_lease_takeovers_total";
pub const TAKEOVERS_HELP: &str =
    "What executors lost: sessions that lapsed, Tasks lost with one, Tasks that a successor took over or settled.";
/// From a millisecond to two minutes, finer where one looks closer.
const BUCKETS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];

/// What a process counts. Clones count the same.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    registry: Registry,
    counters: Mutex<HashMap<&'static str, IntCounterVec>>,
    histograms: Mutex<HashMap<&'static str, HistogramVec>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Goes up.
#[derive(Debug, Clone)]
pub struct Counter(IntCounterVec);

/// How long something took, how often.
#[derive(Debug, Clone)]
pub struct Histogram(HistogramVec);

impl Metrics {
    /// The counter of that name; made when there is none yet. Its name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &str, labels: &[&str]) -> Counter {
        let mut counters = self.0.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let made = counters.entry(name).or_insert_with(|| {
            let made = IntCounterVec::new(Opts::new(name, help), labels).expect("a name and labels of our own");
            self.register(Box::new(made.clone()));
            made
        });
        Counter(made.clone())
    }

    /// The histogram of that name; made when there is none yet. Its name ends in `_seconds`.
    pub fn histogram(&self, name: &'static str, help: &str, labels: &[&str]) -> Histogram {
        let mut histograms = self.0.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let made = histograms.entry(name).or_insert_with(|| {
            let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            let made = HistogramVec::new(options, labels).expect("a name and labels of our own");
            self.register(Box::new(made.clone()));
            made
        });
        Histogram(made.clone())
    }

    fn register(&self, collector: Box<dyn prometheus::core::Collector>) {
        self.0.registry.register(collector).expect("each name is registered once");
    }

    pub(crate) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.registry.gather()).unwrap_or_default()
    }
}

impl Counter {
    /// One value for each label, in their order.
    pub fn add(&self, labels: &[&'static str], count: u64) {
        self.0.with_label_values(labels).inc_by(count);
    }

    /// For labels whose values somebody else has bounded.
    pub(crate) fn add_bounded(&self, labels: &[&str], count: u64) {
        self.0.with_label_values(labels).inc_by(count);
    }
}

impl Histogram {
    pub fn took(&self, labels: &[&'static str], time: Duration) {
        self.0.with_label_values(labels).observe(time.as_secs_f64());
    }
}

/// One thing that is measured when it is asked for.
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

/// The same as [`serve`] for as long as the process lives, where that is asked for.
pub async fn serve_at<F, Fut>(at: Option<SocketAddr>, lifecycle: &Lifecycle, measure: F) -> anyhow::Result<()>
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<Vec<Gauge>>> + Send + 'static,
{
    let Some(at) = at else { return Ok(()) };
    let listener = net::bind(at, "--metrics-listen").await?;
    tracing::info!(address = %listener.local_addr()?, "measurements are served");
    lifecycle.spawn_vital("metrics", serve(listener, lifecycle.clone(), measure));
    Ok(())
}

/// Answers `GET /metrics` with what this process counted and with what `measure` finds, and `/readyz` and `/livez`, until the
/// process is asked to stop. What cannot be measured at the moment is left out, and `taskplane_measured` says so.
async fn serve<F, Fut>(listener: TcpListener, lifecycle: Lifecycle, measure: F) -> anyhow::Result<()>
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<Vec<Gauge>>> + Send + 'static,
{
    let metrics = lifecycle.metrics().clone();
    let answer = move || {
        let (measuring, metrics) = (measure(), metrics.clone());
        async move {
            let (measured, mut gauges) = match measuring.await {
                Ok(gauges) => (1.0, gauges),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "nothing could be measured");
                    (0.0, Vec::new())
                }
            };
            let help = "Whether the database could be asked for the other gauges.";
            gauges.push(Gauge::single("taskplane_measured", help, measured));
            ([(CONTENT_TYPE, TEXT)], metrics.text() + &text(&gauges)).into_response()
        }
    };
    let router = Router::new()
        .route("/metrics", get(answer))
        .merge(health::routes(lifecycle.vitals().clone()))
        .fallback(|| async { StatusCode::NOT_FOUND });
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

    #[test]
    fn what_is_asked_for_twice_is_one_meter() {
        let metrics = Metrics::default();
        for count in [1, 2] {
            metrics.counter("taskplane_done_total", "Done.", &["how"]).add(&["well"], count);
            metrics.histogram("taskplane_took_seconds", "Took.", &[]).took(&[], Duration::from_secs(count));
        }
        let text = metrics.text();
        assert!(text.contains("taskplane_done_total{how=\"well\"} 3\n"), "{text}");
        assert!(text.contains("taskplane_took_seconds_count 2\n"), "{text}");
        assert!(text.contains("taskplane_took_seconds_bucket{le=\"1\"} 1\n"), "{text}");
    }
}
