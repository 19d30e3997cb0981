//! Clients that ask for all sorts of things at random, as long as they are let: the seed says what, if not when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::calls::{ALL_TASKS, Caller, Outcome, SPACE};
use crate::history::{Answer, Ask, JobSeen, Policy, What};
use crate::ledger::Script;
use crate::seen;
use crate::stage::APPS;

/// Jobs that there are at one time.
const JOBS: usize = 6;
/// Tasks among which somebody chooses one to cancel or to delete.
const RECENT: usize = 40;
/// How often a wish is repeated until it is known what became of it.
const TRIES: u32 = 8;

/// What clients know of one another's doings.
#[derive(Default)]
pub struct Known {
    tasks: Mutex<Vec<String>>,
    jobs: Mutex<Vec<String>>,
}

impl Known {
    fn remembers(&self, task: String) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(task);
        let old = tasks.len().saturating_sub(RECENT);
        tasks.drain(..old);
    }

    fn a_task(&self, rng: &mut StdRng) -> Option<String> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).choose(rng).cloned()
    }

    fn a_job(&self, rng: &mut StdRng) -> Option<String> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).choose(rng).cloned()
    }

    fn has_job(&self, job: String) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }

    fn forgets_job(&self, job: &str) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| known != job);
    }

    fn wants_jobs(&self) -> bool {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).len() < JOBS
    }
}

/// Lets them loose; they end soon after `stop`.
pub fn gather(template: &Caller, clients: u32, watchers: u32, stop: &CancellationToken) -> JoinSet<()> {
    let known = Arc::new(Known::default());
    let mut rng = template.rng.clone();
    let mut crowd = JoinSet::new();
    for number in 1..=clients + watchers {
        let caller = Caller { client: number, rng: StdRng::from_rng(&mut rng), ..template.clone() };
        let stop = stop.clone();
        if number <= clients {
            let known = Arc::clone(&known);
            crowd.spawn(async move { wishes(caller, &known, &stop).await });
        } else {
            crowd.spawn(async move { watches(caller, &stop).await });
        }
    }
    crowd
}

async fn wishes(mut caller: Caller, known: &Known, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match caller.rng.random_range(0..100) {
            0..40 => run_task(&mut caller, known).await,
            40..50 => with_a_task(&mut caller, known, |task| Ask::GetTask { task }).await,
            50..60 => with_a_task(&mut caller, known, |task| Ask::CancelTask { task }).await,
            60..62 => with_a_task(&mut caller, known, |task| Ask::DeleteTask { task }).await,
            62..65 => drop(caller.ask(Ask::ListTasks).await),
            65..75 => run_job(&mut caller, known).await,
            75..83 => update_job(&mut caller, known).await,
            83..86 => suspend(&mut caller, known).await,
            86..92 if known.wants_jobs() => create_job(&mut caller, known).await,
            92..95 => delete_job(&mut caller, known).await,
            95..98 => push(&mut caller).await,
            _ => with_a_job(&mut caller, known).await,
        }
        // It is random moments that are wanted here, not a condition.
        let pause = Duration::from_millis(caller.rng.random_range(0..120));
        tokio::time::sleep(pause).await;
    }
}

