//! A control plane of two relays, with somebody who makes events, and the history that others read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use taskplane_bus::{NatsBus, NatsOptions, outside};
use taskplane_domain::app::{App, Command, Push, Source};
use taskplane_domain::env::Env;
use taskplane_domain::event::Event;
use taskplane_domain::name::{AppName, Name, SpaceName};
use taskplane_domain::quantity::Resources;
use taskplane_domain::run::Observed;
use taskplane_domain::space::{Space, SpaceSettings};
use taskplane_domain::task::{Override, RetryPolicy, RunTask, Task};
use taskplane_domain::uid::{AppUid, RunUid, SpaceUid, TaskUid};
use taskplane_platform::{Feed, Platform, relay};
use taskplane_runtime::{Clock, Lifecycle};
use taskplane_store::{DatabaseClock, FeedMark, FeedQuery, Keyring, Store, StoreOptions};
use taskplane_testkit::nats::{Nats, NatsSetup};
use taskplane_testkit::postgres::Postgres;
use tokio::task::JoinSet;
use uuid::Uuid;

/// However slow the machine, what comes at all comes within this time.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    pub nats: Nats,
    pub options: NatsOptions,
    pub store: Store,
    relays: Vec<(Lifecycle, Feed)>,
    space: Space,
    app: App,
    uids: Arc<AtomicU64>,
}

impl World {
    /// Everything runs.
    pub async fn new(relays: usize) -> Self {
        let world = Self::without_server(relays, &NatsSetup::default()).await;
        world.nats.run().unwrap();
        world
    }

    /// The relays run, and nobody answers at the server's address yet.
    pub async fn without_server(relays: usize, setup: &NatsSetup) -> Self {
        let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
        let options =
            || StoreOptions { max_connections: 6, clock: DatabaseClock::Database, secrets: Keyring::new(&[[7; 32]]) };
        let store = Store::connect(&url, options()).await.unwrap();
        store.migrate().await.unwrap();
        let nats = Nats::prepare(setup).unwrap();
        let nats_options = NatsOptions::new(vec![nats.url()], "tests");
        let space = Space::create(
            SpaceUid(Uuid::from_u128(1)),
            SpaceName(name("s")),
            SpaceSettings::default(),
            Timestamp::UNIX_EPOCH,
        );
        store.space_create(&space).await.unwrap();
        let app = App::create(AppUid(Uuid::from_u128(2)), space.space.uid, push(), Timestamp::UNIX_EPOCH).unwrap();
        store.app_create(&app).await.unwrap();
        let mut running = Vec::new();
        for _ in 0..relays {
            // Each as in a process of its own.
            let store = Store::connect(&url, options()).await.unwrap();
            let feed = Feed::new(Arc::new(NatsBus::connect(nats_options.clone()).unwrap()));
            let lifecycle = Lifecycle::new();
            let platform = Platform { clock: Clock::ahead(0), store, feed: feed.clone(), lifecycle: lifecycle.clone() };
            lifecycle.spawn("relay", relay(platform));
            running.push((lifecycle, feed));
        }
        let uids = Arc::new(AtomicU64::new(100));
        Self { nats, options: nats_options, store, relays: running, space: space.space, app: app.app, uids }
    }

    /// Rings all relays, as the processes do whose commits these are.
    pub fn ring(&self) {
        self.relays.iter().for_each(|(_, feed)| feed.ring());
    }

    /// A Task from its request to its end, four events in all.
    pub async fn live_through(&self, display_name: Option<String>) -> TaskUid {
        let uid = TaskUid(Uuid::from_u128(self.uids.fetch_add(1, Ordering::SeqCst).into()));
        let asked = RunTask {
            app: self.app.name.clone(),
            display_name,
            overrides: Override { command: None, env: Env::default(), resources: Resources::default() },
            timeout: None,
            retry: RetryPolicy::default(),
            labels: Default::default(),
            request_id: None,
        };
        let now = Timestamp::UNIX_EPOCH;
        let birth = Task::create(uid, &self.space, &self.app, asked, name("local"), None, now).unwrap();
        let task = self.store.task_accept(birth, None).await.unwrap().task;
        self.ring();
        let run = RunUid(format!("run-{uid}"));
        let task = self.seen(task, Observed::Made { run: run.clone(), conditions: Vec::new(), guarded: false }).await;
        let task = self.seen(task, Observed::Started { run, at: now }).await;
        let step = task.cancel(now).unwrap();
        self.store.task_commit(&step).await.unwrap();
        self.ring();
        uid
    }

    async fn seen(&self, task: Task, seen: Observed) -> Task {
        let step = task.observe(seen, Timestamp::UNIX_EPOCH).unwrap().unwrap();
        self.store.task_commit(&step).await.unwrap();
        self.ring();
        step.into_task()
    }

    /// Several at once.
    pub async fn live_through_many(self: &Arc<Self>, tasks: usize) {
        let mut lives = JoinSet::new();
        for _ in 0..tasks {
            let world = Arc::clone(self);
            lives.spawn(async move { world.live_through(None).await });
        }
        lives.join_all().await;
    }

    /// What the database tells, by what it is about.
    pub async fn told(&self) -> HashMap<Uuid, Vec<Event>> {
        let query = FeedQuery { space: name("s"), app: None, task_id: None, tasks_only: false };
        while self.store.feed_assign(500).await.unwrap() > 0 {}
        let events = self.store.feed_read(&query, FeedMark::START, 100_000).await.unwrap();
        by_uid(events.into_iter().map(|(_, event)| event))
    }

    /// Waits until all that was committed is on the stream, and then reads it as a consumer does: what comes again is passed
    /// over, and nothing may be missing before anything.
    pub async fn read_whole(&self) -> HashMap<Uuid, Vec<Event>> {
        self.until(async || self.store.outbox_heads(0, 10).await.unwrap().events.is_empty()).await;
        by_uid(in_order(outside::history(&self.options).await.unwrap()))
    }

    /// Asks until it is so.
    pub async fn until(&self, holds: impl AsyncFn() -> bool) {
        let asked = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap();
    }

    pub async fn end(self) {
        for (lifecycle, _) in &self.relays {
            lifecycle.soft().cancel();
        }
        for (lifecycle, _) in &self.relays {
            lifecycle.ended().await;
        }
    }
}

/// Without repeats.
///
/// # Panics
/// When an event comes before the one that it follows.
pub fn in_order(history: Vec<Event>) -> Vec<Event> {
    let mut last: HashMap<Uuid, u64> = HashMap::new();
    let mut events = Vec::new();
    for event in history {
        let last = last.entry(event.uid).or_default();
        if event.sequence <= *last {
            continue;
        }
        assert_eq!(event.sequence, *last + 1, "{}: a gap before {}", event.subject, event.fact.as_str());
        *last = event.sequence;
        events.push(event);
    }
    events
}

fn by_uid(events: impl IntoIterator<Item = Event>) -> HashMap<Uuid, Vec<Event>> {
    let mut all: HashMap<Uuid, Vec<Event>> = HashMap::new();
    for event in events {
        all.entry(event.uid).or_default().push(event);
    }
    all
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn push() -> Push {
    Push {
        name: AppName { space: name("s"), app: name("a") },
        source: Some(Source::Image("registry.example/app:1".into())),
        command: Some(Command::parse("command", "echo hi".into()).unwrap()),
        env: Env::default(),
        replace_env: false,
        unset_env: Vec::new(),
        resources: Resources::default(),
        services: Vec::new(),
        placement: None,
        task_retention_count: None,
    }
}
