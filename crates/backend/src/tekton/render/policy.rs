//! Security groups as NetworkPolicies.

use serde_json::{Value, json};
use taskplane_domain::security_group::{GroupRules, Ports, Rule, Traffic};

use crate::tekton::names;

/// The policy that lets a Task's pod reach what its groups say, or none when nothing is said. It selects by its own name, which
/// is that of its content: Tasks with the same rules share it, and no later change touches it. What else a pod may reach is its
/// namespace's to say.
pub(super) fn policy(namespace: &str, groups: &[GroupRules]) -> Option<(String, Value)> {
    let egress: Vec<Value> = groups.iter().flat_map(|group| &group.rules).map(rule).collect();
    if groups.is_empty() {
        return None;
    }
    let name = format!("sg-{}", super::digest(Value::from(egress.clone()).to_string().as_bytes()));
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names::MANAGED: "true"},
        },
        "spec": {
            "podSelector": {"matchLabels": {names::NETPOL: name}},
            "policyTypes": ["Egress"],
            "egress": egress,
        },
    });
    Some((name, policy))
}

fn rule(rule: &Rule) -> Value {
    let Rule { traffic, destinations, description: _ } = rule;
    let to: Vec<Value> = destinations
        .iter()
        .flat_map(|part| part.blocks())
        .map(|block| json!({"ipBlock": {"cidr": block.to_string()}}))
        .collect();
    match traffic {
        Traffic::All => json!({ "to": to }),
        Traffic::Tcp(ports) => json!({"to": to, "ports": ports_of("TCP", ports)}),
        Traffic::Udp(ports) => json!({"to": to, "ports": ports_of("UDP", ports)}),
    }
}

fn ports_of(protocol: &str, ports: &[Ports]) -> Vec<Value> {
    let one = |ports: &Ports| {
        let mut port = json!({"protocol": protocol, "port": ports.first()});
        if ports.last() > ports.first() {
            port["endPort"] = ports.last().into();
        }
        port
    };
    ports.iter().map(one).collect()
}
