//! Ends that are asked for at the worst moments, executors that fall silent, and Tasks that are given up.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use taskplane_proto::v1::{self as pb, Cause, Reason, StuckReason, TaskState};
use taskplane_testkit::postgres::Postgres;
use tonic::Code;

use crate::client::{Client, archive, archive_source, reason, spec, task, violations};
use crate::server::{Options, Server, within};

/// Where a launch is held while its end is asked for.
const LAUNCH: &[&str] = &[
    "backend::ensure::after_journal",
    "executor::before_made",
    "store::task_report::before_commit@1",
    "store::task_report::after_commit@1",
    "executor::after_made",
    "backend::release::after_go_marker",
    "backend::release::after_go",
    "executor::after_release",
    "executor::before_started",
    "store::task_report::before_commit@2",
    "store::task_report::after_commit@2",
];

/// Where an end that came by itself is held meanwhile.
const END: &[&str] = &[
    "executor::before_over",
    "store::task_report::before_commit@3",
    "store::task_report::after_commit@3",
    "executor::after_over",
];

#[tokio::test]
async fn an_end_that_is_asked_for_at_any_point_of_a_launch_leaves_nothing_running() {
    for point in LAUNCH {
        let (over, ledger) = cancelled_at(point, 3000).await;
        assert_eq!(over.state(), TaskState::Cancelled, "{point}: {}", over.message);
        if ["after_journal", "before_made"].iter().any(|early| point.contains(early)) {
            assert!(!ledger.contains("start"), "{point}: it was PENDING, and started all the same");
        }
    }
}

#[tokio::test]
async fn an_end_that_came_by_itself_is_told_as_what_it_was_wherever_a_cancel_meets_it() {
    for point in END {
        let (over, ledger) = cancelled_at(point, 2).await;
        assert_eq!(over.state(), TaskState::Succeeded, "{point}: {}", over.message);
        assert_eq!(ledger, "start\nbeat\nbeat\nend\n", "{point}");
    }
}

/// The Task as it ended, and what its command had written by then; it has written nothing more.
async fn cancelled_at(point: &str, beats: u32) -> (pb::Task, String) {
    let options = Options { failpoints: Some(format!("{point}!hold")), ..Options::default() };
    let server = Server::start_with(options).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let (ledger, held) = (server.path("ledger"), server.path("held"));
    let write = |what: &str| format!("echo {what} >>{}", ledger.display());
    let beating = format!("while [ $i -lt {beats} ]; do {}; i=$((i+1)); sleep 0.02; done", write("beat"));
    let run = client.run(&format!("{}; i=0; {beating}; {}", write("start"), write("end"))).await;
    appears(&held).await;
    let asking = tokio::spawn({
        let (client, name) = (client.clone(), run.name.clone());
        async move { client.cancel(&name).await }
    });
    // One that is held within a writer's turn keeps others from writing.
    if point.starts_with("store::") {
        std::fs::remove_file(&held).unwrap();
        asking.await.unwrap();
    } else {
        asking.await.unwrap();
        std::fs::remove_file(&held).unwrap();
    }
    let over = client.over(&run.name).await;
    let written = std::fs::read_to_string(&ledger).unwrap_or_default();
    let again = client.cancel(&run.name).await;
    assert_eq!(
        (again.state(), again.etag),
        (over.state(), over.etag.clone()),
        "{point}: a second cancel changed something"
    );
    let after = client.run("sleep 0.2").await;
    assert_eq!(client.over(&after.name).await.state(), TaskState::Succeeded, "{point}: what comes after is not harmed");
    let later = std::fs::read_to_string(&ledger).unwrap_or_default();
    assert_eq!(later, written, "{point}: it ran after its end was readable");
    (over, written)
}

