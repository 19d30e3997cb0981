//! Where in a cluster Tasks may run: what Kubernetes calls node selectors, tolerations and priority classes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::invalid::{Check, Invalid};

/// Most labels of nodes that one selector names.
const LABELS_MAX: usize = 16;
const TOLERATIONS_MAX: usize = 16;

/// What is said of it, by a Space or by an App.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Labels that a node must have.
    pub node_labels: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub priority_class: Option<String>,
}

/// A taint of nodes that does not keep a Task away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// None: every taint.
    pub key: Option<String>,
    /// None: whatever its value.
    pub value: Option<String>,
    /// None: whatever it does.
    pub effect: Option<Effect>,
    /// How long a Task stays on a node that is tainted while it runs; none: for ever.
    pub at_most: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl Effect {
    pub const ALL: [Self; 3] = [Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.as_str() == text)
    }
}

impl Placement {
    /// Checks what a user says at `field`.
    pub fn check(self, field: &str) -> Result<Self, Invalid> {
        let mut check = Check::new();
        let Self { node_labels, tolerations, priority_class } = &self;
        if node_labels.len() > LABELS_MAX {
            check.refuse(format!("{field}.node_labels"), format!("must be at most {LABELS_MAX}"));
        }
        for (key, value) in node_labels.iter().take(LABELS_MAX) {
            if !is_key(key) {
                check.refuse(
                    format!("{field}.node_labels"),
                    "must have names of labels, like disktype or example.com/disktype",
                );
            } else if !is_value(value) {
                check.refuse(format!("{field}.node_labels[{key}]"), NO_VALUE);
            }
        }
        if tolerations.len() > TOLERATIONS_MAX {
            check.refuse(format!("{field}.tolerations"), format!("must be at most {TOLERATIONS_MAX}"));
        }
        for (index, Toleration { key, value, effect, at_most }) in tolerations.iter().take(TOLERATIONS_MAX).enumerate()
        {
            let field = |part: &str| format!("{field}.tolerations[{index}].{part}");
            match key {
                Some(key) if !is_key(key) => check.refuse(field("key"), "must be the name of a taint, like dedicated"),
                None if value.is_some() => check.refuse(field("value"), "needs a key: a taint's name"),
                Some(_) | None => {}
            }
            if value.as_deref().is_some_and(|value| !is_value(value)) {
                check.refuse(field("value"), NO_VALUE);
            }
            if at_most.is_some() && *effect != Some(Effect::NoExecute) {
                check.refuse(field("seconds"), "is for NoExecute alone: leave it out");
            }
        }
        if priority_class.as_deref().is_some_and(|name| !is_name(name)) {
            check.refuse(format!("{field}.priority_class"), "must be the name of a PriorityClass: a-z, 0-9, - and .");
        }
        check.finish_with(Some(self))
    }

    /// A Space's, with what an App of it says: that App's word on a label and on the class counts; tolerations add up.
    pub fn with(mut self, app: &Self) -> Self {
        self.node_labels.extend(app.node_labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        for toleration in &app.tolerations {
            if !self.tolerations.contains(toleration) {
                self.tolerations.push(toleration.clone());
            }
        }
        self.priority_class = app.priority_class.clone().or(self.priority_class);
        self
    }
}

const NO_VALUE: &str = "must be a label's value: letters, digits, -, _ and ., at most 63 characters, beginning and ending with a letter or digit";

fn is_value(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    let mut bytes = text.bytes();
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_value(name) && prefix.is_none_or(is_name)
}

/// Of an object, or a domain.
fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Of a namespace.
pub(crate) fn is_label(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn toleration(key: &str) -> Toleration {
        Toleration { key: Some(key.into()), value: None, effect: None, at_most: None }
    }

    #[test]
    fn an_apps_word_counts_and_tolerations_add_up() {
        let space = Placement {
            node_labels: labels(&[("disk", "ssd"), ("zone", "a")]),
            tolerations: vec![toleration("dedicated")],
            priority_class: Some("low".into()),
        };
        let app = Placement {
            node_labels: labels(&[("zone", "b")]),
            tolerations: vec![toleration("dedicated"), toleration("gpu")],
            priority_class: None,
        };
        let both = space.clone().with(&app);
        assert_eq!(both.node_labels, labels(&[("disk", "ssd"), ("zone", "b")]));
        assert_eq!(both.tolerations, [toleration("dedicated"), toleration("gpu")]);
        assert_eq!(both.priority_class.as_deref(), Some("low"));
        assert_eq!(space.clone().with(&Placement::default()), space);
    }

    #[test]
    fn what_no_cluster_takes_is_refused_field_by_field() {
        let refused = |placement: Placement| placement.check("p").unwrap_err().to_string();
        for bad in ["", "-a", "a b", "Ä", "a/", "/a", "A.b/c", "a/b/c"] {
            let placement = Placement { node_labels: labels(&[(bad, "x")]), ..Placement::default() };
            assert!(refused(placement).starts_with("p.node_labels:"), "{bad:?}");
        }
        for bad in ["-a", "a b", "ä", &"x".repeat(64)] {
            let placement = Placement { node_labels: labels(&[("a", bad)]), ..Placement::default() };
            assert!(refused(placement).starts_with("p.node_labels[a]:"), "{bad:?}");
        }
        let timed = Toleration { at_most: Some(Duration::from_secs(1)), ..toleration("a") };
        let valued = Toleration { key: None, value: Some("x".into()), effect: None, at_most: None };
        let placement =
            Placement { tolerations: vec![timed, valued], priority_class: Some("A".into()), ..Placement::default() };
        let said = refused(placement);
        for part in ["p.tolerations[0].seconds", "p.tolerations[1].value", "p.priority_class"] {
            assert!(said.contains(part), "{said}");
        }
        let fine = Placement {
            node_labels: labels(&[("example.com/disk", ""), ("a", "x.y_z")]),
            tolerations: vec![toleration("dedicated")],
            priority_class: Some("batch-low".into()),
        };
        assert_eq!(fine.clone().check("p"), Ok(fine));
    }
}
