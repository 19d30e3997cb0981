//! `run-task` and `run-job`: submit a Task and, with `--wait`, stand in for it until its end.

use taskplane_proto::v1::job_service_client::JobServiceClient;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_proto::v1::{
    ConditionStatus, LogLine, LogStream, Reason, RunJobRequest, RunTaskRequest, StreamLogsRequest, Task, TaskState,
};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Builder;

use super::{duration, map, resources, retry_policy};
use crate::args::{RunArgs, RunJobArgs, RunTaskArgs};
use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use crate::follow::Follow;
use crate::output::{Screen, Side};
use crate::render::{state, table};
use crate::{clock, names, watch};

pub async fn run_task(context: &Context, args: RunTaskArgs) -> Result<(), Failure> {
    let wait = args.run.wait;
    let request = task_request(&context.session.space()?, args);
    // The request id makes this safe to repeat: the same Task comes back.
    let task = context
        .session
        .call(&request, async |channel, request| TaskServiceClient::new(channel).run_task(request).await)
        .await?;
    go_on(context, task, wait).await
}

pub async fn run_job(context: &Context, args: RunJobArgs) -> Result<(), Failure> {
    let wait = args.run.wait;
    let request = job_request(names::job(&args.job, || context.session.space())?, args.run);
    let task = context
        .session
        .call(&request, async |channel, request| JobServiceClient::new(channel).run_job(request).await)
        .await?;
    go_on(context, task, wait).await
}

fn task_request(space: &str, args: RunTaskArgs) -> RunTaskRequest {
    let RunTaskArgs { app, run } = args;
    let RunArgs { command, name, env, timeout, labels, retry, request_id, wait: _, resources: typed } = run;
    RunTaskRequest {
        parent: names::app(space, &app),
        command: command.unwrap_or_default(),
        display_name: name.unwrap_or_default(),
        resources: resources(typed),
        env: map(env),
        timeout: timeout.map(duration),
        retry_policy: retry_policy(retry),
        labels: map(labels),
        request_id: request_id.unwrap_or_else(random_id),
    }
}

fn job_request(name: String, run: RunArgs) -> RunJobRequest {
    let RunArgs { command, name: display_name, env, timeout, labels, retry, request_id, wait: _, resources: typed } =
        run;
    RunJobRequest {
        name,
        command: command.unwrap_or_default(),
        display_name: display_name.unwrap_or_default(),
        resources: resources(typed),
        env: map(env),
        timeout: timeout.map(duration),
        retry_policy: retry_policy(retry),
        labels: map(labels),
        request_id: request_id.unwrap_or_else(random_id),
    }
}

