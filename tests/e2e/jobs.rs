//! Jobs: made, changed, run when asked, deleted with all they started.

use std::time::Duration;

use taskplane_proto::v1::{self as pb, ConcurrencyPolicy, JobState, RunOutcome, ScheduleState, TaskState};
use tonic::Code;

use crate::client::{Client, env, reason, violations};
use crate::schedules::before_a_minute;
use crate::server::{Options, Server, within};

pub const JOB: &str = "spaces/s/jobs/j";

pub async fn create(client: &Client, job: pb::Job, cron: Option<&str>) -> pb::Job {
    let schedule = cron.map(|cron| pb::Schedule { cron: cron.into(), ..Default::default() });
    let request = pb::CreateJobRequest { parent: "spaces/s".into(), job_id: "j".into(), job: Some(job), schedule };
    client.jobs.clone().create_job(request).await.unwrap().into_inner()
}

pub fn job(command: &str) -> pb::Job {
    let template = pb::TaskTemplate { command: command.into(), ..Default::default() };
    pb::Job { app: "spaces/s/apps/a".into(), template: Some(template), ..Default::default() }
}

pub async fn get(client: &Client) -> pb::Job {
    client.jobs.clone().get_job(pb::GetJobRequest { name: JOB.into() }).await.unwrap().into_inner()
}

pub async fn run(client: &Client) -> pb::Task {
    let request = pb::RunJobRequest { name: JOB.into(), ..Default::default() };
    client.jobs.clone().run_job(request).await.unwrap().into_inner()
}

/// Newest first.
pub async fn ledger(client: &Client) -> Vec<pb::JobRun> {
    let (mut runs, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListJobRunsRequest { parent: JOB.into(), page_size: 3, page_token };
        let page = client.jobs.clone().list_job_runs(request).await.unwrap().into_inner();
        runs.extend(page.runs);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return runs;
        }
    }
}

#[tokio::test]
async fn a_job_runs_its_template_over_its_app_and_a_run_its_own_over_both() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let template = pb::TaskTemplate {
        command: "echo $A $B".into(),
        env: env(&[("A", "job"), ("B", "job")]),
        ..Default::default()
    };
    let made = create(&client, pb::Job { template: Some(template), ..job("") }, None).await;
    assert_eq!((made.state(), made.concurrency_policy()), (JobState::Active, ConcurrencyPolicy::Always));
    assert_eq!(made.template.unwrap().env_names, ["A", "B"]);

    let request = pb::RunJobRequest {
        name: JOB.into(),
        env: env(&[("B", "run")]),
        request_id: "once".into(),
        ..Default::default()
    };
    let first = client.jobs.clone().run_job(request.clone()).await.unwrap().into_inner();
    let again = client.jobs.clone().run_job(request).await.unwrap().into_inner();
    assert_eq!(first.uid, again.uid);
    client.over(&first.name).await;
    assert_eq!(client.log(&first.name).await, "job run\n");
    assert_eq!((first.job.as_str(), first.schedule.as_str()), (JOB, ""));
    let runs = ledger(&client).await;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].outcome(), &runs[0].task, runs[0].tick_time), (RunOutcome::Started, &first.name, None));
    let request =
        pb::ListTasksRequest { parent: "spaces/s/apps/-".into(), filter: "job=j".into(), ..Default::default() };
    assert_eq!(client.tasks.clone().list_tasks(request).await.unwrap().into_inner().tasks.len(), 1);
}

#[tokio::test]
async fn a_manual_run_starts_whatever_the_policy() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    create(&client, pb::Job { concurrency_policy: ConcurrencyPolicy::Forbid as i32, ..job("sleep 600") }, None).await;
    let (first, second) = (run(&client).await, run(&client).await);
    client.running(&first.name).await;
    client.running(&second.name).await;
    assert_eq!(get(&client).await.live_task_count, 2);
}

