//! A database of its own for each test, a clock moved by hand, and the usual things to put in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ConnectionTrait, Database};
use taskplane_domain::app::{App, AppSpec, Command, Push, Source};
use taskplane_domain::env::Env;
use taskplane_domain::event::Event;
use taskplane_domain::label::Labels;
use taskplane_domain::name::{AppName, Name, SpaceName};
use taskplane_domain::placement::Placement;
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::{EndCause, Fate, Observed, RunEnd};
use taskplane_domain::session::{LEASE, Session};
use taskplane_domain::space::{ClusterSettings, Quota, ResourceRules, Retention, Space, SpaceSettings, StartTicket};
use taskplane_domain::task::{Birth, Exit, Override, RetryPolicy, RunTask, Task, Transition};
use taskplane_domain::uid::{AppUid, RunUid, SessionUid, SpaceUid, TaskUid};
use taskplane_store::{DatabaseClock, FeedMark, FeedQuery, Keyring, NewSession, Store, StoreError, StoreOptions};
use taskplane_testkit::postgres::Postgres;
use tempfile::TempDir;
use uuid::Uuid;

pub struct Kit {
    pub store: Store,
    pub url: String,
    clock: Arc<AtomicI64>,
    uids: AtomicU64,
    _dir: Option<TempDir>,
}

