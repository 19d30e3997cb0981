//! A database, an object store and a bus, with a clock moved by hand; the reapers on them, and what their users do meanwhile.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use taskplane_bus::InProcessBus;
use taskplane_domain::app::{App, Command, Push, Source};
use taskplane_domain::env::Env;
use taskplane_domain::label::Labels;
use taskplane_domain::name::{Name, SpaceName};
use taskplane_domain::quantity::Resources;
use taskplane_domain::space::{Quota, Retention, Space, SpaceSettings};
use taskplane_domain::task::{Deadlines, Override, RetryPolicy, RunTask, Task};
use taskplane_domain::uid::{AppUid, SpaceUid, TaskUid};
use taskplane_logs::Objects;
use taskplane_platform::{Feed, Platform, relay};
use taskplane_reaper::ReaperArgs;
use taskplane_runtime::{Clock, Lifecycle};
use taskplane_store::{DatabaseClock, Keyring, Store, StoreOptions, TaskQuery};
use taskplane_testkit::postgres::Postgres;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub struct Scene {
    pub store: Store,
    pub objects: Objects,
    url: String,
    clock: Arc<AtomicI64>,
    bus: Arc<InProcessBus>,
    dir: TempDir,
}

/// A whole reaper, with a relay of its own. Ends when it is told to.
pub struct Reaper {
    lifecycle: Lifecycle,
    feed: Feed,
    life: JoinHandle<anyhow::Result<()>>,
}

impl Reaper {
    /// As a process that is asked to stop.
    pub async fn stop(self) {
        self.lifecycle.soft().cancel();
        self.life.await.unwrap().unwrap();
        self.lifecycle.ended().await;
    }

    /// Whoever changed something in this process says so.
    pub fn ring(&self) {
        self.feed.ring();
    }
}

impl Scene {
    pub async fn on_postgres() -> Self {
        let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
        Self::on(url, tempfile::tempdir().unwrap()).await
    }

    pub async fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::on(format!("sqlite:{}", dir.path().join("taskplane.db").display()), dir).await
    }

    async fn on(url: String, dir: TempDir) -> Self {
        let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let clock = Arc::new(AtomicI64::new(start.as_microsecond()));
        let store = Store::connect(&url, options(&clock)).await.unwrap();
        store.migrate().await.unwrap();
        let objects = Objects::open(&format!("file://{}", dir.path().join("objects").display())).unwrap();
        let bus = Arc::new(InProcessBus::new(NonZeroUsize::new(4096).unwrap()));
        Self { store, objects, url, clock, bus, dir }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.load(Ordering::SeqCst)).unwrap()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// What lies in the object store under `sources/`.
    pub fn archives(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join("objects/sources")) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// On PostgreSQL with connections of its own, as another process has them.
    pub async fn reaper(&self) -> Reaper {
        let store = match self.url.starts_with("sqlite") {
            true => self.store.clone(),
            false => Store::connect(&self.url, options(&self.clock)).await.unwrap(),
        };
        let lifecycle = Lifecycle::new();
        let feed = Feed::new(self.bus.clone());
        let platform = Platform { clock: Clock::system(), store, feed: feed.clone(), lifecycle: lifecycle.clone() };
        lifecycle.spawn("relay", relay(platform.clone()));
        let args = ReaperArgs { event_keep_days: 7, deadlines: Deadlines::default() };
        let life = tokio::spawn(taskplane_reaper::run(platform, self.objects.clone(), args));
        Reaper { lifecycle, feed, life }
    }

    pub async fn a_space(&self, name: &str, retention: Retention) -> Space {
        let quota = Quota { live: 1_000_000, running: None, waiting: 1_000_000 };
        let settings = SpaceSettings { retention, quota, ..SpaceSettings::default() };
        let change = Space::create(SpaceUid(Uuid::now_v7()), SpaceName(self.name(name)), settings, self.now());
        self.store.space_create(&change).await.unwrap();
        change.space
    }

    pub fn a_push(&self, space: &Space, app: &str, source: Source) -> Push {
        Push {
            name: format!("{}/apps/{app}", space.name).parse().unwrap(),
            source: Some(source),
            command: Some(Command::parse("command", "true".into()).unwrap()),
            env: Env::default(),
            replace_env: false,
            unset_env: Vec::new(),
            resources: Resources::default(),
            services: Vec::new(),
            task_retention_count: None,
            placement: None,
        }
    }

    pub async fn an_app(&self, space: &Space, app: &str) -> App {
        self.an_app_of(space, app, Source::Image("registry.example/app:1".into())).await
    }

    pub async fn an_app_of(&self, space: &Space, app: &str, source: Source) -> App {
        let push = self.a_push(space, app, source);
        let change = App::create(AppUid(Uuid::now_v7()), space.uid, push, self.now()).unwrap();
        self.store.app_create(&change).await.unwrap();
        change.app
    }

    pub async fn a_task(&self, space: &Space, app: &App) -> Task {
        let asked = RunTask {
            app: app.name.clone(),
            display_name: None,
            overrides: Override { command: None, env: Env::default(), resources: Resources::default() },
            timeout: None,
            retry: RetryPolicy::default(),
            labels: Labels::default(),
            request_id: None,
        };
        let uid = TaskUid(Uuid::now_v7());
        let birth = Task::create(uid, space, app, asked, self.name("local"), None, self.now()).unwrap();
        self.store.task_accept(birth, None).await.unwrap().task
    }

    /// Over, without ever having had an executor.
    pub async fn ended(&self, task: &Task) -> Task {
        let step = task.clone().cancel(self.now()).unwrap();
        self.store.task_commit(&step).await.unwrap();
        step.into_task()
    }

    /// All that have their rows, the oldest first.
    pub async fn tasks(&self, app: &App) -> Vec<Task> {
        let query = TaskQuery {
            space: app.name.space.clone(),
            app: Some(app.name.app.clone()),
            states: Vec::new(),
            job: None,
            newest_first: false,
            after: None,
            limit: 100_000,
        };
        self.store.task_list(&query).await.unwrap()
    }

    pub fn name(&self, text: &str) -> Name {
        text.parse().unwrap()
    }
}

fn options(clock: &Arc<AtomicI64>) -> StoreOptions {
    let clock = DatabaseClock::Manual(Arc::clone(clock));
    StoreOptions { clock, ..StoreOptions::new(Keyring::new(&[[7; 32]])) }
}

/// Waits until it is so, or fails.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(120), waiting).await.is_ok(), "never came: {what}");
}
