//! Calls as clients make them: each is written down before it is made, and what came of it after.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost_types::FieldMask;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use taskplane_proto::v1::app_service_client::AppServiceClient;
use taskplane_proto::v1::event_service_client::EventServiceClient;
use taskplane_proto::v1::job_service_client::JobServiceClient;
use taskplane_proto::v1::push_app_request::Part;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_proto::v1::{self as pb, ConcurrencyPolicy, ReasonClass};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::history::{Answer, Ask, History, Policy, What};
use crate::ledger::Script;
use crate::seen;

pub const SPACE: &str = "spaces/s";
pub const ALL_TASKS: &str = "spaces/s/apps/-";
/// Nobody waits longer for an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);
const PAGE: i32 = 200;

/// One client. It goes by another door each time.
#[derive(Clone)]
pub struct Caller {
    pub client: u32,
    pub history: Arc<History>,
    pub doors: Vec<Channel>,
    pub ledger: PathBuf,
    pub rng: StdRng,
}

pub enum Outcome {
    Told(Answer),
    Refused(Status),
    /// Done, not done, or yet to be.
    Unsure,
}

impl Caller {
    /// Asks, and waits for the answer as long as anybody does.
    pub async fn ask(&mut self, ask: Ask) -> Outcome {
        self.ask_within(ask, PATIENCE).await
    }

    /// Asks, and goes away after a while.
    pub async fn ask_within(&mut self, ask: Ask, patience: Duration) -> Outcome {
        let door = self.door();
        let call = self.history.asks(self.client, ask.clone());
        let result = tokio::time::timeout(patience, self.perform(door, ask)).await;
        let (outcome, what) = match result {
            Ok(Ok(answer)) => (Outcome::Told(answer.clone()), What::Told(answer)),
            Ok(Err(status)) => {
                let (code, message) = (format!("{:?}", status.code()), status.message().to_owned());
                match is_certain(status.code()) {
                    true => (Outcome::Refused(status), What::Refused { code, message }),
                    false => (Outcome::Unsure, What::Unsure { code, message }),
                }
            }
            Err(_) => {
                (Outcome::Unsure, What::Unsure { code: "Dropped".into(), message: format!("after {patience:?}") })
            }
        };
        self.history.tells(self.client, call, what);
        outcome
    }

