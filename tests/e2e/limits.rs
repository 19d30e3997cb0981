//! What a Task may take of the machine, and what it is told when nobody can see to that.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Uid, access};
use taskplane_proto::v1::{self as pb, ConditionStatus, Reason, ReasonClass, TaskState};

use crate::client::{archive, archive_source, spec, task, violations};
use crate::server::{NOBODY, Options, Server, within};

const CGROUPS: &str = "/sys/fs/cgroup";
/// Takes memory until it is stopped.
const HOG: &str = "tail /dev/zero";

/// Whether the machine lets the server limit memory; says so when it does not.
fn can_limit(test: &str) -> bool {
    let hierarchy = [CGROUPS, "/sys/fs/cgroup/memory"].into_iter().rfind(|path| Path::new(path).is_dir());
    let can = Uid::effective().is_root() && hierarchy.is_some_and(|path| access(path, AccessFlags::W_OK).is_ok());
    if !can {
        eprintln!("SKIPPED {test}: it needs root and a cgroup hierarchy mounted for writing at {CGROUPS}");
    }
    can
}

fn with(resources: &[(&str, &str)], command: &str) -> pb::RunTaskRequest {
    let of = |name: &str| {
        let found = resources.iter().find(|(resource, _)| *resource == name);
        found.map(|(_, amount)| (*amount).to_owned()).unwrap_or_default()
    };
    let resources = pb::Resources { memory: of("memory"), disk: of("disk"), cpu: of("cpu") };
    pb::RunTaskRequest { resources: Some(resources), ..task(command) }
}

