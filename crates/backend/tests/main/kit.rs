//! A local backend in a directory of its own, with one small App.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use taskplane_backend::local::{FetchSource, LocalBackend, LocalConfig};
use taskplane_domain::app::{Command, Source, SourceArchive};
use taskplane_domain::env::Env;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::{InCluster, RunKey, RunSpec};
use taskplane_domain::uid::{AppUid, SpaceUid, TaskUid};
use tempfile::TempDir;
use uuid::Uuid;

use crate::conformance::PATIENCE;

pub const GRACE: Duration = Duration::from_millis(200);

pub struct Kit {
    backend: Option<LocalBackend>,
    path: PathBuf,
    next: AtomicU64,
    _dir: Option<TempDir>,
}

impl Kit {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        Self { _dir: Some(dir), ..Self::at(&path) }
    }

    /// Over a directory that somebody else looks after.
    pub fn at(path: &Path) -> Self {
        let backend = LocalBackend::open(config(path)).unwrap();
        Self { backend: Some(backend), path: path.to_owned(), next: AtomicU64::new(1), _dir: None }
    }

    pub fn backend(&self) -> &LocalBackend {
        self.backend.as_ref().unwrap()
    }

    /// As if the process had ended: the pipes close.
    pub fn drop_backend(&mut self) {
        self.backend = None;
    }

    /// A directory that is not the backend's.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn run_dir(&self, key: &RunKey) -> PathBuf {
        self.path.join("root/runs").join(key.to_string())
    }

    pub fn spec(&self, command: &str) -> RunSpec {
        spec(self.next.fetch_add(1, Ordering::Relaxed), command)
    }

    /// A run that appends a line here each time it does `echo >> $LEDGER`.
    pub fn ledger(&self) -> (PathBuf, Env) {
        let path = self.path.join("ledger");
        let env = Env::stored([("LEDGER".to_owned(), path.to_str().unwrap().to_owned())]);
        (path, env)
    }

    pub fn shim_of(&self, key: &RunKey) -> i32 {
        let journal = fs::read(self.run_dir(key).join("journal")).unwrap();
        let journal: serde_json::Value = serde_json::from_slice(&journal).unwrap();
        i32::try_from(journal["shim"].as_i64().unwrap()).unwrap()
    }

    /// All living processes of this backend's runs, shims included.
    pub fn alive(&self) -> Vec<i32> {
        let id = fs::read_to_string(self.path.join("root/id")).unwrap();
        marked(&format!("@{id}"))
    }

    pub async fn until_none_alive(&self) {
        let gone = async {
            while !self.alive().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("nothing is left of the runs");
    }
}

/// Living processes whose environment holds `text`.
pub fn marked(text: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(text.len()).any(|window| window == text.as_bytes())
    })
    .collect()
}

pub fn spec(number: u64, command: &str) -> RunSpec {
    RunSpec {
        key: RunKey { task: TaskUid(Uuid::from_u128(number.into())), attempt: 1 },
        name: format!("spaces/blue/apps/billing/tasks/{number}").parse().unwrap(),
        space_uid: SpaceUid(Uuid::from_u128(1)),
        app_uid: AppUid(Uuid::from_u128(2)),
        app_revision: 3,
        display_name: "test".into(),
        source: Source::Archive(described(&archive())),
        command: Command::stored(command.to_owned()),
        inherited_env: Env::default(),
        services: Vec::new(),
        task_env: Env::default(),
        resources: Resources::default(),
        security_groups: Vec::new(),
        timeout: None,
        log_cap: None,
        start_token: None,
        trace: None,
        cluster: InCluster::default(),
    }
}

/// A tar with `data/rows.csv` in it.
pub fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let content = b"a,1\nb,2\n";
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "data/rows.csv", &content[..]).unwrap();
    tar.into_inner().unwrap()
}

pub fn described(archive: &[u8]) -> SourceArchive {
    SourceArchive {
        sha256: hex::encode(Sha256::digest(archive)),
        size_bytes: archive.len() as u64,
        entry_count: 1,
        upload: None,
    }
}

pub fn config(path: &Path) -> LocalConfig {
    let store = path.to_owned();
    fs::write(store.join(described(&archive()).sha256), archive()).unwrap();
    let fetch: FetchSource = Arc::new(move |wanted: SourceArchive| {
        let file = File::open(store.join(&wanted.sha256));
        Box::pin(async move { file.map_err(|error| io::Error::new(error.kind(), "no such archive")) })
    });
    LocalConfig {
        root: path.join("root"),
        shim: env!("CARGO_BIN_EXE_taskplane-shim").into(),
        grace: GRACE,
        path: Some("/usr/local/bin:/usr/bin:/bin".into()),
        lang: Some("C.UTF-8".into()),
        tmpdir: None,
        fetch,
    }
}
