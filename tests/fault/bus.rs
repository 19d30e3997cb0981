//! The bus as others meet it: who reads the stream, and who disturbs it.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use async_nats::{Client, HeaderMap, Message};
use futures::StreamExt as _;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::history::{EventSeen, RunFact, TaskFact};

pub const STREAM: &str = "TASKPLANE_EVENTS";
/// What processes listen to, and others too.
const EVENTS: &str = "taskplane.v1.>";
/// Marks what was said already.
const ECHO: &str = "Echo";

/// Everything in the stream, in its order, as any consumer reads it; what is no event of ours is passed over. `None`: there is no
/// stream at this moment.
pub async fn read(url: &str) -> Option<Vec<EventSeen>> {
    let context = jetstream::new(async_nats::connect(url).await.ok()?);
    let mut stream = context.get_stream(STREAM).await.ok()?;
    let mut left = stream.info().await.ok()?.state.messages;
    let everything = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    let mut messages = stream.create_consumer(everything).await.ok()?.messages().await.ok()?;
    let mut events = Vec::new();
    while left > 0 {
        let message = messages.next().await?.ok()?;
        events.extend(event(&message.payload));
        left -= 1;
    }
    Some(events)
}

/// Says everything again that is said, up to three times, later and in another order; and now and then something that makes no
/// sense. Goes on after whatever becomes of the server, until it is stopped.
pub async fn echoes(url: String, mut rng: StdRng, stop: CancellationToken) {
    let run = async {
        loop {
            if let Ok(client) = async_nats::connect(&url).await {
                let _ = echo(&client, &mut rng).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    stop.run_until_cancelled(run).await;
}

async fn echo(client: &Client, rng: &mut StdRng) -> Result<(), async_nats::Error> {
    let mut heard = client.subscribe(EVENTS).await?;
    let mut kept: Vec<Message> = Vec::new();
    while let Some(message) = heard.next().await {
        if message.headers.as_ref().is_some_and(|headers| headers.get(ECHO).is_some()) {
            continue;
        }
        kept.push(message);
        if kept.len() < 10 {
            continue;
        }
        let mut again: Vec<Message> = std::mem::take(&mut kept).into_iter().cycle().take(30).collect();
        again.shuffle(rng);
        for Message { subject, payload, headers, .. } in again {
            let mut headers: HeaderMap = headers.unwrap_or_default();
            headers.insert(ECHO, "1");
            let payload = match rng.random_range(0..20) {
                0 => poison(rng, &payload).into(),
                _ => payload,
            };
            client.publish_with_headers(subject, headers, payload).await?;
        }
    }
    Ok(())
}

/// What no release of ours would say.
fn poison(rng: &mut StdRng, sound: &[u8]) -> Vec<u8> {
    match rng.random_range(0..4) {
        0 => Vec::new(),
        1 => (0..rng.random_range(1..2000)).map(|_| rng.random()).collect(),
        2 => sound[..rng.random_range(0..sound.len().max(1))].to_vec(),
        // Of a release to come.
        _ => String::from_utf8_lossy(sound).replace("\"1.0\"", "\"7.0\"").into_bytes(),
    }
}

/// The CloudEvent in these bytes; nothing of ours is asked to read it.
fn event(bytes: &[u8]) -> Option<EventSeen> {
    let envelope: Value = serde_json::from_slice(bytes).ok()?;
    let data = envelope.get("data")?;
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default();
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let task = data.get("task").map(|task| TaskFact {
        id: number(&task["id"]),
        display_name: text(task, "displayName"),
        state: text(task, "state"),
        reason: text(task, "reason"),
        attempt: u32::try_from(number(&task["attempt"])).unwrap_or_default(),
        job: text(task, "job"),
    });
    let run = data.get("job").filter(|job| number(&job["run"]) > 0).map(|job| RunFact {
        schedule_uid: text(job, "scheduleUid"),
        tick: job["tickTime"].as_str().map(|tick| tick.parse::<jiff::Timestamp>().unwrap().as_second()),
        outcome: text(job, "outcome"),
        task_uid: text(job, "taskUid"),
    });
    Some(EventSeen {
        uid: text(data, "uid"),
        sequence: number(&data["sequence"]),
        subject: text(data, "subject"),
        fact: text(data, "fact"),
        task,
        run,
    })
}
