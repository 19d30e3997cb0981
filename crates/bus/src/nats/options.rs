//! What a connection to NATS and the stream there are made from.

use std::num::{NonZeroU8, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that may be chosen about the bus on NATS.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// `nats://HOST:PORT` or `tls://HOST:PORT`; all of one cluster. One of them is enough at any time.
    pub servers: Vec<String>,
    /// How this process is called in the server's list of connections.
    pub name: String,
    /// A file with a JWT and a seed.
    pub credentials: Option<PathBuf>,
    pub tls: NatsTls,
    /// First token of all subjects.
    pub prefix: String,
    pub stream: String,
    pub replicas: NonZeroU8,
    /// How long the stream keeps an event; zero: for ever.
    pub max_age: Duration,
    /// Rings that a slow listener of this process may be behind.
    pub backlog: NonZeroUsize,
}

#[derive(Debug, Clone, Default)]
pub struct NatsTls {
    /// No connection without TLS, whatever the server offers.
    pub required: bool,
    /// Who vouches for the server; the system's when unset.
    pub ca: Option<PathBuf>,
    /// Certificate and key of this client.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl NatsOptions {
    pub const STREAM: &'static str = "TASKPLANE_EVENTS";
    pub const PREFIX: &'static str = "taskplane";
    /// As long as the database keeps the events of what is gone.
    pub const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
    const BACKLOG: NonZeroUsize = NonZeroUsize::MIN.saturating_add(8191);

    pub fn new(servers: Vec<String>, name: impl Into<String>) -> Self {
        Self {
            servers,
            name: name.into(),
            credentials: None,
            tls: NatsTls::default(),
            prefix: Self::PREFIX.to_owned(),
            stream: Self::STREAM.to_owned(),
            replicas: NonZeroU8::MIN,
            max_age: Self::MAX_AGE,
            backlog: Self::BACKLOG,
        }
    }

    /// Says what is wrong with it before anything is connected.
    pub fn check(&self) -> Result<(), NatsTrouble> {
        let wrong = |setting, wrong: &str| Err(NatsTrouble::Setting { setting, wrong: wrong.to_owned() });
        if self.servers.is_empty() {
            return wrong("url", "name at least one server");
        }
        for server in &self.servers {
            // It may hold a password, so it is not repeated.
            if server.parse::<async_nats::ServerAddr>().is_err() {
                return wrong("url", "must be like nats://HOST:PORT or tls://HOST:PORT");
            }
        }
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        if !word(&self.prefix) {
            return wrong("prefix", "must be made of letters, digits, - and _");
        }
        if !word(&self.stream) {
            return wrong("stream", "must be made of letters, digits, - and _");
        }
        if self.replicas.get() > 5 {
            return wrong("replicas", "must be 1 to 5");
        }
        let identity = self.tls.identity.as_ref();
        let files = [
            ("creds", self.credentials.as_ref()),
            ("ca", self.tls.ca.as_ref()),
            ("cert", identity.map(|(certificate, _)| certificate)),
            ("key", identity.map(|(_, key)| key)),
        ];
        for (setting, file) in files {
            if let Some(file) = file
                && let Err(error) = std::fs::File::open(file)
            {
                return wrong(setting, &format!("{} cannot be read: {error}", file.display()));
            }
        }
        Ok(())
    }
}

/// A setting that cannot work, by the last word of its flag.
#[derive(Debug, thiserror::Error)]
pub enum NatsTrouble {
    #[error("{setting}: {wrong}")]
    Setting { setting: &'static str, wrong: String },
}
