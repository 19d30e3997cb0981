//! Which nodes can be relied on to do what they were told.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;

/// How long a node may be silent and still be called Ready: the node controller's own patience (50 s by default, looked at
/// every 5 s). What a node is said to be now, it was that long ago; whether it is so now shows only after that long.
pub(super) const NODE_LAG: Duration = Duration::from_secs(60);

/// A node, and since when it is Ready; none while it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes(BTreeMap<String, Option<Timestamp>>);

impl Nodes {
    pub fn see(&mut self, node: &Node) {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "True");
        let since = ready.map(|ready| ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0));
        self.set(node.metadata.name.as_deref().unwrap_or_default(), since);
    }

    pub fn set(&mut self, name: &str, ready_since: Option<Timestamp>) {
        self.0.insert(name.to_owned(), ready_since);
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Whether that node, or every node when it is not known which, was up for `span` after `since`, and could not have been
    /// silent meanwhile.
    pub(super) fn stayed_ready(&self, node: Option<&str>, since: Timestamp, span: Duration, now: Timestamp) -> bool {
        let stayed = |ready_since: &Option<Timestamp>| {
            ready_since.is_some_and(|ready| now >= later(ready.max(since), span.saturating_add(NODE_LAG)))
        };
        match node {
            Some(node) => self.0.get(node).is_some_and(stayed),
            None => !self.0.is_empty() && self.0.values().all(stayed),
        }
    }

    pub(super) fn is_ready(&self, node: &str) -> bool {
        self.0.get(node).is_some_and(Option::is_some)
    }
}

pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
