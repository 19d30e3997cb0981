//! Settings of start tickets: where guards in pods ask, and what they are told to trust.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use taskplane_runtime::dial::Address;
use taskplane_runtime::tls::{Identity, ServerTls};
use taskplane_runtime::{Lifecycle, net, server};
use tonic::transport::Channel;

use crate::tickets;

/// Settings of start tickets.
#[derive(Debug, Clone, clap::Args)]
pub struct TicketsArgs {
    /// Where guards in pods ask whether a command may start; Tasks do without guards when unset
    #[arg(long, env = "TASKPLANE_TICKETS_LISTEN", value_name = "ADDRESS:PORT")]
    pub tickets_listen: Option<SocketAddr>,
    /// How pods dial executors of this cluster for that; several with commas between
    #[arg(long, env = "TASKPLANE_TICKETS_ADVERTISE", value_name = "HOST:PORT", value_delimiter = ',')]
    pub tickets_advertise: Vec<Address>,
    /// What guards are shown, in PEM: they know this very certificate, whoever signed it and for whatever name
    #[arg(long, env = "TASKPLANE_TICKETS_CERT", value_name = "FILE")]
    pub tickets_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, env = "TASKPLANE_TICKETS_KEY", value_name = "FILE")]
    pub tickets_key: Option<PathBuf>,
    /// SHA-256 of further certificates that guards are to trust: of other executors of the cluster, or the one to come
    #[arg(long, env = "TASKPLANE_TICKETS_PIN", value_name = "SHA256", value_delimiter = ',')]
    pub tickets_pin: Vec<Pin>,
}

/// SHA-256 of a certificate, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the SHA-256 of a certificate: 64 hexadecimal digits")]
pub struct BadPin;

impl FromStr for Pin {
    type Err = BadPin;

    fn from_str(text: &str) -> Result<Self, BadPin> {
        let fine = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fine { Ok(Self(text.to_ascii_lowercase())) } else { Err(BadPin) }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Settings that can work.
#[derive(Debug, Clone)]
pub struct Tickets {
    listen: SocketAddr,
    tls: ServerTls,
    identity: Identity,
    pub addresses: Vec<Address>,
    further: Vec<Pin>,
}

impl TicketsArgs {
    /// None: there are no start tickets here.
    pub fn check(&self) -> anyhow::Result<Option<Tickets>> {
        let Self { tickets_listen, tickets_advertise, tickets_cert, tickets_key, tickets_pin } = self;
        let Some(listen) = *tickets_listen else {
            let none = tickets_advertise.is_empty() && tickets_pin.is_empty();
            let none = none && tickets_cert.is_none() && tickets_key.is_none();
            ensure!(none, "the other --tickets settings need --tickets-listen: there would be nobody to answer guards");
            return Ok(None);
        };
        let (Some(certificate), Some(key), false) = (tickets_cert, tickets_key, tickets_advertise.is_empty()) else {
            bail!("--tickets-listen needs --tickets-advertise, --tickets-cert and --tickets-key");
        };
        let identity = Identity { certificate: certificate.clone(), key: key.clone() };
        let tls = ServerTls::public(identity.clone()).context("--tickets-cert and --tickets-key cannot be used")?;
        let (addresses, further) = (tickets_advertise.clone(), tickets_pin.clone());
        Ok(Some(Tickets { listen, tls, identity, addresses, further }))
    }
}

impl Tickets {
    /// What the guard of a pod that is made now is to trust. The certificate may have been renewed since the start.
    pub fn pins(&self) -> anyhow::Result<Vec<Pin>> {
        let mut pins = vec![Pin(self.identity.fingerprint()?)];
        pins.extend(self.further.iter().filter(|pin| **pin != pins[0]).cloned().collect::<Vec<_>>());
        Ok(pins)
    }

    /// Answers guards until the process stops.
    pub async fn serve(&self, api: Channel, lifecycle: &Lifecycle) -> anyhow::Result<()> {
        let listener = net::bind(self.listen, "--tickets-listen").await?;
        tracing::info!(address = %listener.local_addr()?, "start tickets are served");
        let (incoming, serving) = (net::secured(listener, self.tls.clone()), lifecycle.clone());
        let routes = tickets::routes(api);
        lifecycle.spawn_vital("tickets", async move { server::serve(routes, incoming, &[], &serving).await });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_a_digest() {
        assert_eq!("5A".repeat(32).parse::<Pin>().unwrap().to_string(), "5a".repeat(32));
        for bad in [String::new(), "5a".repeat(31), "5g".repeat(32), "5a".repeat(33)] {
            assert_eq!(bad.parse::<Pin>(), Err(BadPin), "{bad}");
        }
    }
}
