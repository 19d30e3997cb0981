//! Events as CloudEvents 1.0 in JSON, structured mode: what stands on the bus, and what others read there.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use taskplane_domain::event::Event;

use crate::DESCRIPTORS;
use crate::convert::BadEvent;
use crate::event::v1 as pb;

/// The content type of the binding.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";
const SPEC_VERSION: &str = "1.0";

/// Bytes that are no event of ours, or one of a later release that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum BadCloudEvent {
    #[error("not the JSON of a CloudEvent")]
    Json(#[from] serde_json::Error),
    #[error("CloudEvents of version {0} are not understood")]
    Version(String),
    #[error("its data is no taskplane.event.v1.Event")]
    Data(#[from] prost::DecodeError),
    #[error(transparent)]
    Event(#[from] BadEvent),
}

/// Attributes in the order in which a person reads them. Others are passed over.
#[derive(Serialize, Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: String,
    /// The extension for distributed tracing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    data: Value,
}

/// The message, as the descriptors know it.
static EVENT: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(DESCRIPTORS);
    let event = pool.ok().and_then(|pool| pool.get_message_by_name("taskplane.event.v1.Event"));
    event.unwrap_or_else(|| unreachable!("the descriptors were made from the same files as the code"))
});

pub fn to_json(event: &Event) -> Result<Vec<u8>, BadCloudEvent> {
    let message = DynamicMessage::decode(EVENT.clone(), pb::Event::from(event).encode_to_vec().as_slice())?;
    let data = message.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())?;
    let event = CloudEvent {
        specversion: SPEC_VERSION.to_owned(),
        id: event.id(),
        source: format!("/taskplane/spaces/{}", event.subject.space()),
        kind: format!("dev.taskplane.v1.{}.{}", event.fact.kind().as_str(), event.fact.as_str()),
        subject: event.subject.to_string(),
        time: event.at.to_string(),
        datacontenttype: "application/json".to_owned(),
        traceparent: event.trace.clone(),
        data,
    };
    Ok(serde_json::to_vec(&event)?)
}

/// What it says is taken from its data; fields that a later release added are passed over.
pub fn from_json(bytes: &[u8]) -> Result<Event, BadCloudEvent> {
    let CloudEvent { specversion, traceparent, data, .. } = serde_json::from_slice(bytes)?;
    if specversion != SPEC_VERSION {
        return Err(BadCloudEvent::Version(specversion));
    }
    let tolerant = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(EVENT.clone(), data, &tolerant)?;
    let event = Event::try_from(pb::Event::decode(message.encode_to_vec().as_slice())?)?;
    Ok(Event { trace: traceparent, ..event })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use taskplane_domain::event::{EventData, Fact, Subject};
    use uuid::Uuid;

    use super::*;

    fn pushed() -> Event {
        Event {
            uid: Uuid::from_u128(7),
            sequence: 3,
            subject: Subject::App("spaces/s/apps/a".parse().unwrap()),
            fact: Fact::AppPushed,
            at: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
            data: EventData::App { revision: 2 },
            trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        }
    }

    #[test]
    fn an_event_reads_as_the_standards_say() {
        let json: Value = serde_json::from_slice(&to_json(&pushed()).unwrap()).unwrap();
        let expected = serde_json::json!({
            "specversion": "1.0",
            "id": "00000000-0000-0000-0000-000000000007:3",
            "source": "/taskplane/spaces/s",
            "type": "dev.taskplane.v1.app.pushed",
            "subject": "spaces/s/apps/a",
            "time": "2023-11-14T22:13:20.123456Z",
            "datacontenttype": "application/json",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "data": {
                "id": "00000000-0000-0000-0000-000000000007:3",
                "uid": "00000000-0000-0000-0000-000000000007",
                "sequence": "3",
                "subject": "spaces/s/apps/a",
                "fact": "pushed",
                "time": "2023-11-14T22:13:20.123456Z",
                "app": { "revision": 2 },
            },
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_a_later_release_adds_is_passed_over() {
        let mut json: Value = serde_json::from_slice(&to_json(&pushed()).unwrap()).unwrap();
        json["partitionkey"] = "x".into();
        json["data"]["mood"] = "fine".into();
        json["data"]["app"]["colour"] = 7.into();
        assert_eq!(from_json(&serde_json::to_vec(&json).unwrap()).unwrap(), pushed());
    }

    #[test]
    fn what_is_no_event_is_refused_whatever_it_is() {
        let whole = to_json(&pushed()).unwrap();
        for end in 0..whole.len() {
            assert!(from_json(&whole[..end]).is_err(), "its first {end} bytes");
        }
        let told = |change: &dyn Fn(&mut Value)| {
            let mut json: Value = serde_json::from_slice(&whole).unwrap();
            change(&mut json);
            from_json(&serde_json::to_vec(&json).unwrap())
        };
        assert!(matches!(told(&|json| json["specversion"] = "2.0".into()), Err(BadCloudEvent::Version(_))));
        assert!(matches!(told(&|json| json["data"] = Value::Null), Err(BadCloudEvent::Json(_))));
        assert!(matches!(told(&|json| json["data"]["sequence"] = "-1x".into()), Err(BadCloudEvent::Json(_))));
        assert!(matches!(told(&|json| json["data"]["fact"] = "vanished".into()), Err(BadCloudEvent::Event(_))));
        assert!(matches!(told(&|json| json["data"]["subject"] = "spaces/*".into()), Err(BadCloudEvent::Event(_))));
        assert!(told(&|json| json["data"]["uid"] = "7".into()).is_err());
    }
}
