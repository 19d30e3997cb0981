//! The Tekton backend as an executor composes it: Tasks as PipelineRuns of a cluster.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use taskplane_backend::tekton::client::Access;
use taskplane_backend::tekton::{Account, Guard, Pins, PodFacing, PodSecurity, TektonBackend, TektonConfig};

use crate::tickets_args::Tickets;

/// Settings of the Tekton backend.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "With --backend tekton")]
pub struct TektonArgs {
    /// How to reach the cluster; by default what kubectl would use, else the pod's own service account
    #[arg(long, env = "TASKPLANE_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Most calls to the cluster a second, over time
    #[arg(long, env = "TASKPLANE_CLUSTER_CALLS", default_value = "100", value_name = "CALLS")]
    pub cluster_calls: NonZeroU32,
    /// Whether this executor makes the namespaces of Spaces; else an operator does, see `taskplane space-manifest`
    #[arg(
        long,
        env = "TASKPLANE_MANAGE_NAMESPACES",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub manage_namespaces: bool,
    /// Put before the name of a Space that names no namespace of its own
    #[arg(long, env = "TASKPLANE_NAMESPACE_PREFIX", default_value = "space-", value_name = "PREFIX")]
    pub namespace_prefix: String,
    /// This executor's ServiceAccount, which is given its rights in each namespace that is made; unset: it has them already
    #[arg(long, env = "TASKPLANE_EXECUTOR_ACCOUNT", value_name = "NAMESPACE/NAME")]
    pub executor_account: Option<Account>,
    /// Level of the Pod Security Standards that these namespaces enforce: privileged, baseline or restricted
    #[arg(long, env = "TASKPLANE_POD_SECURITY", default_value = "baseline", value_name = "LEVEL")]
    pub pod_security: PodSecurity,
    /// A Secret with credentials of registries, in each Space's namespace; several with commas between
    #[arg(long, env = "TASKPLANE_PULL_SECRETS", value_name = "SECRET", value_delimiter = ',')]
    pub pull_secret: Vec<String>,
    /// User and group that Tasks run as
    #[arg(long, env = "TASKPLANE_RUN_AS_USER", default_value = "2000", value_name = "ID", value_parser = clap::value_parser!(i64).range(0..=4_294_967_294))]
    pub run_as_user: i64,
    /// Most pods of one Space at one time, in namespaces that are made
    #[arg(long, env = "TASKPLANE_PODS_PER_SPACE", default_value = "1000", value_name = "PODS")]
    pub pods_per_space: u32,
    /// How long runs and pods stay once they are over and their log is archived, in seconds; as long as their Tasks are kept
    /// when unset
    #[arg(long, env = "TASKPLANE_FINISHED_RUNS", value_name = "SECONDS", value_parser = taskplane_runtime::start::seconds)]
    pub finished_runs: Option<Duration>,
    /// Image of the guard, the step that asks for a Task's start ticket; needed with --tickets-listen
    #[arg(long, env = "TASKPLANE_GUARD_IMAGE", value_name = "IMAGE")]
    pub guard_image: Option<String>,
    /// Where the policies of namespaces let pods reach executors: their address and port, or their namespace and port; several
    /// with commas between; what --tickets-advertise says when unset
    #[arg(long, env = "TASKPLANE_POD_FACING", value_name = "WHERE:PORT", value_delimiter = ',')]
    pub pod_facing: Vec<PodFacing>,
    /// How long a guard asks for its start ticket, in seconds: what the control plane was told
    #[arg(long, env = "TASKPLANE_START_DEADLINE", default_value = "3600", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub start_deadline: u32,
}

impl TektonArgs {
    /// `tickets`: what this executor serves to guards.
    pub fn check(&self, tickets: Option<&Tickets>) -> anyhow::Result<TektonConfig> {
        let Self {
            kubeconfig,
            cluster_calls,
            manage_namespaces,
            namespace_prefix,
            executor_account,
            pod_security,
            pull_secret,
            run_as_user,
            pods_per_space,
            finished_runs,
            guard_image,
            pod_facing,
            start_deadline,
        } = self.clone();
        let guard = guard(guard_image, tickets)?;
        let pod_facing = match &guard {
            Some(guard) if pod_facing.is_empty() && manage_namespaces => facing(&guard.addresses)?,
            _ => pod_facing,
        };
        Ok(TektonConfig {
            access: Access { kubeconfig, calls_per_second: cluster_calls },
            manage_namespaces,
            namespace_prefix,
            account: executor_account,
            pod_security,
            pull_secrets: pull_secret,
            run_as_user,
            pods_per_space,
            finished: finished_runs,
            pod_facing,
            guard,
            start_deadline: Duration::from_secs(start_deadline.into()),
            ..TektonConfig::default()
        })
    }

    pub async fn open(&self, tickets: Option<&Tickets>) -> anyhow::Result<TektonBackend> {
        let config = self.check(tickets)?;
        TektonBackend::start(config).await.context("--kubeconfig, or the lack of one, leads to no cluster")
    }
}

fn guard(image: Option<String>, tickets: Option<&Tickets>) -> anyhow::Result<Option<Guard>> {
    let (image, tickets) = match (image, tickets) {
        (None, None) => return Ok(None),
        (Some(_), None) => bail!("--guard-image needs --tickets-listen: there would be nobody for a guard to ask"),
        (None, Some(_)) => {
            bail!("--tickets-listen with --backend tekton needs --guard-image: there would be no guard to ask")
        }
        (Some(image), Some(tickets)) => (image, tickets.clone()),
    };
    for address in &tickets.addresses {
        ensure!(!address.is_loopback(), "--tickets-advertise {address} is no address that a pod can reach");
    }
    let addresses = tickets.addresses.iter().map(ToString::to_string).collect();
    let pins = Pins::new(move || {
        let pins = tickets.pins().map_err(std::io::Error::other)?;
        Ok(pins.iter().map(ToString::to_string).collect())
    });
    pins.now().context("--tickets-cert")?;
    Ok(Some(Guard { image, addresses, pins }))
}

/// A policy knows addresses, and no names.
fn facing(addresses: &[String]) -> anyhow::Result<Vec<PodFacing>> {
    let place = |address: &String| match address.parse::<SocketAddr>() {
        Ok(_) => address.parse().map_err(anyhow::Error::msg),
        Err(_) => bail!(
            "--pod-facing is missing: --tickets-advertise {address} is no IP address and port, and a namespace's policy \
             must let its pods reach executors; say their NAMESPACE:PORT or ADDRESS:PORT"
        ),
    };
    addresses.iter().map(place).collect()
}

#[cfg(test)]
#[path = "tekton_tests.rs"]
mod tests;
