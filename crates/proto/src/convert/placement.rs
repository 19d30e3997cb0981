//! Where in a cluster Tasks may run.

use std::time::Duration;

use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::placement::{Effect, Placement, Toleration};

use crate::convert::spec::BadSpec;
use crate::convert::time::{duration_from_pb, duration_to_pb};
use crate::internal::v1 as internal;
use crate::v1 as pb;

impl From<&Placement> for pb::Placement {
    fn from(placement: &Placement) -> Self {
        let Placement { node_labels, tolerations, priority_class } = placement;
        let toleration = |Toleration { key, value, effect, at_most }: &Toleration| pb::Toleration {
            key: key.clone().unwrap_or_default(),
            value: value.clone().unwrap_or_default(),
            effect: effect.map(Effect::as_str).unwrap_or_default().to_owned(),
            at_most: at_most.map(duration_to_pb),
        };
        Self {
            node_labels: node_labels.clone(),
            tolerations: tolerations.iter().map(toleration).collect(),
            priority_class: priority_class.clone().unwrap_or_default(),
        }
    }
}

/// Something, where something is said.
pub(super) fn placement_to_pb(placement: &Placement) -> Option<pb::Placement> {
    (*placement != Placement::default()).then(|| placement.into())
}

/// As a request writes it at `field`; what it says is still to be checked.
pub(super) fn placement_from_pb(field: &str, placement: pb::Placement) -> Result<Placement, Invalid> {
    let pb::Placement { node_labels, tolerations, priority_class } = placement;
    let mut check = Check::new();
    let mut read = Vec::with_capacity(tolerations.len().min(64));
    for (index, pb::Toleration { key, value, effect, at_most }) in tolerations.into_iter().enumerate() {
        let field = |part: &str| format!("{field}.tolerations[{index}].{part}");
        let effect = match effect.as_str() {
            "" => None,
            text => check.field(
                &field("effect"),
                Effect::parse(text).ok_or("must be NoSchedule, PreferNoSchedule, NoExecute or empty"),
            ),
        };
        let at_most = match at_most.as_ref().map(duration_from_pb) {
            Some(None) => {
                check.refuse(field("at_most"), "must not be negative");
                None
            }
            known => known.flatten(),
        };
        read.push(Toleration { key: said(key), value: said(value), effect, at_most });
    }
    check.finish_with(Some(Placement { node_labels, tolerations: read, priority_class: said(priority_class) }))
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<&Placement> for internal::Placement {
    fn from(placement: &Placement) -> Self {
        let Placement { node_labels, tolerations, priority_class } = placement;
        let toleration = |Toleration { key, value, effect, at_most }: &Toleration| internal::Toleration {
            key: key.clone(),
            value: value.clone(),
            effect: effect.map(|effect| effect.as_str().to_owned()),
            at_most_seconds: at_most.map(|time| time.as_secs()),
        };
        Self {
            node_labels: node_labels.clone(),
            tolerations: tolerations.iter().map(toleration).collect(),
            priority_class: priority_class.clone(),
        }
    }
}

impl TryFrom<internal::Placement> for Placement {
    type Error = BadSpec;

    fn try_from(placement: internal::Placement) -> Result<Self, BadSpec> {
        let internal::Placement { node_labels, tolerations, priority_class } = placement;
        let toleration = |internal::Toleration { key, value, effect, at_most_seconds }| {
            let effect = match effect {
                None => None,
                Some(text) => Some(Effect::parse(&text).ok_or(BadSpec("placement"))?),
            };
            Ok(Toleration { key, value, effect, at_most: at_most_seconds.map(Duration::from_secs) })
        };
        Ok(Self {
            node_labels,
            tolerations: tolerations.into_iter().map(toleration).collect::<Result<_, _>>()?,
            priority_class,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_survives_both_wires() {
        let toleration = Toleration {
            key: Some("dedicated".into()),
            value: None,
            effect: Some(Effect::NoExecute),
            at_most: Some(Duration::from_secs(7)),
        };
        for placement in [
            Placement::default(),
            Placement {
                node_labels: [("a".to_owned(), "b".to_owned())].into(),
                tolerations: vec![toleration],
                priority_class: Some("low".into()),
            },
        ] {
            assert_eq!(placement_from_pb("p", (&placement).into()), Ok(placement.clone()));
            assert_eq!(Placement::try_from(internal::Placement::from(&placement)), Ok(placement));
        }
        let bad = pb::Toleration { effect: "no".into(), ..pb::Toleration::default() };
        let bad = pb::Placement { tolerations: vec![bad], ..pb::Placement::default() };
        assert!(placement_from_pb("p", bad).unwrap_err().to_string().starts_with("p.tolerations[0].effect"));
    }
}