#[tokio::test]
async fn changes_need_the_etag_and_a_no_op_changes_nothing() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let made = create(&client, job("true"), Some("0 0 1 1 *")).await;
    let update = |etag: &str, command: &str| {
        let job = pb::Job { name: JOB.into(), etag: etag.into(), ..job(command) };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["template.command".into()] });
        let mut jobs = client.jobs.clone();
        async move {
            jobs.update_job(pb::UpdateJobRequest { job: Some(job), update_mask }).await.map(tonic::Response::into_inner)
        }
    };
    assert_eq!(violations(update("", "false").await.unwrap_err()), ["etag"]);
    assert_eq!(update(&made.etag, "true").await.unwrap().etag, made.etag);
    let changed = update(&made.etag, "false").await.unwrap();
    assert_eq!(update(&made.etag, "true").await.unwrap_err().code(), Code::Aborted);
    assert_eq!(changed.template.unwrap().command, "false");

    let schedule = made.schedules[0].clone();
    let reschedule = |cron: &str, etag: &str| {
        let schedule = pb::Schedule { cron: cron.into(), etag: etag.into(), ..schedule.clone() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["cron".into()] });
        let mut jobs = client.jobs.clone();
        async move {
            jobs.update_schedule(pb::UpdateScheduleRequest { schedule: Some(schedule), update_mask })
                .await
                .map(tonic::Response::into_inner)
        }
    };
    assert_eq!(reschedule("0 0 1 1 *", &schedule.etag).await.unwrap(), schedule);
    let never = reschedule("0 0 30 2 *", &schedule.etag).await.unwrap();
    assert_eq!((never.state(), never.next_tick_time), (ScheduleState::Never, None));
    assert_eq!(reschedule("@daily", &schedule.etag).await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_schedule_is_said_at_once() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let schedule = pb::Schedule {
        cron: "60 * * * *".into(),
        time_zone: "Europe/Nowhere".into(),
        gap: 9,
        overlap: 9,
        starting_deadline: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        ..Default::default()
    };
    let request = pb::CreateJobRequest {
        parent: "spaces/s".into(),
        job_id: "J".into(),
        job: Some(pb::Job { app: "spaces/other/apps/a".into(), concurrency_policy: 9, ..job(" ") }),
        schedule: Some(schedule.clone()),
    };
    let refused = client.jobs.clone().create_job(request).await.unwrap_err();
    assert_eq!(
        violations(refused),
        [
            "job_id",
            "job.app",
            "job.template.command",
            "job.concurrency_policy",
            "schedule.gap",
            "schedule.overlap",
            "schedule.starting_deadline",
            "schedule.cron",
            "schedule.time_zone",
        ]
    );
    let preview = pb::PreviewScheduleRequest { schedule: Some(schedule), count: 1001, ..Default::default() };
    let refused = client.jobs.clone().preview_schedule(preview).await.unwrap_err();
    assert!(violations(refused).contains(&"count".to_owned()));
    assert_eq!(
        client.jobs.clone().get_job(pb::GetJobRequest { name: JOB.into() }).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn a_preview_over_a_dst_day_shows_what_happens_to_it() {
    let server = Server::start().await;
    let client = server.client();
    let request = pb::PreviewScheduleRequest {
        schedule: Some(pb::Schedule {
            cron: "30 2 * * *".into(),
            time_zone: "Europe/Berlin".into(),
            ..Default::default()
        }),
        count: 3,
        start_time: Some(prost_types::Timestamp { seconds: 1_774_656_000, nanos: 0 }), // 2026-03-28T00:00:00Z
        ..Default::default()
    };
    let preview = client.jobs.clone().preview_schedule(request).await.unwrap().into_inner();
    let locals: Vec<_> = preview.ticks.iter().map(|tick| tick.local_time.as_str()).collect();
    assert_eq!(
        locals,
        [
            "2026-03-28T02:30:00+01:00[Europe/Berlin]",
            "2026-03-29T03:00:00+02:00[Europe/Berlin]",
            "2026-03-30T02:30:00+02:00[Europe/Berlin]",
        ]
    );
    assert!(preview.ticks[1].remark.contains("2026-03-29T02:30:00"), "{}", preview.ticks[1].remark);
    assert!(!preview.tzdb_release.is_empty() && preview.description.contains("02:30"), "{preview:?}");
}

#[tokio::test]
async fn deleting_a_job_ends_what_it_started_and_keeps_its_ledger() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let pids = server.path("pids");
    // Would take its time if it were asked.
    let stubborn = format!("trap '' TERM; echo $$ >>{}; while :; do sleep 1; done", pids.display());
    let made = create(&client, job(&stubborn), Some("0 0 1 1 *")).await;
    let (running, other) = (run(&client).await, client.run("sleep 600").await);
    client.running(&running.name).await;
    client.running(&other.name).await;
    let delete = |etag: &str| {
        let request = pb::DeleteJobRequest { name: JOB.into(), etag: etag.into(), grace: None };
        let mut jobs = client.jobs.clone();
        async move { jobs.delete_job(request).await.map(tonic::Response::into_inner) }
    };
    assert_eq!(violations(delete("").await.unwrap_err()), ["etag"]);
    let app =
        client.apps.clone().get_app(pb::GetAppRequest { name: "spaces/s/apps/a".into() }).await.unwrap().into_inner();
    let request = pb::DeleteAppRequest { name: app.name, etag: app.etag, force: false };
    assert_eq!(reason(&client.apps.clone().delete_app(request).await.unwrap_err()), "IN_USE");

    assert_eq!(delete(&made.etag).await.unwrap().state(), JobState::Deleting);
    within(async {
        while client.jobs.clone().get_job(pb::GetJobRequest { name: JOB.into() }).await.is_ok() {
            let refused =
                client.jobs.clone().run_job(pb::RunJobRequest { name: JOB.into(), ..Default::default() }).await;
            assert!(refused.is_err(), "a Job that is being deleted ran");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for pid in std::fs::read_to_string(&pids).unwrap().lines() {
        assert!(!std::path::Path::new("/proc").join(pid).exists(), "process {pid} outlived its Job");
    }
    let gone = client
        .tasks
        .clone()
        .get_task(pb::GetTaskRequest { name: running.name, ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    assert_eq!(client.get(&other.name).await.state(), TaskState::Running, "a Task of its own was ended too");
    assert_eq!(ledger(&client).await.len(), 1, "the ledger stays");
    assert_eq!(delete(&made.etag).await.unwrap_err().code(), Code::NotFound);
    create(&client, job("true"), None).await;
}

#[tokio::test]
async fn a_deletion_goes_on_after_a_crash() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let made = create(&client, job("sleep 600"), None).await;
    let started = run(&client).await;
    client.running(&started.name).await;
    let server = server
        .restarted(Options { failpoints: Some("store::job_commit::after_commit".into()), ..Options::default() })
        .await;
    let mut server = server;
    let client = server.client();
    let request = pb::DeleteJobRequest { name: JOB.into(), etag: made.etag, grace: None };
    assert!(client.jobs.clone().delete_job(request).await.is_err(), "the answer was cut off by the kill");
    server.ended().await;
    let server = server.restarted(Options::default()).await;
    let client = server.client();
    within(async {
        while client.jobs.clone().get_job(pb::GetJobRequest { name: JOB.into() }).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_deletion_that_meets_a_tick_and_runs_leaves_no_task_no_process_and_no_tick() {
    let options = before_a_minute(Duration::from_secs(15), Duration::ZERO);
    let holding = Some("store::ticks_pass::before_commit!hold".into());
    let server = Server::start_with(Options { failpoints: holding, ..options }).await;
    let (client, held, pids) = (server.client(), server.path("held"), server.path("pids"));
    client.app(&[("a", "")]).await;
    let stubborn = format!("trap '' TERM; echo $$ >>{}; while :; do sleep 1; done", pids.display());
    let made = create(&client, job(&stubborn), Some("* * * * *")).await;
    within(async {
        while !held.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // The tick is being made; the runs and the deletion are asked for meanwhile.
    let run = || {
        let mut jobs = client.jobs.clone();
        async move { jobs.run_job(pb::RunJobRequest { name: JOB.into(), ..Default::default() }).await }
    };
    let delete = async || loop {
        let request = pb::DeleteJobRequest { name: JOB.into(), etag: made.etag.clone(), grace: None };
        match client.jobs.clone().delete_job(request).await {
            // The others were faster each time.
            Err(status) if status.code() == Code::Aborted => {}
            answer => return answer,
        }
    };
    let go_on = async { std::fs::remove_file(&held).unwrap() };
    let (deleted, _, ()) = tokio::join!(delete(), futures::future::join_all((0..20).map(|_| run())), go_on);
    deleted.unwrap();
    within(async {
        while client.jobs.clone().get_job(pb::GetJobRequest { name: JOB.into() }).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let runs = ledger(&client).await;
    assert!(runs.iter().any(|run| run.tick_time.is_some()), "the tick was made before the deletion");
    let list = pb::ListTasksRequest { parent: "spaces/s/apps/a".into(), ..Default::default() };
    assert!(client.tasks.clone().list_tasks(list).await.unwrap().into_inner().tasks.is_empty());
    for pid in std::fs::read_to_string(&pids).unwrap_or_default().lines() {
        assert!(!std::path::Path::new("/proc").join(pid).exists(), "process {pid} outlived its Job");
    }
    // Minutes later there is nobody left to tick.
    let ahead = Duration::from_secs(240);
    let server = server.restarted(Options { ahead, ..Options::default() }).await;
    let client = server.client();
    client.over(&client.run("true").await.name).await;
    assert_eq!(ledger(&client).await.len(), runs.len(), "it ticked after it was gone");
}
