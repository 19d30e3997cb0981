//! What is said of a cluster when its executor starts.

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use taskplane_manifest::{PodFacing, Terms};

use super::client::Access;

#[derive(Debug, Clone)]
pub struct TektonConfig {
    pub access: Access,
    /// Makes the namespaces of Spaces and what belongs there. False: an operator does, from `taskplane space-manifest`.
    pub manage_namespaces: bool,
    /// Before the name of a Space that names no namespace itself.
    pub namespace_prefix: String,
    /// Who is given the rights in a Space's namespace that is made.
    pub account: Option<Account>,
    pub pod_security: PodSecurity,
    /// Names of Secrets with credentials of registries, in each Space's namespace.
    pub pull_secrets: Vec<String>,
    /// Whom the commands run as. Images that say so themselves are not asked.
    pub run_as_user: i64,
    /// Pods of one Space at one time.
    pub pods_per_space: u32,
    /// Added to a Task's own timeout before Tekton ends its pod.
    pub pull_budget: Duration,
    /// How long a run may wait for its pod, and for its start ticket.
    pub start_deadline: Duration,
    /// How long runs and pods stay once they are over and archived; as long as their Tasks' rows where nothing is said.
    pub finished: Option<Duration>,
    /// Where pods reach executors.
    pub pod_facing: Vec<PodFacing>,
    /// None: no Task is asked whether it may start.
    pub guard: Option<Guard>,
}

impl TektonConfig {
    /// What it says of all Spaces.
    pub fn terms(&self) -> Terms {
        Terms {
            pod_security: self.pod_security.as_str().to_owned(),
            pods: self.pods_per_space,
            account: self.account.as_ref().map(|Account { namespace, name }| (namespace.clone(), name.clone())),
            pod_facing: self.pod_facing.clone(),
        }
    }
}

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub namespace: String,
    pub name: String,
}

/// Level of the Pod Security Standards that a Space's namespace enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodSecurity {
    Privileged,
    Baseline,
    /// Needs Tekton's `set-security-context`.
    Restricted,
}

/// The step before the command.
#[derive(Debug, Clone)]
pub struct Guard {
    pub image: String,
    /// Where pods reach executors of this cluster: `host:port`.
    pub addresses: Vec<String>,
    pub pins: Pins,
}

/// SHA-256 of the certificates that may answer there, as they are now: certificates are renewed while an executor runs.
#[derive(Clone)]
pub struct Pins(Arc<dyn Fn() -> io::Result<Vec<String>> + Send + Sync>);

impl Pins {
    pub fn new(now: impl Fn() -> io::Result<Vec<String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> io::Result<Vec<String>> {
        self.0()
    }
}

impl std::fmt::Debug for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pins(…)")
    }
}

impl PodSecurity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

impl std::str::FromStr for PodSecurity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Privileged, Self::Baseline, Self::Restricted]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or("must be privileged, baseline or restricted")
    }
}

impl std::str::FromStr for Account {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("must be NAMESPACE/NAME of a ServiceAccount"),
        }
    }
}

impl Default for TektonConfig {
    fn default() -> Self {
        Self {
            access: Access { kubeconfig: None::<PathBuf>, calls_per_second: NonZeroU32::MIN.saturating_add(99) },
            manage_namespaces: true,
            namespace_prefix: "space-".to_owned(),
            account: None,
            pod_security: PodSecurity::Baseline,
            pull_secrets: Vec::new(),
            run_as_user: 2000,
            pods_per_space: 1000,
            pull_budget: Duration::from_secs(600),
            start_deadline: Duration::from_secs(3600),
            finished: None,
            pod_facing: Vec::new(),
            guard: None,
        }
    }
}
