//! The data directory: what is in it, and the key files that are made on the first start.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rand::Rng as _;
use taskplane_proto::keyring::{KEY, Keyring};

/// Nobody else on the machine may look into it.
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("--data-dir {} cannot be made", path.display()))?;
        let path = fs::canonicalize(path).with_context(|| format!("--data-dir {} cannot be used", path.display()))?;
        Ok(Self(path))
    }

    pub fn database_url(&self) -> String {
        format!("sqlite:{}", self.0.join("taskplane.db").display())
    }

    pub fn objects_url(&self) -> String {
        format!("file://{}", self.0.join("objects").display())
    }

    pub fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }

    /// What seals tokens.
    pub fn token_keys(&self, file: Option<&Path>) -> anyhow::Result<Keyring> {
        self.keys("token", file)
    }

    /// What seals secrets in the database.
    pub fn secret_keys(&self, file: Option<&Path>) -> anyhow::Result<Keyring> {
        self.keys("secret", file)
    }

    /// The keys of `file`, or the data directory's own, made when there are none.
    fn keys(&self, what: &str, file: Option<&Path>) -> anyhow::Result<Keyring> {
        let own = self.0.join(format!("{what}.key"));
        let path = file.unwrap_or(&own);
        if file.is_none() {
            make_key(path).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        let text =
            fs::read_to_string(path).with_context(|| format!("{what} key file {} cannot be read", path.display()))?;
        Keyring::parse(&text).with_context(|| format!("{what} key file {}", path.display()))
    }
}

/// Makes a key file unless there is one. It appears whole or not at all.
fn make_key(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let key: [u8; KEY] = rand::rng().random();
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let partial = path.with_extension("partial");
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&partial, path)
}
