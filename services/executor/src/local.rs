//! The local backend as an executor composes it: Tasks as processes of this host.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use futures::FutureExt as _;
use taskplane_backend::local::{FetchSource, LocalBackend, LocalConfig};
use taskplane_logs::Objects;

/// Settings of the local backend.
#[derive(Debug, Clone, clap::Args)]
pub struct LocalArgs {
    /// The taskplane-shim program; beside this one when unset
    #[arg(long, env = "TASKPLANE_SHIM", value_name = "FILE")]
    pub shim: Option<PathBuf>,
    /// What Tasks see as PATH
    #[arg(long, env = "PATH", hide = true)]
    pub task_path: Option<OsString>,
    /// What Tasks see as LANG
    #[arg(long, env = "LANG", hide = true)]
    pub task_lang: Option<OsString>,
    /// What Tasks see as TMPDIR
    #[arg(long, env = "TMPDIR", hide = true)]
    pub task_tmpdir: Option<OsString>,
}

impl LocalArgs {
    /// Where the shim is.
    pub fn check(&self) -> anyhow::Result<PathBuf> {
        let program = std::env::current_exe()?;
        let path = self.shim.clone().unwrap_or_else(|| program.with_file_name("taskplane-shim"));
        ensure!(
            path.is_file(),
            "{} is not there: install taskplane-shim beside {}, or name it with --shim",
            path.display(),
            program.file_name().unwrap_or_default().display()
        );
        Ok(path)
    }

    /// Takes over `root`, where runs live.
    pub fn open(&self, root: PathBuf, grace: Duration, objects: &Objects) -> anyhow::Result<LocalBackend> {
        let objects = objects.clone();
        let fetch: FetchSource = Arc::new(move |archive| {
            let objects = objects.clone();
            async move { objects.source_open(&archive.object()).await.map_err(io::Error::other) }.boxed()
        });
        let config = LocalConfig {
            root,
            shim: self.check()?,
            grace,
            path: self.task_path.clone(),
            lang: self.task_lang.clone(),
            tmpdir: self.task_tmpdir.clone(),
            fetch,
        };
        Ok(LocalBackend::open(config)?)
    }
}
