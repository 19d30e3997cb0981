//! What a Space has in a cluster before any Task of it runs: its namespace and what keeps that in bounds.
//!
//! Two make the same of it: an executor that may, and an operator who applies what `taskplane space-manifest` prints.

use serde_json::{Value, json};
use taskplane_domain::Name;
use taskplane_domain::uid::SpaceUid;

/// Everything of ours carries it.
pub const MANAGED: &str = "taskplane.dev/managed";
/// On the namespace of a Space and on everything in it: the Space's uid, without hyphens.
pub const SPACE: &str = "taskplane.dev/space-id";
/// The Space's name, for people and for log shippers.
pub const SPACE_NAME: &str = "taskplane.dev/space";
/// The ClusterRole that an executor has in each Space.
pub const ROLE: &str = "taskplane-executor";
const THINGS: &str = "taskplane";

/// Whose namespace it is.
#[derive(Debug, Clone, Copy)]
pub struct Space<'a> {
    pub uid: SpaceUid,
    pub name: &'a Name,
    pub namespace: &'a str,
}

/// What a cluster's operator says of all Spaces.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Level of the Pod Security Standards.
    pub pod_security: String,
    /// Pods at one time.
    pub pods: u32,
    /// Namespace and name of the executor's ServiceAccount; none: it has its rights already.
    pub account: Option<(String, String)>,
    /// Where pods reach executors.
    pub pod_facing: Vec<PodFacing>,
}

/// What every pod may reach beside what its security groups say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodFacing {
    /// Addresses, as a block, and a port.
    Block { cidr: String, port: u16 },
    /// The executor's pods, in its namespace.
    Namespace { namespace: String, port: u16 },
}

impl std::str::FromStr for PodFacing {
    type Err = String;

    /// `10.0.0.1:7073`, or the executor's namespace: `taskplane:7073`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither ADDRESS:PORT nor NAMESPACE:PORT");
        let (place, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        match place.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            Ok(address) => {
                let prefix = if address.is_ipv4() { 32 } else { 128 };
                Ok(Self::Block { cidr: format!("{address}/{prefix}"), port })
            }
            Err(_) if place.parse::<Name>().is_ok() => Ok(Self::Namespace { namespace: place.to_owned(), port }),
            Err(_) => Err(wrong()),
        }
    }
}

/// In the order in which it is to be made.
#[derive(Debug, Clone)]
pub struct Furniture {
    pub namespace: Value,
    pub rights: Option<Value>,
    pub quota: Value,
    pub limits: Value,
    pub policy: Value,
}

impl Furniture {
    /// As one applies it by hand.
    pub fn list(self) -> Value {
        let Self { namespace, rights, quota, limits, policy } = self;
        let items: Vec<Value> =
            [Some(namespace), rights, Some(quota), Some(limits), Some(policy)].into_iter().flatten().collect();
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }
}

pub fn space_id(space: SpaceUid) -> String {
    space.0.simple().to_string()
}

pub fn furniture(space: &Space<'_>, terms: &Terms) -> Furniture {
    let Terms { pod_security, pods, account, pod_facing } = terms;
    let labels = json!({MANAGED: "true", SPACE: space_id(space.uid), SPACE_NAME: space.name.as_str()});
    let named = |name: &str| json!({"name": name, "namespace": space.namespace, "labels": labels});
    let mut of_namespace = labels.clone();
    for mode in ["enforce", "warn", "audit"] {
        of_namespace[format!("pod-security.kubernetes.io/{mode}")] = pod_security.as_str().into();
    }
    Furniture {
        namespace: json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": space.namespace, "labels": of_namespace},
        }),
        rights: account.as_ref().map(|(namespace, name)| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": named(ROLE),
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
                "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
            })
        }),
        quota: json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": named(THINGS),
            // Nothing is routed to a Task.
            "spec": {"hard": {"pods": pods.to_string(), "services": "0", "count/ingresses.networking.k8s.io": "0"}},
        }),
        limits: json!({
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": named(THINGS),
            // For containers that Tekton adds; a Task's own says what it needs.
            "spec": {"limits": [{
                "type": "Container",
                "defaultRequest": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "64Mi"},
                "default": {"memory": "256Mi", "ephemeral-storage": "256Mi"},
            }]},
        }),
        policy: json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": named(THINGS),
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "egress": egress(pod_facing),
            },
        }),
    }
}

/// DNS, and whom a guard asks. The rest is for security groups to say; nothing comes in.
fn egress(pod_facing: &[PodFacing]) -> Value {
    let dns = json!({
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    });
    let executors = pod_facing.iter().map(|facing| {
        let (to, port) = match facing {
            PodFacing::Block { cidr, port } => (json!({"ipBlock": {"cidr": cidr}}), port),
            PodFacing::Namespace { namespace, port } => {
                (json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}), port)
            }
        };
        json!({"to": [to], "ports": [{"protocol": "TCP", "port": port}]})
    });
    std::iter::once(dns).chain(executors).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(account: Option<(String, String)>) -> Furniture {
        let name = "blue".parse().unwrap();
        let space = Space { uid: SpaceUid(Default::default()), name: &name, namespace: "space-blue" };
        let terms = Terms {
            pod_security: "baseline".into(),
            pods: 7,
            account,
            pod_facing: vec!["10.99.0.1:7073".parse().unwrap(), "taskplane:7073".parse().unwrap()],
        };
        furniture(&space, &terms)
    }

    #[test]
    fn nothing_comes_in_and_only_dns_and_the_executor_are_reached() {
        let policy = all(None).policy;
        assert_eq!(policy["spec"]["podSelector"], json!({}));
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(policy["spec"].get("ingress"), None);
        assert_eq!(policy["spec"]["egress"].as_array().unwrap().len(), 3);
        assert_eq!(policy["spec"]["egress"][1]["to"], json!([{"ipBlock": {"cidr": "10.99.0.1/32"}}]));
        let executors = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "taskplane"}}}]);
        assert_eq!(policy["spec"]["egress"][2]["to"], executors);
    }

    #[test]
    fn where_an_executor_is_reached_is_an_address_or_a_namespace() {
        let block = |cidr: &str| PodFacing::Block { cidr: cidr.into(), port: 7073 };
        assert_eq!("10.99.0.1:7073".parse(), Ok(block("10.99.0.1/32")));
        assert_eq!("[fd00::1]:7073".parse(), Ok(block("fd00::1/128")));
        assert_eq!("taskplane:1".parse(), Ok(PodFacing::Namespace { namespace: "taskplane".into(), port: 1 }));
        for bad in ["", "10.0.0.1", "10.0.0.1:0", "a_b:1", "a:b", ":1"] {
            assert!(bad.parse::<PodFacing>().is_err(), "{bad}");
        }
    }

    #[test]
    fn whoever_has_an_account_to_give_rights_to_gives_them_to_that_one_role() {
        let list = |account| all(account).list()["items"].as_array().unwrap().len();
        assert_eq!(list(None), 4);
        assert_eq!(list(Some(("taskplane".into(), "executor".into()))), 5);
        let rights = all(Some(("taskplane".into(), "executor".into()))).rights.unwrap();
        assert_eq!(rights["roleRef"]["name"], "taskplane-executor");
        assert_eq!(rights["metadata"]["namespace"], "space-blue");
    }
}
