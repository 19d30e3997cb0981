//! With all periodic looks off, rings alone carry work from one process to another, through NATS: what is committed by one is
//! heard by a long poll that waits at another.

use std::time::{Duration, SystemTime};

use prost_types::Duration as PbDuration;
use taskplane_proto::internal::v1 as internal;
use taskplane_proto::internal::v1::executor_control_client::ExecutorControlClient;
use taskplane_proto::internal::v1::run_report::Observed;
use taskplane_proto::internal::v1::work_item::Work;
use taskplane_proto::v1 as pb;
use taskplane_testkit::nats::Nats;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::kit::System;
use crate::server::{PATIENCE, within};

/// How long a poll waits; an answer that comes much earlier was rung for.
const WAIT: Duration = Duration::from_secs(60);
const RUNG: Duration = Duration::from_secs(50);

/// An executor as the api sees one, whose runs outlive it. It does what the test says, and never looks by itself.
struct Executor {
    control: ExecutorControlClient<Channel>,
    session: String,
}

impl Executor {
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    async fn open(address: &str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let mut control = ExecutorControlClient::new(channel);
        let request = internal::OpenSessionRequest {
            executor: "scripted".into(),
            cluster: "local".into(),
            adoptable: true,
            ..Default::default()
        };
        let opened = within(control.open_session(request)).await.unwrap().into_inner();
        let (mut beating, session) = (control.clone(), opened.session.clone());
        tokio::spawn(async move {
            let request = internal::HeartbeatRequest { session };
            while beating.heartbeat(request.clone()).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        Self { control, session: opened.session }
    }

    /// Polls until one poll was answered because it was rung for, and gives what it was answered.
    async fn rung(&self) -> internal::WorkItem {
        loop {
            let request = internal::AcquireWorkRequest {
                session: self.session.clone(),
                capacity: 1,
                held: Vec::new(),
                wait: Some(PbDuration { seconds: WAIT.as_secs().cast_signed(), nanos: 0 }),
            };
            let since = Instant::now();
            let mut control = self.control.clone();
            let answer = tokio::time::timeout(WAIT + PATIENCE, control.acquire_work(request)).await;
            let items = answer.unwrap().unwrap().into_inner().items;
            if let Some(item) = items.into_iter().next() {
                assert!(since.elapsed() < RUNG, "nobody rang: the poll came to its end by itself");
                return item;
            }
        }
    }

    /// Nothing waits for it when this returns.
    async fn begins_to_wait(&self) {
        let request = internal::AcquireWorkRequest { session: self.session.clone(), capacity: 1, ..Default::default() };
        let items = within(self.control.clone().acquire_work(request)).await.unwrap().into_inner().items;
        assert_eq!(items, []);
    }

    async fn reports(&self, item: &internal::WorkItem, observed: Observed) {
        let report = internal::RunReport {
            task_uid: item.task_uid.clone(),
            attempt: item.attempt,
            fence: item.fence,
            run_uid: "run".into(),
            observed: Some(observed),
        };
        let request = internal::ReportRunsRequest { session: self.session.clone(), reports: vec![report] };
        let answer = within(self.control.clone().report_runs(request)).await.unwrap().into_inner();
        assert_eq!(answer.results[0].outcome(), internal::ReportOutcome::Accepted);
    }
}

fn now() -> Option<prost_types::Timestamp> {
    Some(SystemTime::now().into())
}

/// The next tick comes within 45 s: a poll that began now was answered for it, and did not just come to its end.
async fn well_into_a_minute() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let into = Duration::from_secs(now.as_secs() % 60);
    tokio::time::sleep(Duration::from_secs(15).saturating_sub(into)).await;
}

#[tokio::test]
async fn a_tick_and_a_removal_reach_an_executor_by_rings_alone() {
    let nats = Nats::start().unwrap();
    let mut system = System::prepare().await;
    system.extra.control = vec!["--nats-url".into(), nats.url()];
    // A look of each loop a day.
    system.extra.env = vec![("TASKPLANE_SWEEPS", "off".to_owned())];
    system.launch(&["api-1", "api-2", "scheduler-1", "reaper-1"]).await;
    let one = system.client("api-1");
    let internal_of = |api: &str| std::fs::read_to_string(system.path(&format!("{api}.internal"))).unwrap();
    let executor = Executor::open(internal_of("api-2").trim()).await;
    one.app(&[("x", "x")]).await;
    executor.begins_to_wait().await;

    well_into_a_minute().await;
    // The scheduler, which knows of no schedule yet, hears of one that api-1 takes; api-2 hears of the Task that it makes.
    let job = pb::Job {
        app: "spaces/s/apps/a".into(),
        template: Some(pb::TaskTemplate { command: "true".into(), ..Default::default() }),
        ..Default::default()
    };
    let request = pb::CreateJobRequest {
        parent: "spaces/s".into(),
        job_id: "j".into(),
        job: Some(job),
        schedule: Some(pb::Schedule { cron: "* * * * *".into(), ..Default::default() }),
    };
    one.jobs.clone().create_job(request).await.unwrap();
    let made = executor.rung().await;
    assert!(matches!(&made.work, Some(Work::Launch(launch)) if launch.app == "a"), "{made:?}");
    let pause = pb::PauseJobRequest { name: "spaces/s/jobs/j".into(), ..Default::default() };
    one.jobs.clone().pause_job(pause).await.unwrap();

    // It ends, and is deleted through api-1: of that no event tells.
    executor.reports(&made, Observed::Made(internal::RunMade::default())).await;
    executor.reports(&made, Observed::Started(internal::RunStarted { time: now() })).await;
    let ended = internal::RunEnded {
        cause: internal::EndCause::Natural.into(),
        exit_code: Some(0),
        start_time: now(),
        end_time: now(),
        ..Default::default()
    };
    executor.reports(&made, Observed::Ended(ended)).await;
    executor.begins_to_wait().await;
    let waits = executor.rung();
    let deleted = async {
        let task = one.over("spaces/s/apps/a/tasks/1").await;
        let request = pb::DeleteTaskRequest { name: task.name, ..Default::default() };
        one.tasks.clone().delete_task(request).await.unwrap();
    };
    let (removal, ()) = tokio::join!(waits, deleted);
    assert_eq!((removal.task_uid.as_str(), removal.attempt), (made.task_uid.as_str(), made.attempt));
    assert!(matches!(&removal.work, Some(Work::Remove(run)) if run.run_uid == "run"), "{removal:?}");
    executor.reports(&removal, Observed::Removed(internal::RunRemoved {})).await;
}
