//! How the processes of one control plane speak to each other.

use std::net::SocketAddr;

use anyhow::ensure;
use tonic::transport::Channel;

use crate::dial::{self, Address};
use crate::net::{self, Incoming};

/// Settings of the connections among our own processes.
#[derive(Debug, Clone, clap::Args)]
pub struct InternalArgs {
    /// Let our own processes speak to each other in the clear, and to anybody, also beyond this host
    #[arg(long, env = "TASKPLANE_INSECURE_INTERNAL")]
    pub insecure_internal: bool,
}

/// What may be listened on and dialled.
#[derive(Debug, Clone)]
pub struct Internal {
    anywhere: bool,
}

impl InternalArgs {
    pub fn check(&self) -> anyhow::Result<Internal> {
        Ok(Internal { anywhere: self.insecure_internal })
    }
}

impl Internal {
    /// `flag` is named when it must not be.
    pub fn may_listen(&self, at: SocketAddr, flag: &str) -> anyhow::Result<()> {
        ensure!(
            self.anywhere || at.ip().is_loopback(),
            "{flag} {at} is reached by other machines, and nobody is asked who they are: listen on 127.0.0.1, or add --insecure-internal"
        );
        Ok(())
    }

    /// `flag` is named when it must not be.
    pub fn may_dial(&self, to: &Address, flag: &str) -> anyhow::Result<()> {
        ensure!(
            self.anywhere || to.is_loopback(),
            "{flag} {to} is another machine, and nobody there is asked who they are: add --insecure-internal"
        );
        Ok(())
    }

    pub async fn listen(&self, at: SocketAddr, flag: &str) -> anyhow::Result<(SocketAddr, Incoming)> {
        let listener = net::bind(at, flag).await?;
        Ok((listener.local_addr()?, net::plain(listener)))
    }

    /// A channel to whichever of these replicas answers. None: there is one among them that must not be dialled.
    pub fn dial(&self, replicas: Vec<Address>) -> Option<Channel> {
        let allowed = replicas.iter().all(|replica| self.anywhere || replica.is_loopback());
        allowed.then(|| dial::channel(replicas))
    }
}