    /// The answer, however often it takes; for questions alone, which may be repeated.
    pub async fn learns(&mut self, ask: Ask) -> Answer {
        loop {
            match self.ask(ask.clone()).await {
                Outcome::Told(answer) => return answer,
                Outcome::Refused(status) => panic!("{ask:?} is refused: {status:?}"),
                // What cannot be had at once is asked for a little later, as any client would.
                Outcome::Unsure => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    pub fn door(&mut self) -> Channel {
        self.doors.choose(&mut self.rng).unwrap().clone()
    }

    async fn perform(&self, door: Channel, ask: Ask) -> Result<Answer, Status> {
        let mut tasks = TaskServiceClient::new(door.clone());
        let mut jobs = JobServiceClient::new(door.clone());
        Ok(match ask {
            Ask::PushApp { app, command } => Answer::App { revision: push(door, &app, command).await?.revision },
            Ask::RunTask { app, display_name, request_id, script } => {
                let request = pb::RunTaskRequest {
                    parent: format!("{SPACE}/apps/{app}"),
                    command: script.command(&self.ledger),
                    display_name,
                    request_id,
                    retry_policy: retries(script),
                    ..Default::default()
                };
                Answer::Task(seen::task(&tasks.run_task(hurried(request)).await?.into_inner()))
            }
            Ask::RunJob { job, display_name, request_id } => {
                let request = pb::RunJobRequest { name: job, display_name, request_id, ..Default::default() };
                Answer::Task(seen::task(&jobs.run_job(hurried(request)).await?.into_inner()))
            }
            Ask::GetTask { task } => {
                let request = pb::GetTaskRequest { name: task, ..Default::default() };
                Answer::Task(seen::task(&tasks.get_task(hurried(request)).await?.into_inner()))
            }
            Ask::ListTasks => list_tasks(tasks).await?,
            Ask::CancelTask { task } => {
                let request = pb::CancelTaskRequest { name: task, ..Default::default() };
                Answer::Task(seen::task(&tasks.cancel_task(hurried(request)).await?.into_inner()))
            }
            Ask::DeleteTask { task } => {
                tasks.delete_task(hurried(pb::DeleteTaskRequest { name: task, force: true })).await?;
                Answer::Done
            }
            Ask::CreateJob { job, app, cron, policy, script } => {
                let template =
                    pb::TaskTemplate { command: script.command(&self.ledger), ..pb::TaskTemplate::default() };
                let created = pb::Job {
                    app: format!("{SPACE}/apps/{app}"),
                    template: Some(template),
                    concurrency_policy: policy_to_pb(policy).into(),
                    ..Default::default()
                };
                let schedule = (!cron.is_empty()).then(|| pb::Schedule { cron, ..Default::default() });
                let request = pb::CreateJobRequest { parent: SPACE.into(), job_id: job, job: Some(created), schedule };
                Answer::Job(seen::job(&jobs.create_job(hurried(request)).await?.into_inner()))
            }
            Ask::GetJob { job } => {
                Answer::Job(seen::job(&jobs.get_job(hurried(pb::GetJobRequest { name: job })).await?.into_inner()))
            }
            Ask::ListJobs => list_jobs(jobs).await?,
            Ask::UpdateJob { job, etag, command, adds } => {
                let template = pb::TaskTemplate { command: format!("{command} {adds}"), ..pb::TaskTemplate::default() };
                let changed = pb::Job { name: job, etag, template: Some(template), ..Default::default() };
                let update_mask = Some(FieldMask { paths: vec!["template.command".into()] });
                let request = pb::UpdateJobRequest { job: Some(changed), update_mask };
                Answer::Job(seen::job(&jobs.update_job(hurried(request)).await?.into_inner()))
            }
            Ask::SuspendSchedule { schedule, etag, suspended } => {
                let changed = pb::Schedule { name: schedule, etag, suspended, ..Default::default() };
                let update_mask = Some(FieldMask { paths: vec!["suspended".into()] });
                let request = pb::UpdateScheduleRequest { schedule: Some(changed), update_mask };
                jobs.update_schedule(hurried(request)).await?;
                Answer::Done
            }
            Ask::PauseJob { job } => {
                let request = pb::PauseJobRequest { name: job, ..Default::default() };
                Answer::Job(seen::job(&jobs.pause_job(hurried(request)).await?.into_inner()))
            }
            Ask::DeleteJob { job, etag } => {
                let request = pb::DeleteJobRequest { name: job, etag, grace: None };
                Answer::Job(seen::job(&jobs.delete_job(hurried(request)).await?.into_inner()))
            }
            Ask::ListRuns { job } => list_runs(jobs, &job).await?,
            Ask::ListEvents => list_events(EventServiceClient::new(door)).await?,
            Ask::WatchTasks { .. } | Ask::ReadStream => unreachable!("not a call with one answer"),
        })
    }
}

/// After these nothing was done, and nothing will be.
fn is_certain(code: Code) -> bool {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => false,
    }
}

/// With a deadline that the server is told of.
fn hurried<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

/// What fails by itself is tried once more.
fn retries(script: Script) -> Option<pb::RetryPolicy> {
    (script.exit != 0).then(|| pb::RetryPolicy {
        max_attempts: 2,
        backoff: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        retry_on: vec![ReasonClass::User.into()],
        retry_unknown: false,
    })
}

fn policy_to_pb(policy: Policy) -> ConcurrencyPolicy {
    match policy {
        Policy::Always => ConcurrencyPolicy::Always,
        Policy::Forbid => ConcurrencyPolicy::Forbid,
        Policy::Replace => ConcurrencyPolicy::Replace,
    }
}

async fn push(door: Channel, app: &str, command: String) -> Result<pb::App, Status> {
    let archive = pb::app_source::Kind::Archive(pb::SourceArchive::default());
    let spec = pb::PushAppSpec {
        parent: SPACE.into(),
        app_id: app.into(),
        source: Some(pb::AppSource { kind: Some(archive) }),
        command: Some(command),
        ..Default::default()
    };
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    tar.append_data(&mut header, "empty", &[][..]).unwrap();
    let parts = [Part::App(spec), Part::Chunk(Bytes::from(tar.into_inner().unwrap()))];
    let parts = tokio_stream::iter(parts.map(|part| pb::PushAppRequest { part: Some(part) }));
    Ok(AppServiceClient::new(door).push_app(hurried(parts)).await?.into_inner())
}

async fn list_tasks(mut tasks: TaskServiceClient<Channel>) -> Result<Answer, Status> {
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            pb::ListTasksRequest { parent: ALL_TASKS.into(), page_size: PAGE, page_token, ..Default::default() };
        let page = tasks.list_tasks(hurried(request)).await?.into_inner();
        listed.extend(page.tasks.iter().map(seen::task));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Answer::Tasks(listed));
        }
    }
}

async fn list_jobs(mut jobs: JobServiceClient<Channel>) -> Result<Answer, Status> {
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListJobsRequest { parent: SPACE.into(), page_size: PAGE, page_token };
        let page = jobs.list_jobs(hurried(request)).await?.into_inner();
        listed.extend(page.jobs.iter().map(seen::job));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Answer::Jobs(listed));
        }
    }
}

async fn list_runs(mut jobs: JobServiceClient<Channel>, job: &str) -> Result<Answer, Status> {
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListJobRunsRequest { parent: job.into(), page_size: PAGE, page_token };
        let page = jobs.list_job_runs(hurried(request)).await?.into_inner();
        listed.extend(page.runs.iter().map(seen::run));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Answer::Runs(listed));
        }
    }
}

async fn list_events(mut events: EventServiceClient<Channel>) -> Result<Answer, Status> {
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListEventsRequest { parent: SPACE.into(), page_size: PAGE, page_token };
        let page = events.list_events(hurried(request)).await?.into_inner();
        listed.extend(page.events.into_iter().map(seen::event));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Answer::Events(listed));
        }
    }
}