async fn appears(path: &Path) {
    within(async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_not_started_in_time_is_given_up_and_leaves_nothing_running() {
    let server = Server::start_with(Options {
        failpoints: Some("executor::after_made!hold".into()),
        args: vec!["--start-deadline".into(), "1".into()],
        ..Options::default()
    })
    .await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let pid = server.path("pid");
    let run = client.run(&format!("echo $$ >{}; exec sleep 600", pid.display())).await;
    appears(&server.path("held")).await;
    let given_up = client.reaches(&run.name, |task| task.state() == TaskState::Cancelling).await;
    assert!(given_up.start_time.is_none() && !pid.exists(), "it started before its executor let it");
    std::fs::remove_file(server.path("held")).unwrap();
    // The executor may let it start before it hears of that; then it is ended at once.
    let over = client.over(&run.name).await;
    assert_eq!((over.state(), over.reason()), (TaskState::Failed, Reason::StartDeadline), "{}", over.message);
    for pid in std::fs::read_to_string(&pid).unwrap_or_default().lines() {
        assert!(!Path::new("/proc").join(pid).exists(), "it runs after its end was readable");
    }
    let after = client.run("true").await;
    assert_eq!(client.over(&after.name).await.state(), TaskState::Succeeded);
}

#[tokio::test]
async fn a_grace_of_the_callers_is_kept_and_checked() {
    let args = vec!["--grace".into(), "600".into()];
    let server = Server::start_with(Options { args, ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run("trap '' TERM; while :; do sleep 0.02; done").await;
    client.running(&run.name).await;
    let cancel = |grace: Option<prost_types::Duration>| {
        let request = pb::CancelTaskRequest { name: run.name.clone(), grace, ..Default::default() };
        let mut tasks = client.tasks.clone();
        async move { tasks.cancel_task(request).await.map(tonic::Response::into_inner) }
    };
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for bad in [seconds(-1), seconds(3601), Some(prost_types::Duration { seconds: 0, nanos: -5 })] {
        assert_eq!(violations(cancel(bad).await.unwrap_err()), ["grace"]);
    }
    let asked = cancel(seconds(500)).await.unwrap();
    assert_eq!((asked.state(), asked.cancel_grace), (TaskState::Cancelling, seconds(500)));
    let again = cancel(seconds(500)).await.unwrap();
    assert_eq!(again.etag, asked.etag, "asking twice changes nothing");
    assert!(cancel(seconds(0)).await.is_ok(), "a shorter one takes its place");
    assert_eq!(client.over(&run.name).await.state(), TaskState::Cancelled);
}

#[tokio::test]
async fn only_what_is_stuck_in_its_end_can_be_given_up() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run("sleep 600").await;
    client.running(&run.name).await;
    let abandon = |name: &str, etag: &str| {
        let request = pb::AbandonTaskRequest { name: name.into(), etag: etag.into() };
        let mut tasks = client.tasks.clone();
        async move { tasks.abandon_task(request).await.map(tonic::Response::into_inner) }
    };
    let refused = abandon(&run.name, "").await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "NOT_STUCK"));
    client.cancel(&run.name).await;
    client.over(&run.name).await;
    assert_eq!(reason(&abandon(&run.name, "").await.unwrap_err()), "NOT_STUCK");
    assert_eq!(abandon(&run.name, "\"1\"").await.unwrap_err().code(), Code::Aborted);
    assert_eq!(abandon("spaces/s/apps/a/tasks/9", "").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(violations(abandon("spaces/s/apps/a", "").await.unwrap_err()), ["name"]);
}

/// Servers on one PostgreSQL, each with an executor of its own and the first one's keys.
struct Cluster {
    url: String,
    first: Server,
}

impl Cluster {
    async fn start() -> Self {
        let database = tokio::task::spawn_blocking(|| Postgres::shared().create_database());
        let url = database.await.unwrap();
        let first = Server::start_with(Self::options(&url, "a", Duration::ZERO, None)).await;
        Self { url, first }
    }

    fn options(url: &str, executor: &str, ahead: Duration, keys: Option<&Path>) -> Options {
        let mut args: Vec<String> =
            vec!["--database-url".into(), url.into(), "--executor-name".into(), executor.into()];
        if let Some(keys) = keys {
            args.extend(["--secret-key-file".into(), keys.display().to_string()]);
        }
        Options { ahead, args, ..Options::default() }
    }

    async fn another(&self, executor: &str, ahead: Duration) -> Server {
        let keys = self.first.path("data/secret.key");
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Server::start_in(dir, Self::options(&self.url, executor, ahead, Some(&keys))).await
    }

    /// The first one is held up, or goes on.
    fn signal_first(&self, signal: Signal) {
        kill(Pid::from_raw(self.first.pid().cast_signed()), signal).unwrap();
    }
}

async fn explained(client: &Client, name: &str) -> Vec<Cause> {
    let request = pb::ExplainTaskRequest { name: name.into() };
    let answer = client.tasks.clone().explain_task(request).await.unwrap().into_inner();
    answer.explanations.iter().map(pb::Explanation::cause).collect()
}

#[tokio::test]
async fn what_a_silent_executor_ran_is_lost_once_and_the_sleeper_ends_it_when_it_wakes() {
    let mut cluster = Cluster::start().await;
    let client = cluster.first.client();
    client.app(&[("a", "")]).await;
    let beats = cluster.first.path("beats");
    let run = client.run(&format!("while :; do echo x >>{}; sleep 0.02; done", beats.display())).await;
    client.running(&run.name).await;
    let other = cluster.another("b", Duration::ZERO).await;
    let client = other.client();
    cluster.signal_first(Signal::SIGSTOP);

    let lost = client.over(&run.name).await;
    assert_eq!((lost.state(), lost.reason(), lost.attempt), (TaskState::Failed, Reason::Lost, 1));
    cluster.signal_first(Signal::SIGCONT);
    let status = cluster.first.ended().await;
    assert!(!status.success(), "its session is over, which it says with its exit code");
    // Whatever it ran has ended before it was gone.
    let then = std::fs::metadata(&beats).unwrap().len();
    client.push(spec("b", archive_source()), archive(&[("b", "")])).await.unwrap();
    let after = client.run_task(pb::RunTaskRequest { parent: "spaces/s/apps/b".into(), ..task("sleep 0.3") }).await;
    assert_eq!(client.over(&after.unwrap().name).await.state(), TaskState::Succeeded);
    assert_eq!(std::fs::metadata(&beats).unwrap().len(), then, "the sleeper let something live");
    assert_eq!(client.get(&run.name).await.etag, lost.etag, "the sleeper changed something");
}

#[tokio::test]
async fn an_end_that_nobody_confirms_is_forced_then_stuck_and_then_an_operators_to_give_up() {
    let cluster = Cluster::start().await;
    let client = cluster.first.client();
    client.app(&[("a", "")]).await;
    let run = client.run("sleep 600").await;
    client.running(&run.name).await;
    cluster.signal_first(Signal::SIGSTOP);
    // Each lives later than the one before, and not long enough to call anybody silent.
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    {
        let server = cluster.another("b", hour).await;
        let asked = server.client().cancel(&run.name).await;
        assert_eq!((asked.state(), asked.force_time, asked.stuck), (TaskState::Cancelling, None, None));
    }
    {
        let server = cluster.another("c", hour + minute).await;
        let forced = server.client().reaches(&run.name, |task| task.state() == TaskState::Cancelling).await;
        let forced = match forced.force_time {
            Some(_) => forced,
            None => {
                within(async {
                    loop {
                        let task = server.client().get(&run.name).await;
                        if task.force_time.is_some() {
                            return task;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                })
                .await
            }
        };
        assert_eq!((forced.state(), forced.stuck), (TaskState::Cancelling, None));
        let again = server.client().cancel(&run.name).await;
        assert_eq!(again.etag, forced.etag, "a second cancel changes nothing");
    }
    let server = cluster.another("d", hour + 3 * minute).await;
    let client = server.client();
    let stuck = client.get(&run.name).await;
    assert_eq!(stuck.stuck.as_ref().map(pb::Stuck::reason), Some(StuckReason::NotEnding));
    assert_eq!(explained(&client, &run.name).await, [Cause::Stuck, Cause::ExecutorSilent, Cause::Ending]);
    let listed = pb::ListTasksRequest { parent: "spaces/s/apps/a".into(), ..Default::default() };
    let listed = client.tasks.clone().list_tasks(listed).await.unwrap().into_inner();
    assert_eq!(listed.tasks[0].stuck, stuck.stuck);
    let request = pb::AbandonTaskRequest { name: run.name.clone(), etag: stuck.etag };
    let given_up = client.tasks.clone().abandon_task(request).await.unwrap().into_inner();
    assert_eq!((given_up.state(), given_up.reason()), (TaskState::Failed, Reason::Lost));
    cluster.signal_first(Signal::SIGCONT);
}

#[tokio::test]
async fn a_log_that_nobody_is_to_keep_is_gone_and_not_merely_empty() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let (kept, live) = (client.run("echo kept; sleep 600").await, client.run("echo gone; sleep 600").await);
    let over = client.run("echo over").await;
    client.over(&over.name).await;
    for run in [&kept, &live] {
        client.running(&run.name).await;
    }
    client.cancel(&kept.name).await;
    let give_up = |name: &str| pb::CancelTaskRequest { name: name.into(), delete_logs: true, ..Default::default() };
    for run in [&live, &over] {
        let asked = client.tasks.clone().cancel_task(give_up(&run.name)).await.unwrap().into_inner();
        assert!(asked.logs_deleted);
        let etag = client.over(&run.name).await.etag;
        let again = client.tasks.clone().cancel_task(give_up(&run.name)).await.unwrap().into_inner();
        assert_eq!(again.etag, etag, "asking twice changes nothing");
        let request = pb::StreamLogsRequest { name: run.name.clone(), ..Default::default() };
        let refused = client.tasks.clone().stream_logs(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "LOG_DELETED"));
    }
    client.over(&kept.name).await;
    assert_eq!(client.log(&kept.name).await, "kept\n");
    let lines = client.lines(pb::StreamLogsRequest { name: "spaces/s/apps/a".into(), ..Default::default() }).await;
    assert_eq!(lines.iter().map(|line| line.content.as_ref()).collect::<Vec<_>>(), [b"kept"]);
    // And from the disk.
    for run in [&live, &over] {
        let space = client.spaces.clone().get_space(pb::GetSpaceRequest { name: "spaces/s".into() }).await.unwrap();
        let space = space.into_inner().uid;
        let path = server.path("data/objects/logs").join(space).join(&run.uid);
        within(async {
            while std::fs::read_dir(&path)
                .is_ok_and(|mut dir| dir.any(|entry| entry.is_ok_and(|entry| has_chunks(&entry.path()))))
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

fn has_chunks(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut dir| dir.next().is_some())
}
