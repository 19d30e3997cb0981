//! The step before the command, which asks whether that may start. What it is told stands in a Secret of its own: nothing of it is
//! copied with the run or rewritten, and the command does not get to see the token.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use taskplane_domain::run::{RunSpec, StartToken};

use super::{confined, immutable};
use crate::tekton::config::{Guard, TektonConfig};
use crate::tekton::names;

/// In the image that `scripts/guard-image.sh` makes. Without a command Tekton would ask the image's registry for one.
const PROGRAM: &str = "/taskplane-guard";

pub(super) struct Asking {
    pub step: Value,
    pub secret: Value,
}

/// None: the command starts with its pod. `pins` are the digests of the certificates that may answer.
pub(super) fn asking(spec: &RunSpec, config: &TektonConfig, pins: &[String]) -> Option<Asking> {
    let (Guard { image, addresses, pins: _ }, StartToken(token)) = (config.guard.as_ref()?, spec.start_token.as_ref()?);
    let told = [
        ("TASKPLANE_TICKETS", addresses.join(",")),
        ("TASKPLANE_TICKET_PINS", pins.join(",")),
        ("TASKPLANE_TASK_UID", spec.key.task.to_string()),
        ("TASKPLANE_ATTEMPT", spec.key.attempt.to_string()),
        ("TASKPLANE_START_TOKEN", token.clone()),
        ("TASKPLANE_START_WITHIN", config.start_deadline.as_secs().to_string()),
    ];
    let told: BTreeMap<String, String> = told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let secret = names::guard_secret(&spec.key.to_string());
    let step = json!({
        "name": names::GUARD_STEP,
        "image": image,
        "command": [PROGRAM],
        "envFrom": [{"secretRef": {"name": secret}}],
        "env": [{"name": "TASKPLANE_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
        // For the guard, and for Tekton's own first process in its container.
        "computeResources": {
            "requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "8Mi"},
            "limits": {"memory": "64Mi", "ephemeral-storage": "64Mi"},
        },
        "securityContext": confined(config),
    });
    Some(Asking { step, secret: immutable(&secret, &told) })
}
