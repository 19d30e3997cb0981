//! A control plane with a real database, a scripted cluster, and executors that come and go.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use clap::Parser as _;
use futures::stream;
use jiff::Timestamp;
use taskplane_api::{ApiArgs, Listeners, LogRoutes};
use taskplane_bus::InProcessBus;
use taskplane_domain::run::RunKey;
use taskplane_domain::session::{BEAT_GAP, LEASE};
use taskplane_domain::task::Task;
use taskplane_executor::{ExecutorArgs, LiveLogs};
use taskplane_logs::Objects;
use taskplane_platform::{Feed, Platform, relay};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::app_service_client::AppServiceClient;
use taskplane_proto::v1::space_service_client::SpaceServiceClient;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_runtime::{Clock, Lifecycle, inproc, net};
use taskplane_store::{DatabaseClock, Keyring, Store, StoreOptions};
use taskplane_testkit::cluster::ScriptedCluster;
use taskplane_testkit::postgres::Postgres;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

pub struct Scene {
    pub store: Store,
    pub cluster: ScriptedCluster,
    /// The api's internal port.
    pub internal: Channel,
    public: Channel,
    objects: Objects,
    clock: Arc<AtomicI64>,
    lifecycle: Lifecycle,
    _dir: TempDir,
}

/// An executor in a runtime of its own: when that is gone, so is everything it did, from one instant to the next.
pub struct Agent {
    runtime: Option<Runtime>,
    lifecycle: Lifecycle,
    ended: JoinHandle<anyhow::Result<()>>,
    /// Whoever could ask for its output: where nobody can, it ends.
    _logs: Channel,
}

#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    executor: ExecutorArgs,
}

pub async fn on_sqlite(guards: bool) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("taskplane.db").display());
    scene(url, dir, guards).await
}

pub async fn on_postgres(guards: bool) -> Scene {
    let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
    scene(url, tempfile::tempdir().unwrap(), guards).await
}

async fn scene(url: String, dir: TempDir, guards: bool) -> Scene {
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let clock = Arc::new(AtomicI64::new(start.as_microsecond()));
    let keys = Keyring::new(&[[7; 32]]);
    let options = StoreOptions { clock: DatabaseClock::Manual(Arc::clone(&clock)), ..StoreOptions::new(keys.clone()) };
    let store = Store::connect(&url, options).await.unwrap();
    store.migrate().await.unwrap();
    let objects = Objects::open(&format!("file://{}", dir.path().join("objects").display())).unwrap();
    let lifecycle = Lifecycle::new();
    let bus = Arc::new(InProcessBus::new(NonZeroUsize::new(4096).unwrap()));
    let platform =
        Platform { clock: Clock::system(), store: store.clone(), feed: Feed::new(bus), lifecycle: lifecycle.clone() };
    lifecycle.spawn("relay", relay(platform.clone()));
    let (internal, incoming) = inproc::pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let public = Channel::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap().connect_lazy();
    let listeners = Listeners { public: net::plain(listener), internal: incoming };
    let routes = LogRoutes::inside("nowhere", internal.clone());
    let api = taskplane_api::run(platform, objects.clone(), keys, routes, listeners, args("api").api);
    lifecycle.spawn_vital("api", api);
    let scene =
        Scene { store, cluster: ScriptedCluster::new(guards), internal, public, objects, clock, lifecycle, _dir: dir };
    scene.an_app().await;
    scene
}

fn args(name: &str) -> Args {
    Args::parse_from(["test", "--executor-name", name])
}

