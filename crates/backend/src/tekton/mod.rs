//! Runs as PipelineRuns of a Kubernetes cluster that has Tekton.
//!
//! ```text
//!            ┌─ spaces ── namespaces and what is in them for a Space
//!  orders ───┼─ render ── RunSpec ▶ PipelineRun, Secrets, NetworkPolicy (pure)
//!            └─ lifecycle ── ensure, release, cancel, remove ──▶ client ──▶ apiserver
//!
//!  facts  ◀── observe (pure) ◀── watch ◀─────────────────────────────────── apiserver
//!  output ◀── logs ◀─────────────────────────────────────────────────────── kubelet
//! ```
//!
//! Nothing is kept here that the cluster does not know: a replica that starts reads it all again. Every order can be given
//! twice, by two replicas at once, and to a replica that has never heard of the run.

pub mod client;
mod config;
pub mod lifecycle;
pub mod logs;
pub mod names;
mod observe;
mod render;
mod spaces;
mod stream;
pub mod types;
pub mod watch;

pub use config::{Account, Guard, PodSecurity, TektonConfig};
pub use taskplane_manifest::PodFacing;
