//! Deletion by force: of Tasks, Apps and Spaces, and through a crash at each of its steps.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use taskplane_proto::v1 as pb;
use taskplane_proto::v1::TaskState;
use tonic::Code;

use crate::client::{Client, archive, archive_source, reason, spec};
use crate::server::{Options, Server, within};

async fn space(client: &Client) -> Result<pb::Space, tonic::Status> {
    client
        .spaces
        .clone()
        .get_space(pb::GetSpaceRequest { name: "spaces/s".into() })
        .await
        .map(|found| found.into_inner())
}

async fn app(client: &Client) -> Result<pb::App, tonic::Status> {
    client.apps.clone().get_app(pb::GetAppRequest { name: "spaces/s/apps/a".into() }).await.map(|app| app.into_inner())
}

async fn a_job(client: &Client, command: &str) {
    let template = pb::TaskTemplate { command: command.into(), ..Default::default() };
    let job = pb::Job { app: "spaces/s/apps/a".into(), template: Some(template), ..Default::default() };
    let schedule = pb::Schedule { cron: "0 0 1 1 *".into(), ..Default::default() };
    let request = pb::CreateJobRequest {
        parent: "spaces/s".into(),
        job_id: "j".into(),
        job: Some(job),
        schedule: Some(schedule),
    };
    client.jobs.clone().create_job(request).await.unwrap();
}