pub async fn within_reason(test: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test takes too long");
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn env(vars: &[(&str, &str)]) -> Env {
    Env::stored(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

pub fn run_of(task: &Task) -> RunUid {
    RunUid(format!("run-{}-{}", task.uid, task.attempt))
}

/// What a task asks for, unless a test says otherwise.
pub fn asked(app: &App) -> RunTask {
    RunTask {
        app: app.name.clone(),
        display_name: Some("nightly".into()),
        overrides: Override { command: None, env: env(&[("T", "task")]), resources: Resources::default() },
        timeout: Some(Duration::from_secs(90)),
        retry: RetryPolicy::default(),
        labels: Labels::from([("team".into(), "blue".into())]),
        request_id: None,
    }
}

/// Every setting of a Space, none of them as it would be by itself.
pub fn settings(vars: &[(&str, &str)], count: u32) -> SpaceSettings {
    let resources =
        |memory: &str, cpu: &str| Resources { memory: memory.parse().ok(), disk: None, cpu: cpu.parse().ok() };
    SpaceSettings {
        env: env(vars),
        retention: Retention { count, minimum_finished: 3, age: Some(Duration::from_secs(86_400)), failed: Some(9) },
        log_cap: Some(1 << 40),
        delete_terminated_logs: true,
        quota: Quota { live: 4_000, running: Some(500), waiting: 8_000 },
        resources: ResourceRules {
            default: resources("64M", "100m"),
            min: resources("1M", "1m"),
            max: resources("64G", "64"),
        },
        default_timeout: Some(Duration::from_secs(3600)),
        cluster: ClusterSettings {
            namespace: Some("tasks-of-blue".to_owned()),
            placement: Placement { priority_class: Some("low".to_owned()), ..Placement::default() },
        },
        start_ticket: StartTicket::Waived,
    }
}

impl Kit {
    pub async fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("taskplane.db").display());
        Self::on(url, Some(dir)).await
    }

    pub async fn on_postgres() -> Self {
        let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
        Self::on(url, None).await
    }

    async fn on(url: String, dir: Option<TempDir>) -> Self {
        let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let clock = Arc::new(AtomicI64::new(start.as_microsecond()));
        let store = Store::connect(&url, options(&clock)).await.unwrap();
        store.migrate().await.unwrap();
        Self { store, url, clock, uids: AtomicU64::new(1), _dir: dir }
    }

    /// The same database after the process ended and began again.
    pub async fn restarted(self) -> Self {
        self.restarted_with(keys()).await
    }

    /// The same with other keys to seal with.
    pub async fn restarted_with(self, secrets: Keyring) -> Self {
        let Self { store, url, clock, uids, _dir } = self;
        store.close().await.unwrap();
        drop(store);
        let store = Store::connect(&url, StoreOptions { secrets, ..options(&clock) }).await.unwrap();
        Self { store, url, clock, uids, _dir }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.clock.load(Ordering::SeqCst)).unwrap()
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    pub fn uid(&self) -> Uuid {
        Uuid::from_u128(self.uids.fetch_add(1, Ordering::Relaxed).into())
    }

    pub async fn a_space(&self, text: &str) -> Space {
        self.a_space_with(text, settings(&[("S", "space")], 77)).await
    }

    pub async fn a_space_with(&self, text: &str, settings: SpaceSettings) -> Space {
        let change = Space::create(SpaceUid(self.uid()), SpaceName(name(text)), settings, self.now());
        self.store.space_create(&change).await.unwrap();
        change.space
    }

    pub fn a_push(&self, space: &Space, app: &str) -> Push {
        Push {
            name: AppName { space: space.name.0.clone(), app: name(app) },
            source: Some(Source::Image("registry.example/app:1".into())),
            command: Some(Command::parse("command", "echo hi".into()).unwrap()),
            env: env(&[("A", "app")]),
            replace_env: false,
            unset_env: Vec::new(),
            resources: Resources::default(),
            services: Vec::new(),
            task_retention_count: None,
            placement: None,
        }
    }

    pub async fn an_app(&self, space: &Space, app: &str) -> App {
        let change = App::create(AppUid(self.uid()), space.uid, self.a_push(space, app), self.now()).unwrap();
        self.store.app_create(&change).await.unwrap();
        change.app
    }

    pub fn a_birth(&self, space: &Space, app: &App) -> Birth {
        self.a_birth_as(TaskUid(self.uid()), space, app, asked(app))
    }

    pub fn a_birth_as(&self, uid: TaskUid, space: &Space, app: &App, asked: RunTask) -> Birth {
        Task::create(uid, space, app, asked, name("local"), Some("00-trace-01".into()), self.now()).unwrap()
    }

    pub async fn a_task(&self, space: &Space, app: &App) -> Task {
        self.store.task_accept(self.a_birth(space, app), None).await.unwrap().task
    }

    /// A Space, an App and a Task of it.
    pub async fn the_usual(&self) -> (Space, App, Task) {
        let space = self.a_space("s").await;
        let app = self.an_app(&space, "a").await;
        let task = self.a_task(&space, &app).await;
        (space, app, task)
    }

    pub fn new_session(&self, executor: &str) -> NewSession {
        NewSession {
            uid: SessionUid(self.uid()),
            executor: name(executor),
            cluster: name("local"),
            adoptable: false,
            runs_images: true,
            logs_address: Some("http://127.0.0.1:1".into()),
        }
    }

    pub async fn a_session(&self, executor: &str) -> Session {
        self.store.session_open(self.new_session(executor), LEASE, |_, _| None).await.unwrap()
    }

    /// The Task after what was seen of it, stored.
    pub async fn observed(&self, task: &Task, seen: Observed) -> Task {
        let step = task.clone().observe(seen, self.now()).unwrap().unwrap();
        self.store.task_commit(&step).await.unwrap();
        step.into_task()
    }

    pub async fn made(&self, task: &Task) -> Task {
        self.observed(task, Observed::Made { run: run_of(task), conditions: Vec::new(), guarded: false }).await
    }

    pub async fn running(&self, task: &Task) -> Task {
        let made = self.made(task).await;
        self.observed(&made, Observed::Started { run: run_of(task), at: self.now() }).await
    }

    pub fn end(&self, task: &Task, code: i32) -> Observed {
        Observed::Over {
            run: run_of(task),
            fate: Fate::Ended(RunEnd {
                cause: EndCause::Natural,
                exit: Exit { code: Some(code), signal: None },
                started_at: None,
                finished_at: self.now() + SignedDuration::from_secs(1),
                message: String::new(),
            }),
        }
    }

    pub async fn cancelled(&self, task: &Task) -> Task {
        let step = task.clone().cancel(self.now()).unwrap();
        self.store.task_commit(&step).await.unwrap();
        step.into_task()
    }

    /// All events of a Space, in the order of the feed.
    pub async fn events(&self, space: &str) -> Vec<(u64, Event)> {
        while self.store.feed_assign(1000).await.unwrap() > 0 {}
        let query = FeedQuery { space: name(space), app: None, task_id: None, tasks_only: false };
        let events = self.store.feed_read(&query, FeedMark::START, 100_000).await.unwrap();
        events.into_iter().map(|(mark, event)| (mark.position, event)).collect()
    }

    /// The bus has heard of everything.
    pub async fn published(&self) {
        loop {
            let heads = self.store.outbox_heads(0, 500).await.unwrap().events;
            if heads.is_empty() {
                return;
            }
            let ids: Vec<_> = heads.iter().map(|(id, _)| *id).collect();
            self.store.outbox_mark(&ids, None).await.unwrap();
        }
    }

    /// Marks the App, and whatever is left of it goes with the next reaping.
    pub async fn delete_app(&self, app: &App, force: bool) -> Result<(), StoreError> {
        let app = self.store.app_get(&app.name).await?;
        match app.delete(self.now()) {
            Some(change) => self.store.app_delete(&change, force).await,
            None => Ok(()),
        }
    }

    /// One turn of each of the reaper's chores that delete. Says whether anything moved.
    pub async fn reap(&self) -> bool {
        self.published().await;
        let store = &self.store;
        let steps =
            [store.jobs_clear().await.unwrap(), store.apps_clear().await.unwrap(), store.spaces_clear().await.unwrap()];
        let asked = store.removals_asked(100).await.unwrap();
        let gone = store.removals_purge(1000).await.unwrap();
        steps.iter().any(|steps| steps.moved) || asked > 0 || gone > 0
    }

    /// Until nothing moves any more.
    pub async fn reaped(&self) {
        while self.reap().await {}
    }

    /// Behind the store's back.
    pub async fn execute(&self, text: &str) {
        let url = self.url.replace("sqlite:", "sqlite://");
        let db = Database::connect(url).await.unwrap();
        db.execute_unprepared(text).await.unwrap();
        db.close().await.unwrap();
    }
}

/// What every store of these tests seals with.
pub fn keys() -> Keyring {
    Keyring::new(&[[7; 32]])
}

fn options(clock: &Arc<AtomicI64>) -> StoreOptions {
    StoreOptions { clock: DatabaseClock::Manual(Arc::clone(clock)), ..StoreOptions::new(keys()) }
}

/// What cancelling `task` would be, for a test to store when it likes.
pub fn cancel(task: &Task, at: Timestamp) -> Transition {
    task.clone().cancel(at).unwrap()
}

/// A push that changes nothing but one variable.
pub fn touch(push: Push, value: &str) -> Push {
    Push { env: env(&[("A", value)]), ..push }
}

pub fn spec_of(app: &App) -> AppSpec {
    app.spec.clone()
}

/// Two calls at once; which of them is first to knock is for the test to say.
pub async fn both<A, B>(in_order: bool, a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    if in_order {
        tokio::join!(a, b)
    } else {
        let (b, a) = tokio::join!(b, a);
        (a, b)
    }
}
