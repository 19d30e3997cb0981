//! How Tasks end, and what they find when they begin.

use taskplane_proto::v1::{self as pb, Reason, ReasonClass, TaskState};

use crate::client::{archive, archive_source, env, spec, task};
use crate::server::{Options, Server};

#[tokio::test]
async fn every_kind_of_end_is_told_as_what_it_was() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let limited = |command: &str| pb::RunTaskRequest {
        timeout: Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 }),
        ..task(command)
    };
    for (request, state, reason, code, signal) in [
        (task("true"), TaskState::Succeeded, Reason::Unspecified, Some(0), None),
        (task("exit 3"), TaskState::Failed, Reason::ExitCode, Some(3), None),
        (task("no-such-command"), TaskState::Failed, Reason::ExitCode, Some(127), None),
        (task("kill -SEGV $$"), TaskState::Failed, Reason::Signalled, None, Some(11)),
        (limited("sleep 600"), TaskState::Failed, Reason::TimedOut, None, Some(15)),
        (limited("trap '' TERM; while :; do sleep 1; done"), TaskState::Failed, Reason::TimedOut, None, Some(9)),
    ] {
        let command = request.command.clone();
        let accepted = client.run_task(request).await.unwrap();
        let over = client.over(&accepted.name).await;
        let seen = (over.state(), over.reason(), over.exit_code, over.signal);
        assert_eq!(seen, (state, reason, code, signal), "{command}: {}", over.message);
        assert!(over.start_time.is_some() && over.end_time.is_some());
        assert_eq!(over.attempts.len(), 1);
    }
}

#[tokio::test]
async fn a_task_sees_its_own_environment_and_nothing_of_the_servers() {
    let server = Server::start().await;
    let client = server.client();
    let space = pb::Space { env: env(&[("A", "space"), ("B", "space"), ("C", "space")]), ..Default::default() };
    client
        .spaces
        .clone()
        .create_space(pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) })
        .await
        .unwrap();
    let app = pb::PushAppSpec { env: env(&[("B", "app"), ("C", "app")]), ..spec("a", archive_source()) };
    client.push(app, archive(&[("a", "")])).await.unwrap();
    let run = pb::RunTaskRequest {
        env: env(&[("C", "task")]),
        resources: Some(pb::Resources { memory: "256M".into(), ..Default::default() }),
        ..task("env")
    };
    let run = client.run_task(run).await.unwrap();
    client.over(&run.name).await;
    let log = client.log(&run.name).await;
    let has = |line: &str| log.lines().any(|found| found == line);
    assert!(has("A=space") && has("B=app") && has("C=task"), "{log}");
    assert!(
        has("MEMORY_LIMIT=256M") && log.contains("VCAP_APPLICATION={") && log.contains("CF_INSTANCE_GUID="),
        "{log}"
    );
    assert!(!log.contains("CANARY_OF_THE_SERVER"), "{log}");
}

#[tokio::test]
async fn each_task_works_on_a_copy_of_its_own() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("dir/file", "as pushed\n")]).await;
    for _ in 0..2 {
        assert_eq!(client.output("cat dir/file; echo changed >dir/file; ls").await, "as pushed\ndir\n");
    }
}

#[tokio::test]
async fn a_command_arrives_as_it_was_given() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let command = "printf '%s\\n' '$(params.x)' '$$(HOME)' \"a'b\" '-c' 'tab\there'\nprintf 'second line\\n'";
    assert_eq!(client.output(command).await, "$(params.x)\n$$(HOME)\na'b\n-c\ntab\there\nsecond line\n");
}

#[tokio::test]
async fn nothing_survives_its_task() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let pids = server.path("pids");
    let daemon = format!(
        "sh -c 'echo $$ >>{0}; exec sleep 600' & setsid sh -c 'echo $$ >>{0}; exec sleep 600' & (setsid sh -c 'trap \"\" TERM; echo $$ >>{0}; sleep 600' &) & ",
        pids.display()
    );
    let command = format!("{daemon} until [ \"$(wc -l <{})\" = 3 ]; do sleep 0.02; done", pids.display());
    let run = client.run(&command).await;
    assert_eq!(client.over(&run.name).await.state(), TaskState::Succeeded);
    for pid in std::fs::read_to_string(pids).unwrap().lines() {
        assert!(!std::path::Path::new("/proc").join(pid).exists(), "process {pid} survived its Task");
    }
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_only_where_the_policy_says_so() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let ledger = server.path("ledger");
    let policy = |class: ReasonClass| pb::RetryPolicy {
        max_attempts: 3,
        backoff: Some(prost_types::Duration { seconds: 0, nanos: 10_000_000 }),
        retry_on: vec![class as i32],
        retry_unknown: false,
    };
    let third_time_lucky = format!("echo x >>{0}; [ \"$(wc -l <{0})\" = 3 ]", ledger.display());
    let retried = pb::RunTaskRequest { retry_policy: Some(policy(ReasonClass::User)), ..task(&third_time_lucky) };
    let retried = client.run_task(retried).await.unwrap();
    let over = client.over(&retried.name).await;
    assert_eq!((over.state(), over.attempt, over.attempts.len()), (TaskState::Succeeded, 3, 3));
    assert_eq!(over.attempts[0].reason(), Reason::ExitCode);

    let not = pb::RunTaskRequest { retry_policy: Some(policy(ReasonClass::Infrastructure)), ..task("exit 1") };
    let not = client.run_task(not).await.unwrap();
    assert_eq!(client.over(&not.name).await.attempts.len(), 1);
}

#[tokio::test]
async fn a_full_executor_lets_tasks_wait() {
    let server =
        Server::start_with(Options { args: vec!["--capacity".into(), "2".into()], ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let ledger = server.path("ledger");
    let command = format!("echo + >>{0}; sleep 0.05; echo - >>{0}", ledger.display());
    let mut names = Vec::new();
    for _ in 0..10 {
        names.push(client.run(&command).await.name);
    }
    for name in names {
        assert_eq!(client.over(&name).await.state(), TaskState::Succeeded);
    }
    let mut running = 0;
    for line in std::fs::read_to_string(ledger).unwrap().lines() {
        running += if line == "+" { 1 } else { -1 };
        assert!(running <= 2, "more than two ran at once");
    }
}

#[tokio::test]
async fn a_stop_ends_what_runs_and_says_so_after_the_restart() {
    let mut server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run("sleep 600").await;
    client.running(&run.name).await;
    assert!(server.stop().await, "a stop that goes well ends with code 0");
    let server = server.restarted(Options::default()).await;
    let over = server.client().get(&run.name).await;
    assert_eq!((over.state(), over.reason()), (TaskState::Failed, Reason::Lost), "{}", over.message);
}
