//! Arguments about clusters.

use std::time::Duration;

use clap::Args;
use taskplane_manifest::{PodFacing, Terms};
use taskplane_proto::convert::duration_to_pb;
use taskplane_proto::v1::{Placement, Toleration};

use super::value;

#[derive(Debug, Args)]
pub struct SpaceManifestArgs {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// ServiceAccount of the executor, as NAMESPACE/NAME
    #[arg(long, value_name = "ACCOUNT", default_value = "taskplane/taskplane-executor", value_parser = account)]
    pub executor_account: (String, String),
    /// What the executor puts before the name of a Space that names no namespace
    #[arg(long, value_name = "PREFIX", default_value = "space-")]
    pub namespace_prefix: String,
    /// Level of the Pod Security Standards: privileged, baseline or restricted
    #[arg(long, value_name = "LEVEL", default_value = "baseline", value_parser = ["privileged", "baseline", "restricted"])]
    pub pod_security: String,
    /// Pods at one time
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub pods: u32,
    /// Where pods ask executors for their start tickets: an address and a port, or their namespace and a port; several with
    /// commas between
    #[arg(long, value_name = "WHERE:PORT", value_delimiter = ',', value_parser = pod_facing)]
    pub pod_facing: Vec<PodFacing>,
}

impl SpaceManifestArgs {
    pub fn terms(&self) -> Terms {
        Terms {
            pod_security: self.pod_security.clone(),
            pods: self.pods,
            account: Some(self.executor_account.clone()),
            pod_facing: self.pod_facing.clone(),
        }
    }
}

/// Where in a cluster Tasks may run.
#[derive(Debug, Args)]
#[command(next_help_heading = "In a cluster")]
pub struct PlacementArgs {
    /// A label that a node must have; several are all needed
    #[arg(long = "node-label", value_name = "KEY=VALUE", value_parser = value::pair)]
    pub node_labels: Vec<(String, String)>,
    /// A taint of nodes that keeps Tasks not away: KEY, KEY=VALUE, KEY=VALUE:EFFECT or KEY:EFFECT; for NoExecute also with
    /// a time, KEY:NoExecute:5m
    #[arg(long = "toleration", value_name = "TAINT", value_parser = toleration)]
    pub tolerations: Vec<Toleration>,
    /// Name of a PriorityClass
    #[arg(long, value_name = "NAME")]
    pub priority_class: Option<String>,
}

impl PlacementArgs {
    /// None: nothing was said.
    pub fn placement(self) -> Option<Placement> {
        let Self { node_labels, tolerations, priority_class } = self;
        if node_labels.is_empty() && tolerations.is_empty() && priority_class.is_none() {
            return None;
        }
        let node_labels = node_labels.into_iter().collect();
        Some(Placement { node_labels, tolerations, priority_class: priority_class.unwrap_or_default() })
    }
}

fn account(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    let (namespace, name) = parts.ok_or_else(|| format!("`{text}` is not NAMESPACE/NAME of a ServiceAccount"))?;
    Ok((namespace.to_owned(), name.to_owned()))
}

fn pod_facing(text: &str) -> Result<PodFacing, String> {
    text.parse()
}

fn toleration(text: &str) -> Result<Toleration, String> {
    let mut parts = text.split(':');
    let taint = parts.next().unwrap_or_default();
    let (key, value) = taint.split_once('=').unwrap_or((taint, ""));
    let effect = parts.next().unwrap_or_default().to_owned();
    let at_most = parts.next().map(value::duration).transpose()?.map(|time: Duration| duration_to_pb(time));
    if parts.next().is_some() {
        return Err(format!("`{text}` has more than KEY=VALUE:EFFECT:TIME"));
    }
    Ok(Toleration { key: key.to_owned(), value: value.to_owned(), effect, at_most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taint_is_written_as_kubectl_writes_it() {
        let read = |text: &str| {
            let Toleration { key, value, effect, at_most } = toleration(text).unwrap();
            (key, value, effect, at_most.map(|time| time.seconds))
        };
        let told = |key: &str, value: &str, effect: &str, seconds| (key.into(), value.into(), effect.into(), seconds);
        assert_eq!(read("gpu"), told("gpu", "", "", None));
        assert_eq!(read("gpu=a:NoSchedule"), told("gpu", "a", "NoSchedule", None));
        assert_eq!(read("gpu:NoExecute:5m"), told("gpu", "", "NoExecute", Some(300)));
        assert!(toleration("gpu:NoExecute:soon").is_err());
        assert!(toleration("a:b:5m:c").is_err());
    }
}
