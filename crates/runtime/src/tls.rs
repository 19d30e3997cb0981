//! TLS from files: read again when they change, so that a certificate is renewed without a restart. Connections that hold are
//! left alone.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use sha2::{Digest as _, Sha256};
use webpki::EndEntityCert;

/// What a process of ours is to another. Its certificate carries the name; which host it runs on does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Api,
    Executor,
}

impl Role {
    /// A DNS name among the certificate's subject alternative names. Nothing is ever looked up under it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api.taskplane",
            Self::Executor => "executor.taskplane",
        }
    }

    pub(crate) fn server_name(self) -> ServerName<'static> {
        let Ok(name) = ServerName::try_from(self.name()) else { unreachable!("{} is a DNS name", self.name()) };
        name
    }

    /// Whether the certificate says so. That it is to be believed is another question, answered by the handshake.
    pub(crate) fn is_of(self, certificate: &CertificateDer<'_>) -> bool {
        ParsedCertificate::try_from(certificate)
            .is_ok_and(|parsed| verify_server_name(&parsed, &self.server_name()).is_ok())
    }
}

/// The executors that a certificate is made out to, by DNS names like `NAME.executor.taskplane` beside the role's; none: to any.
pub(crate) fn executors(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(parsed) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let names = parsed.valid_dns_names().filter_map(|name| name.strip_suffix(Role::Executor.name())?.strip_suffix('.'));
    names.map(str::to_owned).collect()
}

/// A certificate, with the chain behind it, and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// How connections are taken in.
#[derive(Clone)]
pub struct ServerTls(Arc<Kept<ServerConfig>>);

/// How connections are made.
#[derive(Clone)]
pub struct ClientTls(Arc<Kept<ClientConfig>>);

/// Who vouches for others, and what we are ourselves: for connections on which both ends say who they are.
#[derive(Debug, Clone)]
pub struct Mutual {
    pub ca: PathBuf,
    pub identity: Identity,
}

impl ServerTls {
    /// Anybody may connect.
    pub fn public(identity: Identity) -> anyhow::Result<Self> {
        let kept = Kept::new(identity.files(), move || {
            let (chain, key) = identity.read()?;
            let builder = ServerConfig::builder_with_provider(ring()).with_safe_default_protocol_versions()?;
            Ok(speaking_h2(builder.with_no_client_auth().with_single_cert(chain, key)?))
        })?;
        Ok(Self(Arc::new(kept)))
    }

    /// Only who has a certificate of our own authority gets through the handshake.
    pub fn mutual(mutual: Mutual) -> anyhow::Result<Self> {
        let kept = Kept::new(mutual.files(), move || {
            let (chain, key) = mutual.identity.read()?;
            let asked = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&mutual.ca)?), ring()).build()?;
            let builder = ServerConfig::builder_with_provider(ring()).with_safe_default_protocol_versions()?;
            Ok(speaking_h2(builder.with_client_cert_verifier(asked).with_single_cert(chain, key)?))
        })?;
        Ok(Self(Arc::new(kept)))
    }

    pub(crate) fn present(&self) -> Arc<ServerConfig> {
        self.0.present()
    }
}

impl ClientTls {
    pub fn mutual(mutual: Mutual) -> anyhow::Result<Self> {
        let kept = Kept::new(mutual.files(), move || {
            let (chain, key) = mutual.identity.read()?;
            let builder = ClientConfig::builder_with_provider(ring()).with_safe_default_protocol_versions()?;
            let mut config = builder.with_root_certificates(roots(&mutual.ca)?).with_client_auth_cert(chain, key)?;
            config.alpn_protocols = vec![H2.to_vec()];
            Ok(config)
        })?;
        Ok(Self(Arc::new(kept)))
    }

    pub(crate) fn present(&self) -> Arc<ClientConfig> {
        self.0.present()
    }
}

impl Mutual {
    /// Others would turn us away for what our certificate does not say.
    pub fn carries(&self, role: Role) -> anyhow::Result<()> {
        let (chain, _) = self.identity.read()?;
        ensure!(
            chain.first().is_some_and(|own| role.is_of(own)),
            "{} does not carry the name {} (a DNS name among its subject alternative names)",
            self.identity.certificate.display(),
            role.name()
        );
        Ok(())
    }

