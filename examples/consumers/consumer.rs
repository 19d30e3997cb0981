//! Reads Taskplane's event stream: each event of each Task, Job, App and Space once, and in order.
//!
//! Prints one JSON object a line: uid, sequence, subject, fact. Keeps nothing but the last sequence of each uid; a real consumer
//! stores that with what it made of the event. Ends after the given seconds without news, else never.
//!
//! ```sh
//! cargo run -p taskplane-bus --example consumer -- nats://127.0.0.1:4222 TASKPLANE_EVENTS 'taskplane.v1.>' 5
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use futures::StreamExt as _;
use serde_json::{Value, json};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What was seen of each thing: repeats are passed over, gaps are told.
#[derive(Default)]
struct History {
    last: HashMap<String, u64>,
}

#[derive(Debug, thiserror::Error)]
#[error("gap: {subject} has {last}, then {sequence}")]
struct Gap {
    subject: String,
    last: u64,
    sequence: u64,
}

impl History {
    /// Whether it is news.
    fn takes(&mut self, event: &Value) -> Result<bool, BoxError> {
        let text = |field: &str| event[field].as_str().ok_or("an event without its fields");
        // 64-bit numbers are strings in the JSON of protobuf.
        let (uid, sequence) = (text("uid")?.to_owned(), text("sequence")?.parse::<u64>()?);
        let last = self.last.entry(uid).or_default();
        if sequence <= *last {
            return Ok(false);
        }
        if sequence != *last + 1 {
            // Older than what the stream keeps: EventService.ListEvents has it.
            return Err(Gap { subject: text("subject")?.to_owned(), last: *last, sequence }.into());
        }
        *last = sequence;
        Ok(true)
    }
}

struct Wanted {
    url: String,
    stream: String,
    filter: String,
    until_idle: Option<Duration>,
}

/// True: nothing has come for as long as was asked for.
async fn read(wanted: &Wanted, history: &mut History) -> Result<bool, BoxError> {
    let mut context = jetstream::new(async_nats::connect(&wanted.url).await?);
    context.set_timeout(Duration::from_secs(5));
    let stream = context.get_stream(&wanted.stream).await?;
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        filter_subject: wanted.filter.clone(),
        ..OrderedConfig::default()
    };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    loop {
        let patience = wanted.until_idle.unwrap_or(Duration::MAX);
        let Ok(next) = tokio::time::timeout(patience, messages.next()).await else { return Ok(true) };
        let message = next.ok_or("the stream is gone")??;
        let cloud_event: Value = serde_json::from_slice(&message.payload)?;
        let event = &cloud_event["data"];
        if history.takes(event)? {
            println!(
                "{}",
                json!({
                    "uid": event["uid"], "sequence": event["sequence"], "subject": event["subject"], "fact": event["fact"],
                })
            );
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (url, stream, filter) =
        (argument("nats://127.0.0.1:4222"), argument("TASKPLANE_EVENTS"), argument("taskplane.v1.>"));
    let until_idle = argument("").parse().ok().map(Duration::from_secs_f64);
    let (wanted, mut history) = (Wanted { url, stream, filter, until_idle }, History::default());
    loop {
        match read(&wanted, &mut history).await {
            Ok(true) => return ExitCode::SUCCESS,
            Ok(false) => {}
            Err(error) if error.is::<Gap>() => {
                eprintln!("{error}");
                return ExitCode::from(3);
            }
            // The server or the stream is away: from the beginning again, which what was seen makes short.
            Err(error) => {
                eprintln!("trying again: {error}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}