fn random_id() -> String {
    Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

async fn go_on(context: &Context, task: Task, wait: bool) -> Result<(), Failure> {
    if wait {
        return stand_in(context, task).await;
    }
    context.printer.one(&task, |task| {
        let said: String = unmet(task).map(|line| format!("\n{line}")).collect();
        format!("{}{said}\n\n{}", submitted(task), hints(context, task))
    })
}

fn submitted(task: &Task) -> String {
    format!("Task {} is submitted successfully for execution.", escape::line(&names::short_task(&task.name)))
}

/// A line for each thing that is not, or not known to be, as it was asked for.
fn unmet(task: &Task) -> impl Iterator<Item = String> {
    let unmet = task.conditions.iter().filter(|condition| condition.status() != ConditionStatus::True);
    unmet.map(|condition| {
        let status = state::condition_status(condition.status());
        escape::line(&format!("{}={status}: {}", condition.r#type, condition.message)).into_owned()
    })
}

fn hints(context: &Context, task: &Task) -> String {
    let (_, app, id) = names::task_parts(&task.name).unwrap_or_default();
    let hint = |command: String| escape::line(&context.hint(&command)).into_owned();
    format!(
        "Follow its log:   {}\nSee it:           {}\nTerminate it:     {}",
        hint(format!("logs {app} --task {id}")),
        hint(format!("task {app}/{id}")),
        hint(format!("terminate-task {app}/{id}"))
    )
}

/// Prints the Task's output as its own and ends as it ends.
async fn stand_in(context: &Context, task: Task) -> Result<(), Failure> {
    let screen = context.screen();
    screen.note(&submitted(&task));
    hints(context, &task).lines().for_each(|line| screen.note(line));

    let cannot = |error: std::io::Error| Failure::wrong(format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let (ended, exit) = tokio::select! {
        ended = follow_to_the_end(context, &task.name) => (ended?, 0),
        _ = interrupt.recv() => (task, 128 + 2),
        _ = terminate.recv() => (task, 128 + 15),
    };
    if exit != 0 {
        let (_, app, id) = names::task_parts(&ended.name).unwrap_or_default();
        screen.error(&format!(
            "no longer waiting, Task {app}/{id} goes on; `{}` ends it",
            context.hint(&format!("terminate-task {app}/{id}"))
        ));
        return Err(Failure::Exit(exit));
    }
    if !context.printer.for_people() {
        context.printer.one(&ended, |ended| table::task(ended, clock::now()))?;
    }
    unmet(&ended).for_each(|line| screen.note(&line));
    let (exit, line) = outcome(&ended);
    if let Some(line) = line {
        screen.error(&format!("Task {} {line}", names::short_task(&ended.name)));
    }
    if exit == 0 { Ok(()) } else { Err(Failure::Exit(exit)) }
}

async fn follow_to_the_end(context: &Context, name: &str) -> Result<Task, Failure> {
    let request = StreamLogsRequest { name: name.to_owned(), follow: true, ..StreamLogsRequest::default() };
    let screen = context.screen();
    // Where the answer is data, it has stdout for itself.
    let data = !context.printer.for_people();
    Follow::new(&context.session, request).run(|line| print(screen, line, data)).await?;
    watch::until_over(&context.session, name).await
}

/// What the command wrote, to the same stream: byte for byte, unless a terminal would obey it.
fn print(screen: &Screen, line: &LogLine, data: bool) -> Result<(), Failure> {
    let side = match line.stream() {
        LogStream::Stdout | LogStream::Unspecified if !data => Side::Out,
        _ => Side::Err,
    };
    let mut bytes =
        if screen.is_terminal(side) { escape::log(&line.content).into_bytes() } else { line.content.to_vec() };
    if !line.partial {
        bytes.push(b'\n');
    }
    screen.raw(side, &bytes)
}

/// The exit code that speaks for the Task, and what to say besides.
fn outcome(task: &Task) -> (u8, Option<String>) {
    let said = |line: String| match task.message.trim() {
        "" => Some(line),
        message => Some(format!("{line}: {message}")),
    };
    match (task.state(), task.reason()) {
        (TaskState::Succeeded, _) => return (0, None),
        (TaskState::Failed, Reason::TimedOut) => return (124, said("ran into its timeout".to_owned())),
        (TaskState::Failed, Reason::OutOfMemory) => return (137, said("ran out of memory".to_owned())),
        (TaskState::Failed, Reason::DiskQuotaExceeded) => return (1, said("ran out of disk".to_owned())),
        (TaskState::Failed, Reason::Lost) => return (1, said("was lost".to_owned())),
        (TaskState::Failed, _) => {}
        (TaskState::Cancelled, _) => return (1, said("was cancelled".to_owned())),
        _ => return (1, said("has no end yet".to_owned())),
    }
    match (task.exit_code, task.signal) {
        (Some(code), _) if code != 0 => {
            // A code that does not fit is still a failure.
            (u8::try_from(code).unwrap_or(1), said(format!("failed with exit code {code}")))
        }
        (_, Some(signal)) => {
            let exit = u8::try_from(signal).ok().and_then(|signal| signal.checked_add(128)).unwrap_or(1);
            (exit, said(format!("was ended by signal {signal}")))
        }
        _ => (1, said(format!("failed ({})", state::reason(task)))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use taskplane_proto::v1::ReasonClass;

    use super::*;
    use crate::args::{Cli, Command};

    fn requested(words: &[&str]) -> RunTaskRequest {
        let words = ["taskplane", "run-task", "shop"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::RunTask(args) => task_request("spaces/s", *args),
            other => panic!("{other:?}"),
        }
    }

    fn ended(state: TaskState, reason: Reason, exit_code: Option<i32>, signal: Option<i32>) -> (u8, bool) {
        let task = Task { state: state.into(), reason: reason.into(), exit_code, signal, ..Task::default() };
        let (exit, line) = outcome(&task);
        (exit, line.is_some())
    }

    #[test]
    fn the_end_of_a_task_becomes_an_exit_code() {
        use Reason::{Cancelled, DiskQuotaExceeded, ExitCode, Lost, OutOfMemory};
        use Reason::{Signalled, StartFailed, TimedOut, Unspecified};
        use TaskState::{Failed, Succeeded};
        assert_eq!(ended(Succeeded, Unspecified, Some(0), None), (0, false));
        assert_eq!(ended(Failed, ExitCode, Some(3), None), (3, true));
        assert_eq!(ended(Failed, ExitCode, Some(255), None), (255, true));
        assert_eq!(ended(Failed, ExitCode, Some(256), None), (1, true));
        assert_eq!(ended(Failed, Signalled, None, Some(11)), (139, true));
        assert_eq!(ended(Failed, OutOfMemory, None, Some(9)), (137, true));
        assert_eq!(ended(Failed, OutOfMemory, None, None), (137, true));
        assert_eq!(ended(Failed, DiskQuotaExceeded, None, Some(9)), (1, true));
        assert_eq!(ended(Failed, TimedOut, None, Some(15)), (124, true));
        assert_eq!(ended(Failed, Lost, None, None), (1, true));
        assert_eq!(ended(Failed, StartFailed, None, None), (1, true));
        assert_eq!(ended(TaskState::Cancelled, Cancelled, None, Some(15)), (1, true));
    }

    #[test]
    fn every_request_has_an_id_of_its_own_unless_one_is_given() {
        let (one, other) = (requested(&[]), requested(&[]));
        assert_eq!(one.request_id.len(), 36);
        assert_ne!(one.request_id, other.request_id);
        assert_eq!(requested(&["--request-id", "mine"]).request_id, "mine");
    }

    #[test]
    fn flags_become_the_request() {
        let request = requested(&[
            "-c",
            "--help",
            "--name",
            "n",
            "-e",
            "A=1",
            "--timeout",
            "1h30m",
            "--label",
            "k=v",
            "--max-attempts",
            "3",
            "--retry-on",
            "user,infrastructure",
            "--backoff",
            "500ms",
            "-m",
            "256M",
            "-k",
            "1G",
            "--cpu-cores",
            "0.5",
        ]);
        assert_eq!((request.parent.as_str(), request.command.as_str()), ("spaces/s/apps/shop", "--help"));
        assert_eq!(request.timeout.unwrap().seconds, 5400);
        assert_eq!(request.env["A"], "1");
        assert_eq!(request.labels["k"], "v");
        let policy = request.retry_policy.unwrap();
        assert_eq!((policy.max_attempts, policy.retry_unknown), (3, false));
        assert_eq!(policy.backoff.unwrap().nanos, 500_000_000);
        assert_eq!(policy.retry_on, [i32::from(ReasonClass::User), ReasonClass::Infrastructure.into()]);
        assert_eq!(request.resources.unwrap().cpu, "0.5");
    }

    #[test]
    fn a_job_takes_the_same_overrides() {
        let words = ["taskplane", "run-job", "nightly", "-c", "true", "-e", "A=1", "-m", "1G", "--max-attempts", "2"];
        let Command::RunJob(args) = Cli::try_parse_from(words).unwrap().command else { panic!("another command") };
        let request = job_request("spaces/s/jobs/nightly".to_owned(), args.run);
        assert_eq!((request.name.as_str(), request.command.as_str()), ("spaces/s/jobs/nightly", "true"));
        assert_eq!((request.env["A"].as_str(), request.resources.unwrap().memory.as_str()), ("1", "1G"));
        assert_eq!((request.retry_policy.unwrap().max_attempts, request.request_id.len()), (2, 36));
    }

    #[test]
    fn without_flags_nothing_is_decided_for_the_app() {
        let request = requested(&[]);
        assert_eq!((request.resources, request.retry_policy, request.timeout), (None, None, None));
    }
}
