//! No value of a variable and no credential is anywhere but where it was asked for: strings are planted wherever values can
//! go in, the main things are done, and then everything that came out, and everything that lies on the disk, is searched.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;

use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use taskplane_proto::v1::{self as pb, TaskState};
use taskplane_testkit::postgres::Postgres;

use crate::client::{Client, archive, archive_source, env, spec, task};
use crate::server::{Options, Server, within};
use crate::services::walk;
use crate::terminal::{Terminal, said};

/// Everything that was planted begins so; what follows tells where.
const MARK: &str = "canary7f3a9c";

fn canary(place: &str) -> String {
    format!("{MARK}-{place}")
}

/// All that came out, with where it came from.
#[derive(Default)]
struct Heard(Mutex<Vec<(String, String)>>);

impl Heard {
    fn says(&self, source: &str, text: impl Into<String>) {
        self.0.lock().unwrap().push((source.to_owned(), text.into()));
    }

    fn answer<T: Debug, E: Debug>(&self, source: &str, answer: Result<T, E>) -> Option<T> {
        self.says(source, format!("{answer:?}"));
        answer.ok()
    }
}

/// Where the mark stands in these bytes: as it is, and as databases and encoders write bytes.
fn stands_in(bytes: &[u8]) -> bool {
    let hex: String = MARK.bytes().map(|byte| format!("{byte:02x}")).collect();
    [MARK.as_bytes(), hex.as_bytes(), hex.to_uppercase().as_bytes()]
        .iter()
        .any(|mark| bytes.windows(mark.len()).any(|window| window == *mark))
}

#[tokio::test]
async fn no_secret_is_anywhere_but_where_it_was_asked_for() {
    search(None).await;
}

#[tokio::test]
async fn no_secret_is_anywhere_in_postgres_either() {
    let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
    search(Some(url)).await;
}

#[test]
fn a_mark_is_found_in_each_of_its_forms() {
    assert!(stands_in(format!("x{MARK}x").as_bytes()));
    assert!(stands_in(b"\\x63616E61727937663361396300"));
    assert!(!stands_in(b"canary"));
}

async fn search(database: Option<String>) {
    let mut args = vec!["--log".to_owned(), "debug".to_owned()];
    if let Some(url) = &database {
        args.extend(["--database-url", url, "--log-format", "json"].map(str::to_owned));
    }
    let options = Options { args, ..Options::default() };
    let heard = Heard::default();
    let server = Server::start_with(options.clone()).await;
    plant(&server.client(), &heard).await;
    let terminal = Terminal { server, home: tempfile::tempdir().unwrap() };
    type_in(&terminal, &heard);
    let running = run(&terminal.server.client(), &heard).await;
    look_at_processes(&terminal.server, &heard);

    // As a crash leaves it, and after the restart.
    let Terminal { server, home } = terminal;
    let server = server.restarted(options).await;
    let client = server.client();
    let lost = client.over(&running).await;
    assert_eq!(lost.state(), TaskState::Failed);
    heard.says("a lost Task", format!("{lost:?}"));
    let fine = client.run("echo \"$DATABASE_URL\" | sha256sum | cut -c1-8; test -n \"$SPACE_VAR\"").await;
    assert_eq!(client.over(&fine.name).await.state(), TaskState::Succeeded, "what was planted does not reach Tasks");
    heard.says("its log", client.log(&fine.name).await);
    ask(&client, &heard).await;
    let terminal = Terminal { server, home };
    print(&terminal, &heard);
    heard.says("the server's log", terminal.server.log());

    let mut found: BTreeSet<String> = BTreeSet::new();
    for (source, text) in heard.0.lock().unwrap().iter() {
        found.extend(stands_in(text.as_bytes()).then(|| source.clone()));
    }
    if let Some(url) = database {
        found.extend(tables_with_it(&url).await);
    }
    let Terminal { mut server, home } = terminal;
    assert!(server.stop().await);
    for dir in [server.path("data"), home.path().to_owned()] {
        found.extend(files_with_it(&dir));
    }
    // The two files that it came from.
    found.retain(|place| !place.ends_with("credentials.json"));
    assert!(found.is_empty(), "a secret stands in {found:#?}");
}

