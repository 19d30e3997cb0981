//! `tasks`, `task`, `delete-task` and `terminate-task`.

use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_proto::v1::{CancelTaskRequest, DeleteTaskRequest, ListTasksRequest, Task, TaskState};

use super::{PAGE, duration};
use crate::args::{DeleteTaskArgs, StateArg, TaskArgs, TasksArgs, TerminateArgs};
use crate::connect::Tries;
use crate::context::Context;
use crate::failure::Failure;
use crate::leaving::{Found, until_gone};
use crate::progress::Progress;
use crate::render::{state, table};
use crate::{clock, names, watch};

pub async fn list(context: &Context, args: TasksArgs) -> Result<(), Failure> {
    let TasksArgs { app, states, job, limit } = args;
    let parent = names::app(&context.session.space()?, app.as_deref().unwrap_or("-"));
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    list_some(context, parent, filter(&states, job.as_deref()), limit).await
}

/// The newest Tasks that pass a filter.
pub async fn list_some(context: &Context, parent: String, filter: String, limit: usize) -> Result<(), Failure> {
    let mut request = ListTasksRequest { parent, filter, ..ListTasksRequest::default() };
    let mut tasks: Vec<Task> = Vec::new();
    loop {
        request.page_size = i32::try_from(limit - tasks.len()).map_or(PAGE, |left| left.min(PAGE));
        let page = context
            .session
            .call(&request, async |channel, request| TaskServiceClient::new(channel).list_tasks(request).await)
            .await?;
        tasks.extend(page.tasks);
        if page.next_page_token.is_empty() || tasks.len() >= limit {
            break;
        }
        request.page_token = page.next_page_token;
    }
    tasks.truncate(limit);
    context.printer.list("tasks", &tasks, |tasks| table::tasks(tasks, clock::now()))
}

pub fn filter(states: &[StateArg], job: Option<&str>) -> String {
    let mut terms = Vec::new();
    if !states.is_empty() {
        let names: Vec<&str> = states
            .iter()
            .map(|state| TaskState::from(*state).as_str_name())
            .map(|name| name.strip_prefix("TASK_STATE_").unwrap_or(name))
            .collect();
        terms.push(match names.as_slice() {
            [one] => format!("state={one}"),
            several => format!("state=({})", several.join(" OR ")),
        });
    }
    if let Some(job) = job {
        terms.push(format!("job=\"{}\"", job.replace('\\', "\\\\").replace('"', "\\\"")));
    }
    terms.join(" AND ")
}

pub async fn show(context: &Context, args: TaskArgs) -> Result<(), Failure> {
    let name = names::task(&args.pick, || context.session.space())?;
    let task = watch::get(&context.session, &name).await?;
    print(context, &task)
}

pub async fn delete(context: &Context, args: DeleteTaskArgs) -> Result<(), Failure> {
    let DeleteTaskArgs { pick, force, terminate, r#async } = args;
    let name = names::task(&pick, || context.session.space())?;
    let Task { name, uid, .. } = watch::get(&context.session, &name).await?;
    let short = names::short_task(&name);
    let question = format!("Really delete Task {short} with its log?");
    if !force && context.screen().can_ask() && !context.screen().confirm(&question)? {
        context.screen().note("nothing was deleted");
        return Ok(());
    }
    let request = DeleteTaskRequest { name: name.clone(), force: terminate };
    let asked = context
        .session
        .delete(&request, async |channel, request| TaskServiceClient::new(channel).delete_task(request).await)
        .await;
    match asked {
        Err(failure) if !terminate && failure.code() == Some(tonic::Code::FailedPrecondition) => {
            let fix = "add --terminate to end it at once".to_owned();
            return Err(Failure::wrong_with(format!("Task {short} is not over"), fix));
        }
        asked => asked?,
    }
    if r#async {
        return context.printer.said(&format!("Task {short} is submitted for deletion."));
    }
    let look = async || {
        let Task { uid, .. } = watch::get(&context.session, &name).await?;
        Ok(Found { uid, remains: None })
    };
    until_gone(context, &short, &uid, look).await?;
    context.printer.said(&format!("Task {short} deleted."))
}

pub async fn terminate(context: &Context, args: TerminateArgs) -> Result<(), Failure> {
    let TerminateArgs { pick, grace, delete_logs, r#async, retries, retry_delay } = args;
    let name = names::task(&pick, || context.session.space())?;
    let before = watch::get(&context.session, &name).await?;
    let short = names::short_task(&before.name);
    if state::is_over(before.state()) && !delete_logs {
        context.printer.said(&format!("Task {short} is over already ({}).", state::reason(&before)))?;
        return data(context, &before);
    }

    let grace = grace.map(duration);
    let request = CancelTaskRequest { name: name.clone(), etag: String::new(), grace, delete_logs };
    let tries = Tries { again: retries, delay: retry_delay, grows: false };
    let asked = context
        .session
        .call_with(tries, &request, async |channel, request| TaskServiceClient::new(channel).cancel_task(request).await)
        .await?;
    if state::is_over(before.state()) {
        let what = if before.logs_deleted { "What it wrote is deleted already." } else { "What it wrote is deleted." };
        context.printer.said(&format!("Task {short} is over already ({}). {what}", state::reason(&before)))?;
        return data(context, &asked);
    }
    context.printer.said(&match before.state() {
        TaskState::Cancelling => format!("Task {short} is being terminated already."),
        _ => format!("Task {short} is submitted for termination."),
    })?;
    if r#async {
        return data(context, &asked);
    }
    let ended = {
        let _progress = Progress::spinner(context.screen(), format!("terminating {short}"));
        watch::until_over(&context.session, &name).await?
    };
    context.printer.said(&match ended.state() {
        TaskState::Cancelled => format!("Task {short} is terminated."),
        _ => format!("Task {short} ended by itself before ({}).", state::reason(&ended)),
    })?;
    data(context, &ended)
}

/// For programs alone: people have read their sentence.
fn data(context: &Context, task: &Task) -> Result<(), Failure> {
    if context.printer.for_people() { Ok(()) } else { print(context, task) }
}

pub fn print(context: &Context, task: &Task) -> Result<(), Failure> {
    context.printer.one(task, |task| table::task(task, clock::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_filter() {
        assert_eq!(filter(&[], None), "");
        assert_eq!(filter(&[StateArg::Running], None), "state=RUNNING");
        assert_eq!(
            filter(&[StateArg::Pending, StateArg::Failed], Some("nightly")),
            "state=(PENDING OR FAILED) AND job=\"nightly\""
        );
    }

    #[test]
    fn a_job_name_cannot_leave_its_quotes() {
        assert_eq!(filter(&[], Some("a\" OR b\\")), "job=\"a\\\" OR b\\\\\"");
    }
}