    /// The same for an executor that is called so.
    pub fn allows(&self, executor: &str) -> anyhow::Result<()> {
        let (chain, _) = self.identity.read()?;
        let names = chain.first().map(executors).unwrap_or_default();
        ensure!(
            names.is_empty() || names.iter().any(|name| name == executor),
            "{} is made out to executors of other names: {}",
            self.identity.certificate.display(),
            names.join(", ")
        );
        Ok(())
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = self.identity.files();
        files.push(self.ca.clone());
        files
    }
}

impl Identity {
    /// SHA-256 of the certificate itself, in hexadecimal.
    pub fn fingerprint(&self) -> anyhow::Result<String> {
        let chain = certificates(&self.certificate)?;
        let digest = chain.first().map(Sha256::digest).unwrap_or_default();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.certificate.clone(), self.key.clone()]
    }

    fn read(&self) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = certificates(&self.certificate)?;
        let key = fs::read(&self.key).with_context(|| format!("{} cannot be read", self.key.display()))?;
        // What the parser has to say is about the key's bytes: not repeated.
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| anyhow::anyhow!("{} holds no private key in PEM", self.key.display()))?;
        Ok((chain, key))
    }
}

const H2: &[u8] = b"h2";

fn speaking_h2(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![H2.to_vec()];
    config
}

fn ring() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).with_context(|| format!("{}", file.display()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.with_context(|| format!("{} is no PEM", file.display()))?;
    ensure!(!all.is_empty(), "{} holds no certificate in PEM", file.display());
    Ok(all)
}

type Build<T> = Box<dyn Fn() -> anyhow::Result<T> + Send + Sync>;

/// What is made from files, made again when they change. While they make no sense, as between the writing of a certificate and
/// of its key, what was made before holds.
struct Kept<T> {
    files: Vec<PathBuf>,
    build: Build<T>,
    present: Mutex<(Vec<Stamp>, Arc<T>)>,
}

/// What changes with a file's content: its identity, its time, its length. None: it is not there.
type Stamp = Option<(u64, i64, i64, u64)>;

impl<T> Kept<T> {
    fn new(files: Vec<PathBuf>, build: impl Fn() -> anyhow::Result<T> + Send + Sync + 'static) -> anyhow::Result<Self> {
        // Looked at before they are read: a change in between is seen at the next look.
        let stamps = stamps(&files);
        let first = Arc::new(build()?);
        Ok(Self { files, build: Box::new(build), present: Mutex::new((stamps, first)) })
    }

    fn present(&self) -> Arc<T> {
        let stamps = stamps(&self.files);
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.0 != stamps {
            match (self.build)() {
                Ok(new) => {
                    tracing::info!(files = ?self.files, "certificates were read again");
                    present.1 = Arc::new(new);
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "changed certificates cannot be used, the earlier ones hold"
                    );
                }
            }
            present.0 = stamps;
        }
        Arc::clone(&present.1)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let known = fs::metadata(file).ok()?;
        Some((known.ino(), known.mtime(), known.mtime_nsec(), known.len()))
    };
    files.iter().map(stamp).collect()
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerTls({:?})", self.0.files)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientTls({:?})", self.0.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_from_files_follows_them_and_outlives_nonsense() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("number");
        let write = |text: &str| {
            let aside = dir.path().join("aside");
            fs::write(&aside, text).unwrap();
            fs::rename(&aside, &file).unwrap();
        };
        write("1");
        let read = file.clone();
        let kept = Kept::new(vec![file.clone()], move || Ok(fs::read_to_string(&read)?.parse::<u32>()?)).unwrap();
        assert_eq!(*kept.present(), 1);
        write("22");
        assert_eq!(*kept.present(), 22);
        write("not a number");
        assert_eq!(*kept.present(), 22);
        fs::remove_file(&file).unwrap();
        assert_eq!(*kept.present(), 22);
        write("333");
        assert_eq!(*kept.present(), 333);
    }
}
