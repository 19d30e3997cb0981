//! Quotas of a Space as its users meet them: what is refused and why, what waits, and what goes on by itself.

use taskplane_proto::v1::{self as pb, TaskState};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::client::{Client, SPACE, archive, archive_source, reason, spec, task};
use crate::jobs;
use crate::server::{Options, Server, within};
use crate::terminal::Terminal;

/// Sets one part of the quota of Space `s`.
async fn quota(client: &Client, path: &str, quota: pb::SpaceQuota) {
    let space = pb::Space { name: SPACE.into(), quota: Some(quota), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec![format!("quota.{path}")] });
    client.spaces.clone().update_space(pb::UpdateSpaceRequest { space: Some(space), update_mask }).await.unwrap();
}

async fn running_tasks(client: &Client, running_tasks: i32) {
    quota(client, "running_tasks", pb::SpaceQuota { running_tasks, ..Default::default() }).await;
}

async fn usage(client: &Client) -> pb::SpaceUsage {
    let request = pb::GetSpaceRequest { name: SPACE.into() };
    client.spaces.clone().get_space(request).await.unwrap().into_inner().usage.unwrap()
}

/// A command that ends when the test wants it to.
fn until(server: &Server, file: &str) -> String {
    format!("until [ -e {} ]; do sleep 0.02; done", server.path(file).display())
}

#[tokio::test]
async fn a_task_beyond_the_live_quota_is_refused_with_what_to_do() {
    let terminal = Terminal::with_app().await;
    let (server, client) = (&terminal.server, terminal.server.client());
    terminal.ok(&["update-space", "s", "--live-tasks", "2"]);
    let first = client.run_task(pb::RunTaskRequest { request_id: "once".into(), ..task(&until(server, "go")) });
    let first = first.await.unwrap();
    let second = client.run(&until(server, "never")).await;
    let refused = client.run_task(task("true")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "LIVE_TASKS_QUOTA"));
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    let said = "spaces/s has as many live Tasks as its quota allows (2): wait until some are over, or raise its \
                quota.live_tasks";
    assert_eq!(refused.message(), said);
    let (code, line) = terminal.refusal(&["run-task", "a", "--command", "true"]);
    assert_eq!((code, line), (1, format!("taskplane: {said}; try again in 5s")));
    let shown = terminal.ok(&["space", "s"]);
    assert!(shown.lines().any(|line| line.starts_with("Live tasks:") && line.ends_with(" 2 of 2")), "{shown}");

    let again = pb::RunTaskRequest { request_id: "once".into(), ..task(&until(server, "go")) };
    assert_eq!(client.run_task(again).await.unwrap().uid, first.uid, "it has its place");
    std::fs::write(server.path("go"), "").unwrap();
    client.over(&first.name).await;
    let third = client.run("true").await;
    assert_eq!(third.id, 3, "what was refused has taken no number");
    client.over(&third.name).await;
    client.cancel(&second.name).await;
    client.over(&second.name).await;
}

#[tokio::test]
async fn twenty_tasks_run_one_after_the_other_without_waiting_for_a_look() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    running_tasks(&client, 1).await;
    let lock = server.path("lock");
    let mut tasks = Vec::new();
    for _ in 0..20 {
        // Fails when another one is there.
        tasks.push(client.run(&format!("mkdir {0} && sleep 0.05 && rmdir {0}", lock.display())).await);
    }
    for task in tasks {
        let over = client.over(&task.name).await;
        assert_eq!(over.state(), TaskState::Succeeded, "{} ran beside another one", task.name);
    }
}