async fn plant(client: &Client, heard: &Heard) {
    let space = pb::Space { env: env(&[("SPACE_VAR", &canary("space"))]), ..Default::default() };
    let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) };
    heard.answer("CreateSpace", client.spaces.clone().create_space(request).await).unwrap();
    let push = pb::PushAppSpec { env: env(&[("APP_VAR", &canary("app"))]), ..spec("a", archive_source()) };
    heard.answer("PushApp", client.push(push, archive(&[("a", "")])).await).unwrap();
    let credentials = format!(r#"{{"uri":"postgres://u:{0}@h","nested":{{"list":["{0}"]}}}}"#, canary("credentials"));
    let service = pb::ServiceInstance { credentials, ..Default::default() };
    heard.answer("CreateServiceInstance", client.create_service("db", service).await).unwrap();
    heard.answer("BindService", client.bind_service("spaces/s/services/db", "").await).unwrap();
    let template =
        pb::TaskTemplate { command: "true".into(), env: env(&[("JOB_VAR", &canary("job"))]), ..Default::default() };
    let job = pb::Job { app: "spaces/s/apps/a".into(), template: Some(template), ..Default::default() };
    let schedule = pb::Schedule { cron: "* * * * *".into(), ..Default::default() };
    let request = pb::CreateJobRequest {
        parent: "spaces/s".into(),
        job_id: "j".into(),
        job: Some(job),
        schedule: Some(schedule),
    };
    heard.answer("CreateJob", client.jobs.clone().create_job(request).await).unwrap();
    refused(client, heard).await;
}

/// What is refused must not be repeated either.
async fn refused(client: &Client, heard: &Heard) {
    let value = canary("refused");
    for bad in ["VCAP_SERVICES", "A B", "DATABASE_URL"] {
        let request = pb::RunTaskRequest { env: env(&[(bad, &value)]), ..task("true") };
        assert!(heard.answer("a refused RunTask", client.run_task(request).await).is_none());
    }
    let push = pb::PushAppSpec { env: env(&[("A", &format!("{value}\0"))]), ..spec("a", archive_source()) };
    assert!(heard.answer("a refused PushApp", client.push(push, archive(&[("a", "")])).await).is_none());
    for credentials in [
        value.clone(),
        format!("[\"{value}\"]"),
        format!("{{\"a\": {value}}}"),
        format!("{{\"a\":\"{value}\",\"a\":\"{value}\"}}"),
        format!("{{\"a\":\"{}\"}}", value.repeat(5000)),
        format!("{}\"{value}\"{}", "{\"a\":".repeat(20), "}".repeat(20)),
    ] {
        let service = pb::ServiceInstance { credentials, ..Default::default() };
        assert!(heard.answer("a refused service", client.create_service("bad", service).await).is_none());
    }
}

/// The same through the command line.
fn type_in(terminal: &Terminal, heard: &Heard) {
    let api = terminal.server.address.clone();
    terminal.ok(&["target", "-s", "s", "--api", &api]);
    let file = terminal.file("credentials.json", &format!("{{\"password\": \"{}\"}}", canary("file")));
    let at = format!("@{}", file.display());
    let piped = |words: &[&str], text: &str| {
        let mut child = terminal.command(words).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let said = said(child.wait_with_output().unwrap());
        heard.says(&format!("{words:?}"), format!("{}{}", said.out, said.err));
        said.code
    };
    for words in [
        &["create-user-provided-service", "mq", "-p", &at][..],
        &["update-user-provided-service", "mq", "--plan", "x"],
        &["bind-service", "a", "mq"],
    ] {
        heard.says(&format!("{words:?}"), terminal.ok(words));
    }
    assert_eq!(piped(&["update-user-provided-service", "mq", "-p", "-"], "{\"a\":\"canary7f3a9c-piped\"}"), Some(0));
    assert_ne!(piped(&["update-user-provided-service", "mq", "-p", "-"], "canary7f3a9c no JSON"), Some(0));
    assert_eq!(piped(&["set-env", "a", "TYPED"], "canary7f3a9c-typed\n"), Some(0));
    assert_eq!(piped(&["set-space-env", "TYPED_TOO"], "canary7f3a9c-typed\n"), Some(0));
    assert_ne!(piped(&["set-env", "a", "VCAP_X"], "canary7f3a9c-typed\n"), Some(0));
}

/// Runs, ends, ticks. Returns the name of a Task that is still running.
async fn run(client: &Client, heard: &Heard) -> String {
    let with = |command: &str| pb::RunTaskRequest { env: env(&[("TASK_VAR", &canary("task"))]), ..task(command) };
    let ended = heard.answer("RunTask", client.run_task(with("test -n \"$TASK_VAR\"")).await).unwrap();
    assert_eq!(client.over(&ended.name).await.state(), TaskState::Succeeded);
    let failed = heard.answer("RunTask", client.run_task(with("exit 3")).await).unwrap();
    heard.says("a failed Task", format!("{:?}", client.over(&failed.name).await));
    let request = pb::RunJobRequest {
        name: "spaces/s/jobs/j".into(),
        env: env(&[("RUN_VAR", &canary("run"))]),
        ..Default::default()
    };
    let job = heard.answer("RunJob", client.jobs.clone().run_job(request).await).unwrap().into_inner();
    client.over(&job.name).await;
    let cancelled = client.run_task(with("sleep 600")).await.unwrap();
    client.running(&cancelled.name).await;
    heard.says("CancelTask", format!("{:?}", client.cancel(&cancelled.name).await));
    client.over(&cancelled.name).await;
    let running = client.run_task(with("sleep 600")).await.unwrap();
    client.running(&running.name).await;
    running.name
}

