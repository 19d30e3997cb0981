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
    client.space("s").await;
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

#[tokio::test]
async fn a_space_goes_by_force_through_a_crash_at_every_step() {
    let options = |point: &str| Options { failpoints: Some(point.to_owned()), ..Options::default() };
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let pids = server.path("pids");
    let command = format!("echo $$ >>{}; sleep 600", pids.display());
    a_job(&client, &command).await;
    client.over(&client.run("echo done").await.name).await;
    let job = pb::RunJobRequest { name: "spaces/s/jobs/j".into(), ..Default::default() };
    for _ in 0..2 {
        client.jobs.clone().run_job(job.clone()).await.unwrap();
        client.running(&client.run(&command).await.name).await;
    }
    let mut server = server.restarted(options("store::space_update::after_commit")).await;
    // What lived was lost with the server that ran it; there is to be something live again.
    let client = server.client();
    for _ in 0..3 {
        client.running(&client.run(&command).await.name).await;
        client.jobs.clone().run_job(job.clone()).await.unwrap();
    }
    let request = pb::DeleteSpaceRequest { name: "spaces/s".into(), etag: String::new(), force: true };
    assert!(client.spaces.clone().delete_space(request).await.is_err(), "the answer was cut off by the kill");
    server.ended().await;
    for step in [
        "space_apps_delete",
        "app_jobs_delete",
        "removal_mark",
        "removals_purge",
        "job_remove",
        "app_remove",
        "space_remove",
    ] {
        for moment in ["before_commit", "after_commit"] {
            server = server.crashed(options(&format!("store::{step}::{moment}"))).await;
        }
    }
    let server = server.restarted(Options::default()).await;
    let client = server.client();
    gone(async || space(&client).await).await;
    are_gone(&pids);
    let ends = ends(&client).await;
    assert!(ends.values().all(|count| *count == 1), "{ends:?}");
    let tasks = ends.keys().filter(|subject| subject.contains("/tasks/")).count();
    assert_eq!((ends.len(), tasks), (11 + 3, 11), "{ends:?}");
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
