//! What must be so, whatever was done to the schedulers: computed from the plans alone, and held against what is stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use jiff::Timestamp;
use taskplane_domain::event::Kind;
use taskplane_domain::job::{JobRun, RunOutcome, Schedule};
use taskplane_domain::task::Task;
use taskplane_domain::uid::{ScheduleUid, TaskUid};
use taskplane_store::{FeedMark, FeedQuery, JobView, Store, TaskQuery};
use uuid::Uuid;

use crate::scene::{APPS, SPACE, name, space_name};

const ALL: u32 = u32::MAX;

/// How far each schedule had come when it was looked at last.
#[derive(Default)]
pub struct Marks(HashMap<ScheduleUid, Timestamp>);

impl Marks {
    /// No mark ever goes back.
    pub async fn look(&mut self, store: &Store) {
        for schedule in jobs(store).await.iter().flat_map(|view| &view.schedules) {
            let before = self.0.insert(schedule.uid, schedule.mark);
            let back = before.filter(|before| *before > schedule.mark);
            assert_eq!(back, None, "the mark of {} went back to {}", schedule.name, schedule.mark);
        }
    }
}

/// What was found, for a person to see that something happened at all.
pub struct Found {
    ticks: usize,
    passed_over: u64,
    tasks: usize,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticks, passed_over, tasks } = self;
        write!(f, "{ticks} ticks decided, {passed_over} passed over, {tasks} Tasks made")
    }
}

/// Everything; `latest` is a time that the last replica has gone past and dealt with.
pub async fn check(store: &Store, latest: Timestamp) -> Found {
    let (views, tasks) = (jobs(store).await, tasks(store).await);
    let mut runs = Vec::new();
    for view in &views {
        let mut own = store.job_runs_list(&view.job.name, None, ALL).await.unwrap();
        own.reverse();
        for schedule in &view.schedules {
            ledger_is_the_plan(schedule, &own, latest);
        }
        runs.extend(own);
    }
    each_task_has_its_entry(&runs, &tasks);
    numbers_have_no_gap(&tasks);
    events_have_no_gap(store, &views, &tasks).await;
    let ticks = runs.iter().filter(|run| run.tick.is_some()).count();
    Found { ticks, passed_over: runs.iter().map(|run| run.missed).sum(), tasks: tasks.len() }
}

/// Each tick of the plan since the schedule was made is in the ledger once, or counted as passed over by the one after it; and
/// each entry is what was due by the clock of whoever made it.
fn ledger_is_the_plan(schedule: &Schedule, runs: &[JobRun], latest: Timestamp) {
    let plan = &schedule.plan.recurrence;
    let mut mark = schedule.created_at;
    for run in runs {
        let Some(tick) = run.tick.as_ref().filter(|tick| tick.schedule_uid == schedule.uid) else { continue };
        let due = plan.latest_due(mark, run.at);
        let due = due.unwrap_or_else(|| panic!("{}: nothing was due behind {mark} at {}", schedule.name, run.at));
        assert_eq!(plan.prev(tick.at), Some(tick.at), "{} has no such tick", schedule.name);
        let told = (tick.at, run.missed);
        assert_eq!(told, (due.tick, due.superseded), "{} behind {mark}, decided at {}", schedule.name, run.at);
        mark = tick.at;
    }
    assert_eq!((schedule.mark, schedule.last_tick), (mark, Some(mark)), "{} and its ledger", schedule.name);
    let owed = plan.latest_due(mark, latest);
    assert_eq!(owed, None, "{} owes a tick at {latest}", schedule.name);
}

fn each_task_has_its_entry(runs: &[JobRun], tasks: &[Task]) {
    let mut started: HashMap<TaskUid, &JobRun> = HashMap::new();
    let mut ticks = HashSet::new();
    for run in runs {
        if let Some(tick) = &run.tick {
            assert!(ticks.insert((tick.schedule_uid, tick.at)), "a second entry: {run:?}");
        }
        if let RunOutcome::Started { uid, .. } = &run.outcome {
            if let Some(tick) = &run.tick {
                assert_eq!(*uid, TaskUid::scheduled(tick.schedule_uid, tick.at));
            }
            assert!(started.insert(*uid, run).is_none(), "a Task of two entries: {run:?}");
        }
    }
    for task in tasks {
        let run = started.remove(&task.uid).unwrap_or_else(|| panic!("{} is in no ledger", task.name));
        let made_for = task.job.as_ref().unwrap();
        assert_eq!(made_for.tick, run.tick.as_ref().map(|tick| tick.at), "{}", task.name);
        assert_eq!(made_for.name, run.job.job, "{}", task.name);
    }
    assert!(started.is_empty(), "in the ledger, but no Task: {started:?}");
}

fn numbers_have_no_gap(tasks: &[Task]) {
    for app in APPS {
        let mut ids: Vec<u64> =
            tasks.iter().filter(|task| task.name.app == name(app)).map(|task| task.name.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, Vec::from_iter(1..=ids.len() as u64), "the numbers of App {app}");
    }
}

/// Each Job's and each Task's events count from one up to its last change, in the order of the feed.
async fn events_have_no_gap(store: &Store, views: &[JobView], tasks: &[Task]) {
    while store.feed_assign(1000).await.unwrap() > 0 {}
    let query = FeedQuery { space: name(SPACE), app: None, task_id: None, tasks_only: false };
    let mut told: BTreeMap<(&str, Uuid), u64> = BTreeMap::new();
    let mut last = 0;
    for (FeedMark { position, .. }, event) in store.feed_read(&query, FeedMark::START, ALL).await.unwrap() {
        assert!(position > last, "position {position} comes behind {last}");
        last = position;
        let sequence = told.entry((event.fact.kind().as_str(), event.uid)).or_default();
        assert_eq!(event.sequence, *sequence + 1, "{} of {}", event.topic(), event.subject);
        *sequence = event.sequence;
    }
    let jobs = views.iter().map(|view| (Kind::Job, view.job.uid.0, view.job.sequence));
    let tasks = tasks.iter().map(|task| (Kind::Task, task.uid.0, task.version));
    for (kind, uid, sequence) in jobs.chain(tasks) {
        assert_eq!(told.get(&(kind.as_str(), uid)), Some(&sequence), "{} {uid}", kind.as_str());
    }
}

async fn jobs(store: &Store) -> Vec<JobView> {
    store.job_list(&space_name(), None, ALL).await.unwrap()
}

async fn tasks(store: &Store) -> Vec<Task> {
    let query = TaskQuery {
        space: name(SPACE),
        app: None,
        states: Vec::new(),
        job: None,
        newest_first: false,
        after: None,
        limit: ALL,
    };
    store.task_list(&query).await.unwrap()
}