/// Asks until it is known what became of it, but for those who have lost interest.
async fn insists(caller: &mut Caller, known: &Known, ask: Ask) {
    for _ in 0..TRIES {
        let outcome = match caller.rng.random_bool(0.1) {
            // Somebody who goes away in the midst of it.
            true => {
                let patience = Duration::from_millis(caller.rng.random_range(0..60));
                caller.ask_within(ask.clone(), patience).await
            }
            false => caller.ask(ask.clone()).await,
        };
        match outcome {
            Outcome::Told(Answer::Task(task)) => return known.remembers(task.task),
            Outcome::Told(_) | Outcome::Refused(_) => return,
            Outcome::Unsure if caller.rng.random_bool(0.1) => return,
            Outcome::Unsure => {
                let pause = Duration::from_millis(caller.rng.random_range(100..1500));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn run_task(caller: &mut Caller, known: &Known) {
    let rng = &mut caller.rng;
    let beats = if rng.random_bool(0.2) { rng.random_range(20..150) } else { rng.random_range(0..10) };
    let exit = if rng.random_bool(0.15) { rng.random_range(1..100) } else { 0 };
    let script = Script { beats, exit, stubborn: rng.random_bool(0.1) };
    let app = (*APPS.choose(rng).unwrap()).to_owned();
    let wish = caller.history.unique();
    let (display_name, request_id) = (format!("wish-{wish}"), format!("request-{wish}"));
    let ask = Ask::RunTask { app, display_name, request_id, script };
    insists(caller, known, ask).await;
}

async fn run_job(caller: &mut Caller, known: &Known) {
    let Some(job) = known.a_job(&mut caller.rng) else { return };
    let wish = caller.history.unique();
    let (display_name, request_id) = (format!("wish-{wish}"), format!("request-{wish}"));
    insists(caller, known, Ask::RunJob { job, display_name, request_id }).await;
}

async fn with_a_task(caller: &mut Caller, known: &Known, ask: impl Fn(String) -> Ask) {
    let Some(task) = known.a_task(&mut caller.rng) else { return };
    caller.ask(ask(task)).await;
}

async fn create_job(caller: &mut Caller, known: &Known) {
    let rng = &mut caller.rng;
    let cron = if rng.random_bool(0.7) { "* * * * *".to_owned() } else { String::new() };
    let policy = *[Policy::Always, Policy::Forbid, Policy::Replace].choose(rng).unwrap();
    let script = Script { beats: rng.random_range(0..40), exit: 0, stubborn: rng.random_bool(0.1) };
    let app = (*APPS.choose(rng).unwrap()).to_owned();
    let job = format!("j-{}", caller.history.unique());
    let ask = Ask::CreateJob { job: job.clone(), app, cron, policy, script };
    if !matches!(caller.ask(ask).await, Outcome::Refused(_)) {
        known.has_job(format!("{SPACE}/jobs/{job}"));
    }
}

/// A Job as it is now.
async fn a_job(caller: &mut Caller, known: &Known) -> Option<JobSeen> {
    let job = known.a_job(&mut caller.rng)?;
    match caller.ask(Ask::GetJob { job: job.clone() }).await {
        Outcome::Told(Answer::Job(seen)) => Some(seen),
        Outcome::Refused(status) if status.code() == Code::NotFound => {
            known.forgets_job(&job);
            None
        }
        _ => None,
    }
}

async fn with_a_job(caller: &mut Caller, known: &Known) {
    if let Some(job) = a_job(caller, known).await {
        caller.ask(Ask::ListRuns { job: job.job }).await;
    }
}

async fn update_job(caller: &mut Caller, known: &Known) {
    let Some(JobSeen { job, etag, command, .. }) = a_job(caller, known).await else { return };
    let adds = format!("w{}", caller.history.unique());
    caller.ask(Ask::UpdateJob { job, etag, command, adds }).await;
}

async fn suspend(caller: &mut Caller, known: &Known) {
    let Some(JobSeen { schedule: Some((schedule, etag)), .. }) = a_job(caller, known).await else { return };
    let suspended = caller.rng.random_bool(0.3);
    caller.ask(Ask::SuspendSchedule { schedule, etag, suspended }).await;
}

async fn delete_job(caller: &mut Caller, known: &Known) {
    let Some(JobSeen { job, etag, .. }) = a_job(caller, known).await else { return };
    if let Outcome::Told(_) = caller.ask(Ask::DeleteJob { job: job.clone(), etag }).await {
        known.forgets_job(&job);
    }
}

async fn push(caller: &mut Caller) {
    let app = (*APPS.choose(&mut caller.rng).unwrap()).to_owned();
    let command = format!("true #{}", caller.history.unique());
    caller.ask(Ask::PushApp { app, command }).await;
}

/// Watches everything, is cut at random and goes on where it was, or begins anew.
async fn watches(mut caller: Caller, stop: &CancellationToken) {
    let (mut chain, mut token) = (caller.history.unique(), String::new());
    while !stop.is_cancelled() {
        if caller.rng.random_bool(0.1) {
            (chain, token) = (caller.history.unique(), String::new());
        }
        let door = caller.door();
        let call = caller.history.asks(caller.client, Ask::WatchTasks { chain, resumed: !token.is_empty() });
        let patience = Duration::from_millis(caller.rng.random_range(0..5000));
        let watched = tokio::time::timeout(patience, watch(&caller, TaskServiceClient::new(door), call, &mut token));
        match watched.await {
            Err(_) => {}
            Ok(status) => {
                let (code, message) = (format!("{:?}", status.code()), status.message().to_owned());
                if status.code() == Code::OutOfRange {
                    (chain, token) = (caller.history.unique(), String::new());
                }
                caller.history.tells(caller.client, call, What::Unsure { code, message });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Each answer is written down in the same step in which its token takes the place of the one before.
async fn watch(
    caller: &Caller,
    mut tasks: TaskServiceClient<tonic::transport::Channel>,
    call: u64,
    token: &mut String,
) -> tonic::Status {
    let request = pb::WatchTasksRequest { parent: ALL_TASKS.into(), resume_token: token.clone() };
    let mut stream = match tasks.watch_tasks(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status,
    };
    loop {
        match stream.message().await {
            Ok(Some(response)) => {
                caller.history.tells(caller.client, call, What::Saw(seen::change(&response)));
                *token = response.resume_token;
            }
            Ok(None) => return tonic::Status::unavailable("the watch came to an end"),
            Err(status) => return status,
        }
    }
}