/// The cgroups of a server's runs.
fn cgroups(server: &Server) -> Vec<PathBuf> {
    let id = std::fs::read_to_string(server.path("data/runs/id")).unwrap();
    let (mut open, mut found) = (vec![PathBuf::from(CGROUPS)], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_str().is_some_and(|name| name.starts_with(&format!("taskplane-{id}."))) {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_task_that_needs_more_memory_than_it_may_have_fails_and_its_neighbour_does_not_notice() {
    if !can_limit("a Task without enough memory") {
        return;
    }
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let over = server.path("over");
    let waiting = format!("until test -e {}; do sleep 0.02; done; head -c 8M /dev/zero | tail | wc -c", over.display());
    let neighbour = client.run_task(with(&[("memory", "64M")], &waiting)).await.unwrap();
    client.running(&neighbour.name).await;

    let hog = client.run_task(with(&[("memory", "64M")], &format!("exec {HOG}"))).await.unwrap();
    let hog = client.over(&hog.name).await;
    assert_eq!(
        (hog.state(), hog.reason(), hog.attempts[0].reason_class()),
        (TaskState::Failed, Reason::OutOfMemory, ReasonClass::User)
    );
    assert_eq!((hog.exit_code, hog.signal), (None, Some(9)));
    assert_eq!(hog.message, "the command needed more memory than 64Mi");
    assert_eq!(hog.conditions, []);
    // In a shell that only passes on how its child ended.
    let shell = client.run_task(with(&[("memory", "64M")], &format!("{HOG}; exit $?"))).await.unwrap();
    let shell = client.over(&shell.name).await;
    assert_eq!((shell.reason(), shell.exit_code), (Reason::OutOfMemory, None), "{}", shell.message);

    std::fs::write(over, "").unwrap();
    let neighbour = client.over(&neighbour.name).await;
    assert_eq!(neighbour.state(), TaskState::Succeeded, "{}", neighbour.message);
    assert_eq!(client.log(&neighbour.name).await, "8388608\n");
    assert_eq!(cgroups(&server), Vec::<PathBuf>::new(), "they go with their runs");
}

#[tokio::test]
async fn a_command_that_goes_on_without_what_was_killed_for_memory_ends_as_it_says() {
    if !can_limit("a command that goes on") {
        return;
    }
    if !Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").is_file() {
        eprintln!("SKIPPED a command that goes on: cgroups of version 2 end a Task as a whole");
        return;
    }
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run_task(with(&[("memory", "32M")], &format!("{HOG}; exit 3"))).await.unwrap();
    let over = client.over(&run.name).await;
    assert_eq!((over.state(), over.reason(), over.exit_code), (TaskState::Failed, Reason::ExitCode, Some(3)));
    let note = "something in it was killed because it needed more memory than it may have";
    assert_eq!(over.message, format!("the command ended with exit code 3: {note}"));
}

#[tokio::test]
async fn a_task_whose_working_copy_outgrows_its_quota_fails() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let greedy = with(&[("disk", "8M")], "head -c 9M /dev/zero > big; sleep 1000");
    let over = client.over(&client.run_task(greedy).await.unwrap().name).await;
    assert_eq!(
        (over.state(), over.reason(), over.attempts[0].reason_class()),
        (TaskState::Failed, Reason::DiskQuotaExceeded, ReasonClass::User)
    );
    assert_eq!((over.exit_code, over.message.as_str()), (None, "the command's working copy took more disk than 8Mi"));
    let modest = client.run_task(with(&[("disk", "8M")], "head -c 4M /dev/zero > some")).await.unwrap();
    assert_eq!(client.over(&modest.name).await.state(), TaskState::Succeeded);
}

fn amounts(memory: &str, disk: &str, cpu: &str) -> pb::Resources {
    pb::Resources { memory: memory.into(), disk: disk.into(), cpu: cpu.into() }
}

#[tokio::test]
async fn a_space_says_what_its_tasks_get_and_between_which_bounds() {
    let server = Server::start().await;
    let client = server.client();
    let space = pb::Space {
        default_resources: Some(amounts("128M", "", "")),
        min_resources: Some(amounts("64M", "", "")),
        max_resources: Some(amounts("1G", "2G", "")),
        default_task_timeout: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    };
    let request = pb::CreateSpaceRequest { space_id: "s".into(), space: Some(space) };
    client.spaces.clone().create_space(request).await.unwrap();
    let app =
        |memory: &str| pb::PushAppSpec { resources: Some(amounts(memory, "", "")), ..spec("a", archive_source()) };
    let refused = client.push(app("2G"), archive(&[("a", "")])).await.unwrap_err();
    assert_eq!(violations(refused), ["app.resources.memory"]);
    client.push(app(""), archive(&[("a", "")])).await.unwrap();

    let run = client.run_task(pb::RunTaskRequest { timeout: None, ..task("true") }).await.unwrap();
    assert_eq!(run.resources, Some(amounts("128Mi", "2Gi", "")), "its own, else the default, else the maximum");
    assert_eq!(run.timeout.map(|timeout| timeout.seconds), Some(60));
    for (memory, disk, field) in [("63M", "", "resources.memory"), ("", "3G", "resources.disk")] {
        let refused = client.run_task(with(&[("memory", memory), ("disk", disk)], "true")).await.unwrap_err();
        assert_eq!(violations(refused), [field]);
    }
    for bad in ["-1", "0", "1e400", "NaN", "1Ei", "0.1m", "1 Gi", "١", "99999999999999999999G", &"9".repeat(100_000)] {
        let refused = client.run_task(with(&[("memory", bad), ("disk", bad), ("cpu", bad)], "true")).await.unwrap_err();
        let fields = ["resources.memory", "resources.disk", "resources.cpu"];
        assert_eq!(violations(refused), fields, "{bad:.20}");
    }
    let template = pb::TaskTemplate { resources: Some(amounts("2G", "", "")), ..Default::default() };
    let job = pb::Job { app: "spaces/s/apps/a".into(), template: Some(template), ..Default::default() };
    let request =
        pb::CreateJobRequest { parent: "spaces/s".into(), job_id: "j".into(), job: Some(job), schedule: None };
    let refused = client.jobs.clone().create_job(request).await.unwrap_err();
    assert_eq!(violations(refused), ["job.template.resources.memory"]);
}

#[tokio::test]
async fn a_crash_leaves_no_cgroup() {
    if !can_limit("cgroups after a crash") {
        return;
    }
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let run = client.run_task(with(&[("memory", "64M"), ("cpu", "1")], "sleep 1000")).await.unwrap();
    client.running(&run.name).await;
    assert!(!cgroups(&server).is_empty());
    let server = server.restarted(Options::default()).await;
    assert_eq!(server.client().over(&run.name).await.reason(), Reason::Lost);
    assert_eq!(cgroups(&server), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_server_that_may_not_limit_anything_says_so_of_each_task_that_asks_for_it() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED a server without rights: it needs root, to become nobody");
        return;
    }
    let server = Server::start_with(Options { user: Some(NOBODY), ..Options::default() }).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let asked = with(&[("memory", "64M"), ("cpu", "500m"), ("disk", "64M")], "id -u");
    let run = within(client.run_task(asked)).await.unwrap();
    let over = client.over(&run.name).await;
    assert_eq!(over.state(), TaskState::Succeeded, "{}", over.message);
    assert_eq!(client.log(&run.name).await, format!("{NOBODY}\n"));
    let said: Vec<_> =
        over.conditions.iter().map(|said| (said.r#type.as_str(), said.status(), said.reason.as_str())).collect();
    assert_eq!(
        said,
        [
            ("MemoryLimitEnforced", ConditionStatus::False, "NoCgroup"),
            ("CpuEnforced", ConditionStatus::False, "NoCgroup")
        ]
    );
    assert!(over.conditions[0].message.ends_with("run the executor as root"), "{:?}", over.conditions);
    let silent = client.over(&client.run("true").await.name).await;
    assert_eq!(silent.conditions, [], "nothing was asked for");
}