async fn gone<T>(mut look: impl AsyncFnMut() -> Result<T, tonic::Status>) {
    within(async {
        loop {
            match look().await {
                Err(status) if status.code() == Code::NotFound => return,
                Err(status) => panic!("{status}"),
                Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
}

fn are_gone(pids: &Path) {
    for pid in std::fs::read_to_string(pids).unwrap_or_default().lines() {
        assert!(!Path::new("/proc").join(pid).exists(), "process {pid} outlived what it belonged to");
    }
}

/// How each thing of the Space ended: the events of a Space of the same name go on behind those of the one before.
async fn ends(client: &Client) -> BTreeMap<String, u32> {
    let mut ends = BTreeMap::new();
    let mut request = pb::ListEventsRequest { parent: "spaces/s".into(), ..Default::default() };
    loop {
        let page = client.events.clone().list_events(request.clone()).await.unwrap().into_inner();
        for event in page.events.iter().filter(|event| ["removed", "deleted"].contains(&event.fact.as_str())) {
            *ends.entry(event.subject.clone()).or_default() += 1;
        }
        if page.next_page_token.is_empty() {
            return ends;
        }
        request.page_token = page.next_page_token;
    }
}

/// Dies at this point.
fn dying_at(point: &str) -> Options {
    Options { failpoints: Some(point.to_owned()), ..Options::default() }
}

/// Runs one Task at a time, so that others wait, also over a restart.
fn one_by_one(options: Options) -> Options {
    Options { args: vec!["--capacity".into(), "1".into()], ..options }
}

/// Killed at each of these steps in turn, right before it is committed and right after, and started again.
async fn through(mut server: Server, steps: &[&str], options: fn(Options) -> Options) -> Server {
    for step in steps {
        for moment in ["before_commit", "after_commit"] {
            server = server.crashed(options(dying_at(&format!("store::{step}::{moment}")))).await;
        }
    }
    server.restarted(Options::default()).await
}

async fn run_job(client: &Client) -> pb::Task {
    let request = pb::RunJobRequest { name: "spaces/s/jobs/j".into(), ..Default::default() };
    client.jobs.clone().run_job(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_space_goes_by_force_through_a_crash_at_every_step() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let pids = server.path("pids");
    let command = format!("echo $$ >>{}; sleep 600", pids.display());
    a_job(&client, &command).await;
    client.over(&client.run("echo done").await.name).await;
    for _ in 0..2 {
        run_job(&client).await;
        client.running(&client.run(&command).await.name).await;
    }
    let mut server = server.restarted(dying_at("store::space_update::after_commit")).await;
    // What lived was lost with the server that ran it; there is to be something live again.
    let client = server.client();
    for _ in 0..3 {
        client.running(&client.run(&command).await.name).await;
        run_job(&client).await;
    }
    let request = pb::DeleteSpaceRequest { name: "spaces/s".into(), etag: String::new(), force: true };
    assert!(client.spaces.clone().delete_space(request).await.is_err(), "the answer was cut off by the kill");
    server.ended().await;
    let steps = [
        "space_apps_delete",
        "app_jobs_delete",
        "removal_mark",
        "removals_purge",
        "job_remove",
        "app_remove",
        "space_remove",
    ];
    let server = through(server, &steps, |options| options).await;
    let client = server.client();
    gone(async || space(&client).await).await;
    are_gone(&pids);
    client.space("s").await;
    let ends = ends(&client).await;
    assert!(ends.values().all(|count| *count == 1), "{ends:?}");
    let tasks = ends.keys().filter(|subject| subject.contains("/tasks/")).count();
    assert_eq!((ends.len(), tasks), (11 + 3, 11), "{ends:?}");
}

#[tokio::test]
async fn an_app_goes_by_force_through_a_crash_at_every_step() {
    let server = Server::start_with(one_by_one(Options::default())).await;
    let client = server.client();
    let made = client.app(&[("a", "")]).await;
    client.push(spec("b", archive_source()), archive(&[("a", "")])).await.unwrap();
    let pids = server.path("pids");
    let command = format!("echo $$ >>{}; sleep 600", pids.display());
    a_job(&client, &command).await;
    client.over(&client.run("echo done").await.name).await;
    // One runs, and five wait, which a restart leaves as they are.
    client.running(&client.run(&command).await.name).await;
    for _ in 0..3 {
        client.run(&command).await;
    }
    for _ in 0..2 {
        run_job(&client).await;
    }
    let mut server = server.restarted(one_by_one(dying_at("store::app_delete::after_commit"))).await;
    let client = server.client();
    let etag = app(&client).await.unwrap().etag;
    let request = pb::DeleteAppRequest { name: made.name, etag, force: true };
    assert!(client.apps.clone().delete_app(request).await.is_err(), "the answer was cut off by the kill");
    server.ended().await;
    let steps = ["app_jobs_delete", "tasks_end", "removal_mark", "removals_purge", "job_remove", "app_remove"];
    let server = through(server, &steps, one_by_one).await;
    let client = server.client();
    gone(async || app(&client).await).await;
    are_gone(&pids);
    let ends = ends(&client).await;
    assert!(ends.values().all(|count| *count == 1), "{ends:?}");
    let tasks = ends.keys().filter(|subject| subject.contains("/tasks/")).count();
    assert_eq!((ends.len(), tasks), (7 + 2, 7), "{ends:?}");
    let beside = pb::RunTaskRequest { parent: "spaces/s/apps/b".into(), command: "true".into(), ..Default::default() };
    let beside = client.run_task(beside).await.unwrap();
    assert_eq!(client.over(&beside.name).await.state(), TaskState::Succeeded, "another App is not harmed");
}

#[tokio::test]
async fn a_job_goes_through_a_crash_at_every_step() {
    let server = Server::start_with(one_by_one(Options::default())).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let pids = server.path("pids");
    let command = format!("echo $$ >>{}; sleep 600", pids.display());
    a_job(&client, &command).await;
    // The call itself asks a hundred to end; there are to be others for the reaper.
    for _ in 0..130 {
        run_job(&client).await;
    }
    let mut server = server.restarted(one_by_one(dying_at("store::job_commit::after_commit"))).await;
    let client = server.client();
    let job = async || {
        client
            .jobs
            .clone()
            .get_job(pb::GetJobRequest { name: "spaces/s/jobs/j".into() })
            .await
            .map(|job| job.into_inner())
    };
    let request = pb::DeleteJobRequest { name: "spaces/s/jobs/j".into(), etag: job().await.unwrap().etag, grace: None };
    assert!(client.jobs.clone().delete_job(request).await.is_err(), "the answer was cut off by the kill");
    server.ended().await;
    let steps = ["tasks_end", "removal_mark", "removals_purge", "job_remove"];
    let server = through(server, &steps, one_by_one).await;
    let client = server.client();
    let request = pb::GetJobRequest { name: "spaces/s/jobs/j".into() };
    gone(async || client.jobs.clone().get_job(request.clone()).await).await;
    are_gone(&pids);
    let ends = ends(&client).await;
    assert!(ends.values().all(|count| *count == 1), "{ends:?}");
    let tasks = ends.keys().filter(|subject| subject.contains("/tasks/")).count();
    assert_eq!((ends.len(), tasks), (130 + 1, 130), "{ends:?}");
    assert!(app(&client).await.is_ok(), "its App stays");
    let after = client.run("true").await;
    assert_eq!((after.id, client.over(&after.name).await.state()), (131, TaskState::Succeeded));
}

/// From the call to the last file.
const TASK_STEPS: &[&str] = &["task_delete", "removals_asked", "runs_removed", "removals_purge", "removals_done"];

#[tokio::test]
async fn a_live_task_goes_by_force_whichever_step_a_crash_meets() {
    for step in TASK_STEPS {
        for moment in ["before_commit", "after_commit"] {
            a_live_task_goes(&format!("store::{step}::{moment}")).await;
        }
    }
}

async fn a_live_task_goes(point: &str) {
    let mut server = Server::start_with(dying_at(point)).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let pids = server.path("pids");
    let live = client.run(&format!("echo to be lost; echo $$ >>{}; sleep 600", pids.display())).await;
    client.running(&live.name).await;
    let delete = pb::DeleteTaskRequest { name: live.name.clone(), force: true };
    let asked = client.tasks.clone().delete_task(delete.clone()).await;
    server.ended().await;
    let server = server.restarted(Options::default()).await;
    let client = server.client();
    if asked.is_err() {
        // A caller that was left without an answer asks again; it may be gone already.
        client.tasks.clone().delete_task(delete).await.ok();
    }
    let get = pb::GetTaskRequest { name: live.name.clone(), ..Default::default() };
    gone(async || client.tasks.clone().get_task(get.clone()).await).await;
    are_gone(&pids);
    within(async {
        // Events come into the feed a little behind what they tell of.
        while ends(&client).await.is_empty() || logs(&server) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(ends(&client).await.into_iter().collect::<Vec<_>>(), [(live.name, 1)], "{point}");
    assert_eq!(client.run("true").await.id, 2, "{point}: a number is not given again");
}

/// How many Tasks have left a log.
fn logs(server: &Server) -> usize {
    let Ok(spaces) = std::fs::read_dir(server.path("data/objects/logs")) else { return 0 };
    spaces.map(|space| std::fs::read_dir(space.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn an_app_goes_by_force_and_takes_nothing_in_meanwhile() {
    let server = Server::start().await;
    let client = server.client();
    let made = client.app(&[("a", "")]).await;
    client.push(spec("b", archive_source()), archive(&[("a", "")])).await.unwrap();
    let beside =
        pb::RunTaskRequest { parent: "spaces/s/apps/b".into(), command: "sleep 600".into(), ..Default::default() };
    let beside = client.tasks.clone().run_task(beside).await.unwrap().into_inner();
    let pids = server.path("pids");
    let stubborn = format!("trap '' TERM; echo $$ >>{}; while :; do sleep 1; done", pids.display());
    a_job(&client, &stubborn).await;
    client.running(&client.run(&stubborn).await.name).await;
    client.running(&beside.name).await;
    let delete = |etag: &str, force| {
        let request = pb::DeleteAppRequest { name: made.name.clone(), etag: etag.into(), force };
        let mut apps = client.apps.clone();
        async move { apps.delete_app(request).await }
    };
    assert_eq!(reason(&delete(&made.etag, false).await.unwrap_err()), "IN_USE");
    assert_eq!(delete("", true).await.unwrap_err().code(), Code::InvalidArgument);
    delete(&made.etag, true).await.unwrap();
    // Asked again while it is going on, or just after.
    if let Err(status) = delete("", false).await {
        assert_eq!(status.code(), Code::NotFound);
    }
    within(async {
        while let Ok(left) = app(&client).await {
            if left.uid != made.uid {
                break;
            }
            assert_eq!(left.standing(), pb::Standing::Deleting);
            assert!(left.remains.is_some());
            let run = pb::RunTaskRequest { parent: made.name.clone(), command: "true".into(), ..Default::default() };
            let refused = client.tasks.clone().run_task(run).await.unwrap_err();
            assert!(["APP_DELETING", "NOT_FOUND"].contains(&reason(&refused).as_str()), "{refused}");
            // Accepted only as another App, once this one is gone.
            match client.push(spec("a", archive_source()), archive(&[("a", "")])).await {
                Err(refused) => assert_eq!(reason(&refused), "APP_DELETING"),
                Ok(new) => assert_ne!(new.uid, made.uid),
            }
        }
    })
    .await;
    are_gone(&pids);
    assert_eq!(client.get(&beside.name).await.state(), TaskState::Running, "a task of another app was ended");
}

#[tokio::test]
async fn a_task_goes_with_its_log_and_a_live_one_only_by_force() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let done = client.run("echo something to keep").await;
    client.over(&done.name).await;
    let live = client.run("sleep 600").await;
    client.running(&live.name).await;
    let delete = async |name: &str, force| {
        client.tasks.clone().delete_task(pb::DeleteTaskRequest { name: name.into(), force }).await
    };
    assert_eq!(reason(&delete(&live.name, false).await.unwrap_err()), "TASK_LIVE");
    for (name, force) in [(&done.name, false), (&live.name, true)] {
        delete(name, force).await.unwrap();
        if let Err(status) = delete(name, force).await {
            assert_eq!(status.code(), Code::NotFound);
        }
        let get = pb::GetTaskRequest { name: name.clone(), ..Default::default() };
        gone(async || client.tasks.clone().get_task(get.clone()).await).await;
    }
    assert_eq!(delete(&done.name, true).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.run("true").await.id, 3, "a number is not given again");
}
