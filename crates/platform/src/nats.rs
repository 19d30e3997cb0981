//! Settings of the bus that processes share.

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use taskplane_bus::{NatsOptions, NatsTls, NatsTrouble};

/// How NATS is reached, and what the stream there is like.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsArgs {
    /// NATS servers of one cluster, nats://HOST:PORT or tls://HOST:PORT, separated by commas
    #[arg(long, env = "TASKPLANE_NATS_URL", value_name = "URL", value_delimiter = ',', hide_env_values = true)]
    pub nats_url: Vec<String>,
    /// Credentials for NATS: a file with a JWT and a seed
    #[arg(long, env = "TASKPLANE_NATS_CREDS", value_name = "FILE")]
    pub nats_creds: Option<PathBuf>,
    /// Who vouches for the NATS servers, certificates in PEM; the system's when unset. Implies TLS
    #[arg(long, env = "TASKPLANE_NATS_CA", value_name = "FILE")]
    pub nats_ca: Option<PathBuf>,
    /// Certificate of this process for NATS, in PEM. Implies TLS
    #[arg(long, env = "TASKPLANE_NATS_CERT", value_name = "FILE", requires = "nats_key")]
    pub nats_cert: Option<PathBuf>,
    /// Key of that certificate, in PEM
    #[arg(long, env = "TASKPLANE_NATS_KEY", value_name = "FILE", requires = "nats_cert")]
    pub nats_key: Option<PathBuf>,
    /// Connect to NATS with TLS or not at all
    #[arg(long, env = "TASKPLANE_NATS_TLS")]
    pub nats_tls: bool,
    /// Name of the JetStream stream that keeps events
    #[arg(long, env = "TASKPLANE_NATS_STREAM", default_value = NatsOptions::STREAM, value_name = "NAME")]
    pub nats_stream: String,
    /// First token of all subjects; with another stream name it lets two installations share an account
    #[arg(long, env = "TASKPLANE_NATS_PREFIX", default_value = NatsOptions::PREFIX, value_name = "TOKEN")]
    pub nats_prefix: String,
    /// Copies of the stream in a cluster of NATS servers, 1 to 5
    #[arg(long, env = "TASKPLANE_NATS_REPLICAS", default_value = "1", value_name = "N")]
    pub nats_replicas: NonZeroU8,
    /// Days that the stream keeps an event, 0 for ever; the database serves what is older
    #[arg(long, env = "TASKPLANE_NATS_KEEP_DAYS", default_value = "7", value_name = "DAYS")]
    pub nats_keep_days: u32,
}

impl NatsArgs {
    /// What these say; none when no server is named.
    pub fn options(&self) -> anyhow::Result<Option<NatsOptions>> {
        let Self {
            nats_url,
            nats_creds,
            nats_ca,
            nats_cert,
            nats_key,
            nats_tls,
            nats_stream,
            nats_prefix,
            nats_replicas,
            nats_keep_days,
        } = self;
        if nats_url.is_empty() {
            return Ok(None);
        }
        let options = NatsOptions {
            credentials: nats_creds.clone(),
            tls: NatsTls {
                required: *nats_tls || nats_ca.is_some() || nats_cert.is_some(),
                ca: nats_ca.clone(),
                identity: nats_cert.clone().zip(nats_key.clone()),
            },
            prefix: nats_prefix.clone(),
            stream: nats_stream.clone(),
            replicas: *nats_replicas,
            max_age: Duration::from_secs(u64::from(*nats_keep_days) * 24 * 3600),
            ..NatsOptions::new(nats_url.clone(), "taskplane")
        };
        if let Err(NatsTrouble::Setting { setting, wrong }) = options.check() {
            anyhow::bail!("--nats-{setting}: {wrong}");
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        nats: NatsArgs,
    }

    fn told(flags: &[&str]) -> String {
        let line = Line::try_parse_from([&["x", "--nats-url=nats://127.0.0.1:4222"], flags].concat());
        match line.map(|line| line.nats.options()) {
            Ok(Ok(_)) => String::new(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_wrong_setting_is_told_by_its_flag() {
        assert_eq!(told(&[]), "");
        for (flag, named) in [
            ("--nats-url=nats://user:secret@x:y", "--nats-url: must be like"),
            ("--nats-creds=/nowhere/x.creds", "--nats-creds: /nowhere/x.creds cannot be read"),
            ("--nats-ca=/nowhere/ca.pem", "--nats-ca: /nowhere/ca.pem cannot be read"),
            ("--nats-cert=/nowhere/x.pem", "--nats-key"),
            ("--nats-key=/nowhere/x.pem", "--nats-cert"),
            ("--nats-stream=a.b", "--nats-stream: must be made of"),
            ("--nats-prefix=$JS", "--nats-prefix: must be made of"),
            ("--nats-replicas=6", "--nats-replicas: must be 1 to 5"),
            ("--nats-replicas=0", "--nats-replicas"),
            ("--nats-keep-days=-1", "--nats-keep-days"),
        ] {
            let told = told(&[flag]);
            assert!(told.contains(named), "{flag}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn certificates_imply_tls() {
        let line = Line::try_parse_from(["x", "--nats-url=nats://h:1,nats://i:1", "--nats-ca=/dev/null"]).unwrap();
        let options = line.nats.options().unwrap().unwrap();
        assert_eq!(options.servers, ["nats://h:1", "nats://i:1"]);
        assert!(options.tls.required);
        assert_eq!(options.max_age, Duration::from_secs(7 * 24 * 3600));
    }
}