/// What everybody on the machine can see of processes, and what our own carry along.
fn look_at_processes(server: &Server, heard: &Heard) {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let read = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let line = read("cmdline");
        if line.contains("taskplane-shim") || pid == server.pid().to_string() {
            heard.says(&format!("the environment of {line}"), read("environ"));
        }
        heard.says(&format!("the command line of {pid}"), line);
    }
}

/// Everything that can be asked.
async fn ask(client: &Client, heard: &Heard) {
    let parent = || "spaces/s".to_owned();
    let request = pb::GetSpaceRequest { name: parent() };
    heard.answer("GetSpace", client.spaces.clone().get_space(request).await);
    let request = pb::ListAppsRequest { parent: parent(), ..Default::default() };
    heard.answer("ListApps", client.apps.clone().list_apps(request).await);
    let request = pb::ListServiceInstancesRequest { parent: parent(), ..Default::default() };
    heard.answer("ListServiceInstances", client.services.clone().list_service_instances(request).await);
    let request = pb::ListTasksRequest { parent: "spaces/s/apps/-".into(), ..Default::default() };
    let tasks = heard.answer("ListTasks", client.tasks.clone().list_tasks(request).await).unwrap().into_inner().tasks;
    assert!(tasks.len() >= 6);
    for task in tasks {
        let request = pb::GetTaskRequest { name: task.name.clone(), view: pb::TaskView::Owner as i32 };
        heard.answer("GetTask", client.tasks.clone().get_task(request).await).unwrap();
    }
    let request = pb::ListJobsRequest { parent: parent(), ..Default::default() };
    heard.answer("ListJobs", client.jobs.clone().list_jobs(request).await).unwrap();
    within(async {
        let request = pb::WatchTasksRequest { parent: "spaces/s/apps/-".into(), ..Default::default() };
        let mut watch = client.tasks.clone().watch_tasks(request).await.unwrap().into_inner();
        for _ in 0..6 {
            heard.says("WatchTasks", format!("{:?}", watch.message().await));
        }
    })
    .await;
    let request = pb::ListEventsRequest { parent: parent(), page_size: 500, ..Default::default() };
    let events = heard.answer("ListEvents", client.events.clone().list_events(request).await).unwrap();
    assert!(events.into_inner().events.len() > 20);
}

fn print(terminal: &Terminal, heard: &Heard) {
    terminal.ok(&["target", "-s", "s", "--api", &terminal.server.address]);
    for words in [
        &["space", "s"][..],
        &["spaces"],
        &["app", "a"],
        &["apps"],
        &["env", "a"],
        &["configure-space", "get-env"],
        &["services"],
        &["service", "db"],
        &["service", "mq"],
        &["bindings"],
        &["vcap-services", "a"],
        &["tasks"],
        &["task", "a/1"],
        &["job", "j"],
        &["jobs"],
        &["job-history", "j"],
        &["events"],
        &["logs", "a", "--task", "--recent"],
    ] {
        for form in ["table", "json", "yaml"] {
            let words = [words, &["-o", form]].concat();
            let said = terminal.run(&words);
            assert_eq!(said.code, Some(0), "{words:?}: {}", said.err);
            heard.says(&format!("{words:?}"), format!("{}{}", said.out, said.err));
        }
    }
    assert!(terminal.ok(&["vcap-services", "a"]).contains("[redacted]"));
}

fn files_with_it(dir: &Path) -> Vec<String> {
    let holds = |path: &Path| {
        stands_in(path.as_os_str().as_encoded_bytes()) || stands_in(&std::fs::read(path).unwrap_or_default())
    };
    let files = walk(dir);
    assert!(!files.is_empty());
    files.into_iter().filter(|path| holds(path)).map(|path| path.display().to_string()).collect()
}

/// Every row of every table, as text.
async fn tables_with_it(url: &str) -> Vec<String> {
    let db = Database::connect(url).await.unwrap();
    let ask = async |text: String| {
        let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, text)).await.unwrap();
        rows.iter().map(|row| row.try_get::<String>("", "value").unwrap()).collect::<Vec<_>>()
    };
    let tables = ask("SELECT tablename::text AS value FROM pg_tables WHERE schemaname = 'public'".into()).await;
    assert!(tables.len() > 10);
    let mut found = Vec::new();
    for table in tables {
        let rows = ask(format!("SELECT t::text AS value FROM {table} t")).await;
        found.extend(rows.iter().any(|row| stands_in(row.as_bytes())).then_some(table));
    }
    db.close().await.unwrap();
    found
}
