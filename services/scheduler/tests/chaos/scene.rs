//! The Jobs of the storm, and what their owners do meanwhile: run one by hand, end a Task.

use jiff::Timestamp;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use taskplane_domain::app::{App, Command, Push, Source};
use taskplane_domain::env::Env;
use taskplane_domain::job::{ConcurrencyPolicy, Job, Plan, RunJob, TaskTemplate, run_now};
use taskplane_domain::name::{JobName, Name, SpaceName};
use taskplane_domain::quantity::Resources;
use taskplane_domain::schedule::{GapRule, OverlapRule};
use taskplane_domain::space::{Quota, Space, SpaceSettings};
use taskplane_domain::task::StateKind;
use taskplane_domain::uid::{AppUid, JobUid, ScheduleUid, SpaceUid, TaskUid};
use taskplane_store::{Store, StoreError, TaskQuery};
use uuid::Uuid;

pub const CLUSTER: &str = "local";
pub const SPACE: &str = "s";
pub const APPS: [&str; 3] = ["a", "b", "c"];
const JOBS: usize = 40;

/// Each minute, and at all sorts of times; the zones have their DST days in store.
const CRONS: [(&str, &str); 8] = [
    ("* * * * *", ""),
    ("*/2 * * * *", "Europe/Berlin"),
    ("* * * * *", "America/New_York"),
    ("1-59/7,3 * * * *", ""),
    ("*/5 * * * *", "Australia/Lord_Howe"),
    ("0,1,2,30 */2 * * *", "Asia/Kathmandu"),
    ("*/3 1-22 * * 1-6", "America/Havana"),
    ("17 * * * *", ""),
];

/// Three Apps, and Jobs of each policy with one schedule or two, some of which give up on ticks that are late.
pub async fn prepare(store: &Store) {
    let at = store.now().await.unwrap();
    let settings = SpaceSettings {
        quota: Quota { live: 1_000_000, running: None, waiting: 1_000_000 },
        ..SpaceSettings::default()
    };
    let space = Space::create(SpaceUid(Uuid::from_u128(1)), space_name(), settings, at);
    store.space_create(&space).await.unwrap();
    let mut apps = Vec::new();
    for (number, app) in (2..).zip(APPS) {
        let push = Push {
            name: format!("spaces/{SPACE}/apps/{app}").parse().unwrap(),
            source: Some(Source::Image("registry.example/app:1".into())),
            command: Some(Command::parse("command", "true".into()).unwrap()),
            env: Env::default(),
            replace_env: false,
            unset_env: Vec::new(),
            resources: Resources::default(),
            services: Vec::new(),
            task_retention_count: None,
            placement: None,
        };
        let change = App::create(AppUid(Uuid::from_u128(number)), space.space.uid, push, at).unwrap();
        store.app_create(&change).await.unwrap();
        apps.push(change.app);
    }
    for number in 0..JOBS {
        let policy = ConcurrencyPolicy::ALL[number % 3];
        let identity = (JobUid(Uuid::from_u128(100 + number as u128)), job_name(number));
        let mut change = Job::create(identity, &apps[number / 3 % 3], TaskTemplate::default(), policy, at);
        for second in 0..1 + usize::from(number % 5 == 0) {
            let uid = ScheduleUid(Uuid::from_u128(1000 + (2 * number + second) as u128));
            let (cron, zone) = CRONS[(number + 3 * second) % CRONS.len()];
            let deadline = (number % 7 == 3).then(|| std::time::Duration::from_secs(90));
            let rules = (GapRule::default(), OverlapRule::default());
            let plan = Plan::parse("", cron, zone, rules, deadline).unwrap();
            change = change.scheduled(uid, name(&format!("at-{second}")), plan, false);
        }
        store.job_create(change).await.unwrap();
    }
}

/// What people do while ticks fire. Both may lose against a tick, and are simply not repeated then.
pub async fn meddle(store: &Store, rng: &mut StdRng) -> String {
    let now = store.now().await.unwrap();
    let by_hand = rng.random_bool(0.5);
    let (what, result) = if by_hand {
        let job = job_name(rng.random_range(0..JOBS));
        let scene = store.job_scene(&job, name(CLUSTER)).await.unwrap();
        let uid = TaskUid(Uuid::from_u128(rng.random()));
        let change = run_now(scene, uid, RunJob::default(), None, now).unwrap();
        (format!("runs {job}"), store.job_commit(change, None).await.map(drop))
    } else {
        let Some(task) = live(store).await.choose(rng).cloned() else { return "finds nothing to cancel".into() };
        let what = format!("cancels {}", task.name);
        let Some(step) = task.cancel(now) else { return what };
        (what, store.task_commit(&step).await)
    };
    match result {
        Ok(()) => what,
        Err(StoreError::Conflict(_) | StoreError::Unavailable(_)) => format!("{what}, in vain"),
        Err(other) => panic!("{what}: {other:?}"),
    }
}

/// Ends what runs, so that Jobs which wait for it go on.
pub async fn end_all(store: &Store) {
    for task in live(store).await {
        let now = store.now().await.unwrap();
        let Some(step) = task.cancel(now) else { continue };
        match store.task_commit(&step).await {
            // One that is held up may hold the Task's row.
            Ok(()) | Err(StoreError::Conflict(_) | StoreError::Unavailable(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn live(store: &Store) -> Vec<taskplane_domain::task::Task> {
    let query = TaskQuery {
        space: name(SPACE),
        app: None,
        states: vec![StateKind::Pending],
        job: None,
        newest_first: true,
        after: None,
        limit: 100,
    };
    store.task_list(&query).await.unwrap()
}

pub fn space_name() -> SpaceName {
    SpaceName(name(SPACE))
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn job_name(number: usize) -> JobName {
    format!("spaces/{SPACE}/jobs/j{number}").parse().unwrap()
}

/// A moment of a history, to the second.
pub fn brief(at: Timestamp) -> String {
    at.strftime("%d %H:%M:%S").to_string()
}
