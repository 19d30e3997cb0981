//! A Space of its own for each test.

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt as _;
use taskplane_backend::tekton::client::Access;
use taskplane_backend::tekton::{TektonBackend, TektonConfig};
use taskplane_backend::{Backend, BackendError, Observation};
use taskplane_domain::app::{Command, Source};
use taskplane_domain::env::Env;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::{Fate, InCluster, NamingKey, RunEnd, RunKey, RunSpec};
use taskplane_domain::uid::{AppUid, SpaceUid, TaskUid};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::admin::leave;

pub const IMAGE: &str = "docker.io/rig/app:1";
/// Where nobody saw a pod go, its nodes must have been up for 105 s before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(300);

pub struct Kit {
    pub backend: TektonBackend,
    pub space: SpaceUid,
    name: String,
}

pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(LOOK).await;
    }
}

impl Kit {
    pub async fn new() -> Self {
        Self::with(|config| config).await
    }

    pub async fn with(change: impl FnOnce(TektonConfig) -> TektonConfig) -> Self {
        let default = TektonConfig::default();
        let kubeconfig = std::env::var_os("TASKPLANE_KUBECONFIG").map(PathBuf::from);
        let access =
            Access { kubeconfig: Some(kubeconfig.expect("run `make test-cluster`")), ..default.access.clone() };
        let account = Some("taskplane/taskplane-executor".parse().unwrap());
        let config = change(TektonConfig { access, account, ..default });
        let backend = TektonBackend::start(config).await.unwrap();
        backend.recover().await.unwrap();
        let space = SpaceUid(Uuid::now_v7());
        Self { backend, space, name: format!("t{}", &space.0.simple().to_string()[20..]) }
    }

    pub fn namespace(&self) -> String {
        format!("space-{}", self.name)
    }

    pub fn spec(&self, command: &str) -> RunSpec {
        let task = TaskUid(Uuid::now_v7());
        RunSpec {
            start_token: None,
            key: RunKey { task, attempt: 1 },
            name: format!("spaces/{}/apps/billing/tasks/7", self.name).parse().unwrap(),
            space_uid: self.space,
            app_uid: AppUid(Uuid::from_u128(4)),
            app_revision: 5,
            display_name: "nightly".into(),
            source: Source::Image(IMAGE.into()),
            command: Command::stored(command.into()),
            inherited_env: Env::default(),
            task_env: Env::default(),
            services: Vec::new(),
            resources: Resources { memory: "64Mi".parse().ok(), disk: None, cpu: "10m".parse().ok() },
            security_groups: Vec::new(),
            timeout: None,
            log_cap: None,
            trace: None,
            cluster: InCluster { naming_key: NamingKey(vec![7; 32]), ..InCluster::default() },
        }
    }

    pub async fn start(&self, spec: &RunSpec) {
        self.backend.ensure(spec).await.unwrap();
        self.backend.release(&spec.key).await.unwrap();
    }

    pub async fn running(&self, key: &RunKey) {
        until("running", async || {
            matches!(self.backend.observe(key).await.unwrap(), Observation::Running { .. }).then_some(())
        })
        .await;
    }

    pub async fn over(&self, key: &RunKey) -> Fate {
        until("over", async || match self.backend.observe(key).await {
            Ok(Observation::Over { fate, .. }) => Some(fate),
            Ok(_) | Err(BackendError::Unavailable { .. }) => None,
            Err(error) => panic!("{error}"),
        })
        .await
    }

    pub async fn end(&self, key: &RunKey) -> RunEnd {
        match self.over(key).await {
            Fate::Ended(end) => end,
            fate => panic!("{fate:?}"),
        }
    }

    pub async fn run(&self, spec: &RunSpec) -> (RunEnd, Vec<u8>) {
        self.start(spec).await;
        let end = self.end(&spec.key).await;
        (end, self.output(&spec.key).await)
    }

    pub async fn output(&self, key: &RunKey) -> Vec<u8> {
        let records = self.backend.output(key, 0, true);
        let records: Vec<_> = records.map(|record| record.unwrap()).collect().await;
        records.iter().flat_map(|record| record.content.to_vec()).collect()
    }
}

/// What a test leaves behind goes with its namespace; nobody waits for it.
impl Drop for Kit {
    fn drop(&mut self) {
        leave(&self.namespace());
    }
}
