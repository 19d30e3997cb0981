//! How the processes of one control plane speak to each other: each shows a certificate of their own authority that says what
//! it is. In the clear only where nobody else is near, or by an explicit wish.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use tonic::transport::Channel;

use crate::dial::{self, Address, Carrier};
use crate::net::{self, Incoming};
use crate::tls::{ClientTls, Identity, Mutual, Role, ServerTls};

/// Settings of the connections among our own processes.
#[derive(Debug, Clone, clap::Args)]
pub struct InternalArgs {
    /// Certificates of the authority that vouches for our own processes, in PEM
    #[arg(long, env = "TASKPLANE_INTERNAL_CA", value_name = "FILE", requires_all = ["internal_cert", "internal_key"])]
    pub internal_ca: Option<PathBuf>,
    /// What this process shows to the others: its certificate and what is between it and the authority, in PEM
    #[arg(long, env = "TASKPLANE_INTERNAL_CERT", value_name = "FILE", requires_all = ["internal_ca", "internal_key"])]
    pub internal_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, env = "TASKPLANE_INTERNAL_KEY", value_name = "FILE", requires_all = ["internal_ca", "internal_cert"])]
    pub internal_key: Option<PathBuf>,
    /// Without certificates: speak in the clear, and with anybody, also beyond this host
    #[arg(long, env = "TASKPLANE_INSECURE_INTERNAL", conflicts_with = "internal_cert")]
    pub insecure_internal: bool,
}

/// What may be listened on and dialled, and how.
#[derive(Debug, Clone)]
pub enum Internal {
    /// Among the processes of this host; or, by an explicit wish, `anywhere`.
    Clear {
        anywhere: bool,
    },
    Mutual {
        server: ServerTls,
        client: ClientTls,
    },
}

impl InternalArgs {
    /// For a process in that role.
    pub fn check(&self, own: Role) -> anyhow::Result<Internal> {
        let Some(mutual) = self.mutual() else { return Ok(Internal::Clear { anywhere: self.insecure_internal }) };
        let whose = "--internal-ca, --internal-cert and --internal-key cannot be used together";
        let server = ServerTls::mutual(mutual.clone()).context(whose)?;
        mutual.carries(own).context("--internal-cert")?;
        Ok(Internal::Mutual { server, client: ClientTls::mutual(mutual).context(whose)? })
    }

    /// For an executor of that name.
    pub fn check_executor(&self, name: &str) -> anyhow::Result<Internal> {
        let internal = self.check(Role::Executor)?;
        if let Some(mutual) = self.mutual() {
            mutual.allows(name).context("--executor-name does not go with --internal-cert")?;
        }
        Ok(internal)
    }

    fn mutual(&self) -> Option<Mutual> {
        let ((certificate, key), ca) =
            self.internal_cert.clone().zip(self.internal_key.clone()).zip(self.internal_ca.clone())?;
        Some(Mutual { ca, identity: Identity { certificate, key } })
    }
}

impl Internal {
    /// `flag` is named when it must not be.
    pub fn may_listen(&self, at: SocketAddr, flag: &str) -> anyhow::Result<()> {
        ensure!(
            self.is_safe(at.ip().is_loopback()),
            "{flag} {at} is reached by other machines, and nobody is asked who they are: listen on 127.0.0.1, name certificates with --internal-ca, --internal-cert and --internal-key, or add --insecure-internal"
        );
        Ok(())
    }

    /// `flag` is named when it must not be.
    pub fn may_dial(&self, to: &Address, flag: &str) -> anyhow::Result<()> {
        ensure!(
            self.is_safe(to.is_loopback()),
            "{flag} {to} is another machine, and nobody there is asked who they are: name certificates with --internal-ca, --internal-cert and --internal-key, or add --insecure-internal"
        );
        Ok(())
    }

    pub async fn listen(&self, at: SocketAddr, flag: &str) -> anyhow::Result<(SocketAddr, Incoming)> {
        let listener = net::bind(at, flag).await?;
        let address = listener.local_addr()?;
        let incoming = match self {
            Self::Clear { .. } => net::plain(listener),
            Self::Mutual { server, .. } => net::secured(listener, server.clone()),
        };
        Ok((address, incoming))
    }

    /// A channel to whichever of these replicas of `role` answers. None: there is one among them that must not be dialled.
    pub fn dial(&self, role: Role, replicas: Vec<Address>) -> Option<Channel> {
        let carrier = match self {
            Self::Clear { .. } => Carrier::Clear,
            Self::Mutual { client, .. } => Carrier::Mutual(client.clone(), role),
        };
        let allowed = replicas.iter().all(|replica| self.is_safe(replica.is_loopback()));
        allowed.then(|| dial::channel(replicas, carrier))
    }

    fn is_safe(&self, loopback: bool) -> bool {
        match self {
            Self::Clear { anywhere } => loopback || *anywhere,
            Self::Mutual { .. } => true,
        }
    }
}