#[tokio::test]
async fn what_the_running_quota_holds_back_waits_and_goes_on_when_it_is_raised() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    running_tasks(&client, 1).await;
    let first = client.run(&until(&server, "never")).await;
    client.running(&first.name).await;
    let second = client.run(&until(&server, "go")).await;
    let third = client.run("true").await;
    assert_eq!(usage(&client).await, pb::SpaceUsage { live_tasks: 3, running_tasks: 1, waiting_tasks: 2 });
    assert_eq!(client.get(&second.name).await.state(), TaskState::Pending);
    let why = client.tasks.clone().explain_task(pb::ExplainTaskRequest { name: second.name.clone() }).await.unwrap();
    let why = why.into_inner().explanations;
    assert_eq!(why[0].cause(), pb::Cause::HeldByRunningQuota);
    assert_eq!(why[0].message, "1 Task of its Space runs, and the Space's quota allows no more");
    assert_eq!(client.get(&second.name).await.waiting_cause(), pb::Cause::HeldByRunningQuota);
    let request = pb::ListTasksRequest { parent: "spaces/s/apps/a".into(), ..Default::default() };
    let listed = client.tasks.clone().list_tasks(request).await.unwrap().into_inner().tasks;
    let causes: Vec<_> = listed.iter().map(pb::Task::waiting_cause).collect();
    assert_eq!(causes, [pb::Cause::HeldByRunningQuota, pb::Cause::HeldByRunningQuota, pb::Cause::Unspecified]);

    running_tasks(&client, 2).await;
    client.running(&second.name).await;
    assert_eq!(client.get(&third.name).await.state(), TaskState::Pending);
    std::fs::write(server.path("go"), "").unwrap();
    client.over(&third.name).await;
    client.cancel(&first.name).await;
    client.over(&first.name).await;
    assert_eq!(usage(&client).await, pb::SpaceUsage::default());
}

#[tokio::test]
async fn a_tick_without_room_is_shown_as_held_and_fires_when_there_is_some() {
    let Terminal { server, home } = Terminal::with_app().await;
    let client = server.client();
    running_tasks(&client, 1).await;
    quota(&client, "waiting_tasks", pb::SpaceQuota { waiting_tasks: 1, ..Default::default() }).await;
    jobs::create(&client, jobs::job("true"), Some("* * * * *")).await;
    // One runs and three wait; the restart ends what runs, and the next one runs.
    for _ in 0..4 {
        client.run("sleep 600").await;
    }
    client.reaches("spaces/s/apps/a/tasks/1", |task| task.state() == TaskState::Running).await;
    let ahead = std::time::Duration::from_secs(120);
    let server = server.restarted(Options { ahead, ..Default::default() }).await;
    let terminal = Terminal { server, home };
    let client = terminal.server.client();
    terminal.ok(&["target", "-s", "s", "--api", &terminal.server.address]);
    let held = within(async {
        loop {
            match jobs::get(&client).await.schedules.remove(0) {
                pb::Schedule { held_tick: Some(held), next_tick_time, .. } => {
                    assert_eq!(held.retry_time, next_tick_time);
                    return held;
                }
                _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    assert!(held.message.ends_with("and the Space's quota of waiting Tasks allows no more"), "{}", held.message);
    let tick = held.tick_time.unwrap();
    assert!(tick.seconds % 60 == 0 && tick.seconds < held.retry_time.unwrap().seconds, "{tick:?}");
    let shown = terminal.ok(&["job", "j"]);
    let line = shown.lines().find(|line| line.starts_with("Held tick:")).unwrap();
    assert!(line.contains(&held.message), "{shown}");
    assert!(terminal.ok(&["jobs"]).contains("Held"));
    assert!(terminal.ok(&["tasks", "a"]).contains("Pending (HeldByRunningQuota)"));
    terminal.ok(&["update-space", "s", "--waiting-tasks", "10"]);
    within(async {
        while jobs::ledger(&client).await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(jobs::get(&client).await.schedules[0].held_tick.is_none());
}

#[tokio::test]
async fn the_task_of_another_space_runs_before_three_hundred_that_came_first() {
    let args = vec!["--capacity".into(), "1".into()];
    let server = Server::start_with(Options { args, ..Default::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let blocker = client.run(&until(&server, "go")).await;
    client.running(&blocker.name).await;
    let hog = futures::future::join_all((0..300).map(|_| client.run("true"))).await;
    client.space("t").await;
    let app = pb::PushAppSpec { parent: "spaces/t".into(), ..spec("a", archive_source()) };
    client.push(app, archive(&[("a", "")])).await.unwrap();
    let victim =
        client.run_task(pb::RunTaskRequest { parent: "spaces/t/apps/a".into(), ..task("true") }).await.unwrap();
    std::fs::write(server.path("go"), "").unwrap();
    let start = |task: pb::Task| task.start_time.map(|at| (at.seconds, at.nanos));
    let of_victim = start(client.over(&victim.name).await).unwrap();
    let hog = futures::future::join_all(hog.iter().map(|task| client.get(&task.name))).await;
    let earlier = hog.into_iter().filter_map(start).filter(|start| *start < of_victim).count();
    // One may have been on its way already.
    assert!(earlier <= 1, "{earlier} of the other Space came first");
}
