//! Log lines as JSON: one flat object a line, and in it nothing but the fields of a list.
//!
//! The list is the redaction that holds: a field that nobody thought of, ours or a foreign crate's, is not written. The fields
//! of the spans around a line stand beside its own; where two have one name, the inner one is meant.

use std::fmt;

use opentelemetry::trace::TraceContextExt as _;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// What every line has; `span` and `trace_id` where it has a span, and that is part of a trace.
const FRAME: [&str; 6] = ["timestamp", "level", "target", "message", "span", "trace_id"];

/// What a line may have besides. `docs/LOGGING.md` says what each of them is.
const FIELDS: &[&str] = &[
    "address",
    "answer",
    "app.name",
    "broken",
    "cgroup",
    "cluster",
    "code",
    "corrupt",
    "data_dir",
    "db.transaction",
    "detail",
    "dropped",
    "error",
    "event.fact",
    "event.row",
    "event.sequence",
    "event.subject",
    "events",
    "executor",
    "files",
    "found",
    "from",
    "internal",
    "job.uid",
    "jobs",
    "kind",
    "known",
    "listing",
    "log",
    "method",
    "namespace",
    "panic",
    "pid",
    "point",
    "reason",
    "refused",
    "retry_in",
    "rpc.method",
    "run",
    "run.uid",
    "runs",
    "session",
    "sessions",
    "settings",
    "source.sha256",
    "stream",
    "subject",
    "task.attempt",
    "task.name",
    "task.report",
    "task.uid",
    "task_run",
    "tasks",
    "transaction",
    "tried",
    "tries",
    "tzdb",
    "uid",
    "wait",
    "why",
    "worker",
];

/// How the fields of a span, or of a line, are kept: as one JSON object.
pub(crate) struct JsonFields;

/// How a line is written.
pub(crate) struct Json;

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn keep(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        if name == "message" || FIELDS.binary_search(&name).is_ok() {
            self.0.insert(name.to_owned(), value.into());
        } else if name == "log.target" {
            // Lines of crates that use `log` bring the place they come from along as a field.
            self.0.insert("target".to_owned(), value.into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let causes = std::iter::successors(value.source(), |error| error.source());
        self.keep(field, causes.fold(value.to_string(), |text, cause| format!("{text}: {cause}")));
    }
}

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut kept = Fields::default();
        fields.record(&mut kept);
        write!(writer, "{}", Value::Object(kept.0))
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &tracing::span::Record<'_>) -> fmt::Result {
        let mut kept = Fields(object(&current.fields));
        fields.record(&mut kept);
        current.fields = Value::Object(kept.0).to_string();
        Ok(())
    }
}

/// What [`JsonFields`] wrote.
fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let trace = Span::current().context().span().span_context().clone();
        let mut fields = Map::new();
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(kept) = span.extensions().get::<FormattedFields<JsonFields>>() {
                fields.extend(object(&kept.fields));
            }
            fields.insert("span".to_owned(), span.name().into());
        }
        let mut own = Fields::default();
        event.record(&mut own);
        fields.extend(own.0);
        if trace.is_valid() {
            fields.insert("trace_id".to_owned(), trace.trace_id().to_string().into());
        }
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        let mut line = Map::from_iter([
            ("timestamp".to_owned(), Value::from(timestamp)),
            ("level".to_owned(), metadata.level().as_str().into()),
            ("target".to_owned(), metadata.target().into()),
            ("message".to_owned(), "".into()),
        ]);
        line.extend(fields);
        // Whoever reads them with bare eyes looks for these first.
        let (first, rest): (Vec<_>, Vec<_>) = line.into_iter().partition(|(name, _)| FRAME.contains(&name.as_str()));
        let place = |name: &str| FRAME.iter().position(|frame| *frame == name);
        let mut first = first;
        first.sort_by_key(|(name, _)| place(name));
        let cells = first.into_iter().chain(rest).map(|(name, value)| format!("{}:{value}", Value::from(name)));
        writeln!(writer, "{{{}}}", cells.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields)
            .event_format(Json)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = written.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
    }

    #[test]
    fn a_line_has_its_own_fields_and_those_of_its_spans() {
        let lines = lines(|| {
            let outer =
                tracing::info_span!("outer", worker = "relay", run = "outer", task.name = tracing::field::Empty);
            outer.record("task.name", "spaces/s/apps/a/tasks/1");
            outer.in_scope(|| {
                tracing::info_span!("inner", run = "inner").in_scope(|| {
                    tracing::warn!(tries = 3, error = %"a \"quoted\"\nline", "it went wrong");
                });
            });
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let expected = [
            ("level", Value::from("WARN")),
            ("target", "taskplane_runtime::json::tests".into()),
            ("message", "it went wrong".into()),
            ("span", "inner".into()),
            ("worker", "relay".into()),
            ("run", "inner".into()),
            ("task.name", "spaces/s/apps/a/tasks/1".into()),
            ("tries", 3.into()),
            ("error", "a \"quoted\"\nline".into()),
        ];
        for (name, value) in &expected {
            assert_eq!(line[*name], *value, "{name}: {line}");
        }
        assert_eq!(line.as_object().map(Map::len), Some(expected.len() + 1), "and a timestamp: {line}");
    }

    #[test]
    fn a_field_that_is_not_on_the_list_is_not_written() {
        let lines = lines(|| {
            let span = tracing::info_span!("outer", command = "rm -rf zzcanary");
            span.in_scope(|| tracing::info!(password = "zzcanary", runs = 1, "told"));
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line["runs"], 1);
        assert!(!line.to_string().contains("zzcanary"), "{line}");
    }

    #[test]
    fn the_list_is_the_documents() {
        let document = include_str!("../../../docs/LOGGING.md");
        let (_, table) = document.split_once("## Fields").expect("a chapter on fields");
        let table = table.split("\n## ").next().unwrap_or_default();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut told: Vec<&str> = rows.flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`')).collect();
        told.retain(|word| !word.is_empty() && *word != ", ");
        told.sort_unstable();
        let mut listed: Vec<&str> = FRAME.into_iter().chain(FIELDS.iter().copied()).collect();
        listed.sort_unstable();
        assert_eq!(told, listed);
        assert!(FIELDS.is_sorted(), "it is searched");
    }
}
