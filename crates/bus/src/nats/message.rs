//! Events as messages. Subjects are made of names only, each of them a DNS label, so a token can neither be added nor be a
//! wildcard.
//!
//! ```text
//! <prefix>.in.<token>.<space>.<kind>.<name>.<fact>   where a relay publishes; <token> is the stream's incarnation
//! <prefix>.v1.<space>.<kind>.<name>.<fact>           how the stream keeps it, and tells of it once it has it
//! <prefix>.bell.removals                             a ring without an event
//! ```

use async_nats::jetstream::message::PublishMessage;
use taskplane_domain::event::Event;
use taskplane_proto::cloud_event;

use crate::BusError;
use crate::nats::options::NatsOptions;

/// The beginning of [`Event::topic`], which stands for the prefix.
const TOPIC: &str = "taskplane.v1.";

#[derive(Debug, Clone)]
pub(crate) struct Subjects {
    prefix: String,
}

impl Subjects {
    pub(crate) fn new(options: &NatsOptions) -> Self {
        Self { prefix: options.prefix.clone() }
    }

    /// Every event, as the stream keeps it.
    pub(crate) fn events(&self) -> String {
        format!("{}.v1.>", self.prefix)
    }

    pub(crate) fn removals(&self) -> String {
        format!("{}.bell.removals", self.prefix)
    }

    /// All that gets into the stream while it goes by this token.
    pub(crate) fn gate(&self, token: &str) -> String {
        format!("{}.in.{token}.>", self.prefix)
    }

    /// The token of such a gate.
    pub(crate) fn token<'s>(&self, gate: &'s str) -> Option<&'s str> {
        let rest = gate.strip_prefix(self.prefix.as_str())?.strip_prefix(".in.")?;
        rest.strip_suffix(".>").filter(|token| !token.is_empty() && !token.contains('.'))
    }

    /// Where one event is published.
    pub(crate) fn place(&self, event: &Event, token: &str) -> String {
        let topic = event.topic();
        let names = topic.strip_prefix(TOPIC).unwrap_or(&topic);
        format!("{}.in.{token}.{names}", self.prefix)
    }
}

/// A repeat is the same message, with the same id.
pub(crate) fn encode(event: &Event, stream: &str) -> Result<PublishMessage, BusError> {
    let payload = cloud_event::to_json(event).map_err(|error| BusError::Refused(Box::new(error)))?;
    let message = PublishMessage::build()
        .payload(payload.into())
        .header("Content-Type", cloud_event::CONTENT_TYPE)
        .message_id(event.id())
        .expected_stream(stream);
    Ok(match event.trace.as_deref().filter(|trace| trace.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(trace) => message.header("traceparent", trace),
        None => message,
    })
}

#[cfg(test)]
mod tests {
    use taskplane_domain::event::{EventData, Fact, Subject};

    use super::*;

    fn subjects() -> Subjects {
        Subjects { prefix: "acme".to_owned() }
    }

    #[test]
    fn a_place_has_one_token_more_than_what_is_kept() {
        let event = Event {
            uid: Default::default(),
            sequence: 1,
            subject: Subject::Job("spaces/s/jobs/j".parse().unwrap()),
            fact: Fact::JobRunStarted,
            at: Default::default(),
            data: EventData::Space,
            trace: None,
        };
        assert_eq!(subjects().place(&event, "t7"), "acme.in.t7.s.job.j.run-started");
        assert_eq!(subjects().place(&event, "t7").split('.').count(), 7);
    }

    #[test]
    fn a_token_is_read_back_and_nothing_else_is_one() {
        let subjects = subjects();
        assert_eq!(subjects.token(&subjects.gate("t7")), Some("t7"));
        for other in ["acme.v1.>", "acme.in.>", "acme.in..>", "acme.in.a.b.>", "acme.in.a", "other.in.a.>"] {
            assert_eq!(subjects.token(other), None, "{other}");
        }
    }
}