impl Scene {
    async fn an_app(&self) {
        let space = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(pb::Space::default()) };
        SpaceServiceClient::new(self.public.clone()).create_space(space).await.unwrap();
        let app = pb::PushAppSpec {
            parent: "spaces/s".into(),
            app_id: "a".into(),
            source: Some(pb::AppSource { kind: Some(pb::app_source::Kind::Image("registry.example/a:1".into())) }),
            command: Some("serve".into()),
            ..Default::default()
        };
        let push = pb::PushAppRequest { part: Some(pb::push_app_request::Part::App(app)) };
        AppServiceClient::new(self.public.clone()).push_app(stream::iter([push])).await.unwrap();
    }

    pub async fn without_start_tickets(&self) {
        let space = pb::Space { name: "spaces/s".into(), start_ticket: Some(false), ..Default::default() };
        let mask = prost_types::FieldMask { paths: vec!["start_ticket".into()] };
        let update = pb::UpdateSpaceRequest { space: Some(space), update_mask: Some(mask) };
        let space = SpaceServiceClient::new(self.public.clone()).update_space(update).await.unwrap().into_inner();
        assert_eq!(space.start_ticket, Some(false));
    }

    pub async fn run_task(&self, retry: Option<pb::RetryPolicy>) -> (String, RunKey) {
        let request =
            pb::RunTaskRequest { parent: "spaces/s/apps/a".into(), retry_policy: retry, ..Default::default() };
        let task = TaskServiceClient::new(self.public.clone()).run_task(request).await.unwrap().into_inner();
        let uid = taskplane_domain::uid::TaskUid(task.uid.parse().unwrap());
        (task.name, RunKey { task: uid, attempt: 1 })
    }

    pub async fn cancel(&self, name: &str) {
        let request = pb::CancelTaskRequest { name: name.into(), ..Default::default() };
        TaskServiceClient::new(self.public.clone()).cancel_task(request).await.unwrap();
    }

    /// The Task, once it is as `wanted`.
    pub async fn task_when(&self, key: RunKey, wanted: impl Fn(&Task) -> bool) -> Task {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            let task = self.store.task_get_by_uid(key.task).await.unwrap();
            if wanted(&task) {
                return task;
            }
            look.tick().await;
        }
    }

    /// All that is archived of the attempt's output, once there is `bytes` of it.
    pub async fn log_of(&self, name: &str, bytes: usize) -> String {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        loop {
            let request = pb::StreamLogsRequest { name: name.into(), ..Default::default() };
            let mut log = TaskServiceClient::new(self.public.clone()).stream_logs(request).await.unwrap().into_inner();
            let mut all = Vec::new();
            while let Some(answer) = log.message().await.unwrap() {
                all.extend(answer.lines.iter().flat_map(|line| [&line.content[..], b"\n"].concat()));
            }
            if all.len() >= bytes {
                return String::from_utf8(all).unwrap();
            }
            look.tick().await;
        }
    }

    /// The control plane hears nothing from anybody for a whole lease.
    pub async fn a_lease_of_silence(&self) {
        for _ in 0..=(LEASE + BEAT_GAP).as_secs() {
            self.store.control_beat().await.unwrap();
            self.clock.fetch_add(1_000_000, Ordering::SeqCst);
        }
        self.store.control_beat().await.unwrap();
    }

    /// An executor that has its session.
    pub async fn agent(&self, name: &str) -> Agent {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let lifecycle = Lifecycle::new();
        let (logs, incoming) = inproc::pair();
        let live = LiveLogs { address: String::new(), incoming };
        let platform = taskplane_executor::Platform {
            lifecycle: lifecycle.clone(),
            api: self.internal.clone(),
            objects: self.objects.clone(),
            backend: self.cluster.backend(),
        };
        let (ready, opened) = oneshot::channel();
        let ended = runtime.spawn(taskplane_executor::run(platform, live, args(name).executor, ready));
        opened.await.unwrap();
        Agent { runtime: Some(runtime), lifecycle, ended, _logs: logs }
    }

    pub async fn end(self) {
        self.lifecycle.soft().cancel();
        self.lifecycle.hard().cancel();
        self.lifecycle.ended().await;
        self.store.close().await.unwrap();
    }
}

impl Agent {
    /// As with SIGKILL.
    pub fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// As with SIGTERM; returns when it has ended.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.lifecycle.soft().cancel();
        (&mut self.ended).await.unwrap()
    }

    /// Why it ended by itself.
    pub async fn gave_up(&mut self) -> anyhow::Error {
        (&mut self.ended).await.unwrap().unwrap_err()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
