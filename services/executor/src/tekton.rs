//! The Tekton backend as an executor composes it: Tasks as PipelineRuns of a cluster.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use taskplane_backend::tekton::client::Access;
use taskplane_backend::tekton::{Account, PodFacing, PodSecurity, TektonBackend, TektonConfig};

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
    /// Where pods reach this executor: its address and port, or its namespace and port
    #[arg(long, env = "TASKPLANE_POD_FACING", value_name = "WHERE:PORT")]
    pub pod_facing: Option<PodFacing>,
}

impl TektonArgs {
    pub async fn open(self) -> anyhow::Result<TektonBackend> {
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
            pod_facing,
        } = self;
        let config = TektonConfig {
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
            ..TektonConfig::default()
        };
        TektonBackend::start(config).await.context("--kubeconfig, or the lack of one, leads to no cluster")
    }
}
