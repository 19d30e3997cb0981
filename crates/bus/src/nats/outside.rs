//! What somebody else sees and does at the server, for tests: the stream from its beginning, as any consumer reads it.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use futures::StreamExt as _;
use taskplane_domain::event::Event;
use taskplane_proto::cloud_event;

use super::NatsOptions;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn connected(options: &NatsOptions) -> Result<jetstream::Context, BoxError> {
    let server = options.servers.first().ok_or("no server")?;
    let mut context = jetstream::new(async_nats::connect(server).await?);
    context.set_timeout(Duration::from_secs(10));
    Ok(context)
}

/// Everything that the stream keeps, in its order.
pub async fn history(options: &NatsOptions) -> Result<Vec<Event>, BoxError> {
    let mut stream = connected(options).await?.get_stream(&options.stream).await?;
    let left = stream.info().await?.state.messages;
    let everything = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    let mut messages = stream.create_consumer(everything).await?.messages().await?;
    let mut events = Vec::new();
    while (events.len() as u64) < left {
        let message = messages.next().await.ok_or("the stream ended")??;
        events.push(cloud_event::from_json(&message.payload)?);
    }
    Ok(events)
}

/// As an operator may do by mistake. False: it was not there.
pub async fn delete_stream(options: &NatsOptions) -> Result<bool, BoxError> {
    Ok(connected(options).await?.delete_stream(&options.stream).await.is_ok_and(|status| status.success))
}
