//! Jobs to test with, and passes over them.

use taskplane_domain::app::App;
use taskplane_domain::job::{ConcurrencyPolicy, Job, JobChange, Plan, TaskTemplate, decide};
use taskplane_domain::name::JobName;
use taskplane_domain::task::Task;
use taskplane_domain::uid::{JobUid, ScheduleUid};
use taskplane_store::{Store, TaskQuery, Ticked};

use crate::kit::{Kit, name};

pub fn job_name(text: &str) -> JobName {
    format!("spaces/s/jobs/{text}").parse().unwrap()
}

/// A new Job, its Schedules named s0, s1, …; an empty zone is UTC.
pub fn new_job(
    kit: &Kit,
    app: &App,
    text: &str,
    policy: ConcurrencyPolicy,
    (zone, crons): (&str, &[&str]),
) -> JobChange {
    let who = (JobUid(kit.uid()), job_name(text));
    let mut change = Job::create(who, app, TaskTemplate::default(), policy, kit.now());
    for (number, cron) in crons.iter().enumerate() {
        let plan = Plan::parse("", cron, zone, Default::default(), None).unwrap();
        change = change.scheduled(ScheduleUid(kit.uid()), name(&format!("s{number}")), plan, false);
    }
    change
}

pub async fn a_job(kit: &Kit, app: &App, text: &str, policy: ConcurrencyPolicy, crons: &[&str]) -> Job {
    kit.store.job_create(new_job(kit, app, text, policy, ("", crons))).await.unwrap()
}

pub async fn pass(store: &Store, limit: u32) -> Ticked {
    store.ticks_pass(limit, name("local"), decide).await.unwrap()
}

/// Passes until nothing is due by this store's clock. Says how many it took.
pub async fn drain(store: &Store, limit: u32) -> u32 {
    let mut passes = 1;
    while pass(store, limit).await.more {
        passes += 1;
    }
    passes
}

/// All of them, or those of one Job.
pub async fn tasks_of(kit: &Kit, job: Option<&JobName>) -> Vec<Task> {
    let query = TaskQuery {
        space: name("s"),
        app: None,
        states: Vec::new(),
        job: job.map(|job| job.job.clone()),
        newest_first: false,
        after: None,
        limit: 100_000,
    };
    kit.store.task_list(&query).await.unwrap()
}
