//! Commands about Spaces.

use std::time::Duration;

use prost_types::FieldMask;
use taskplane_proto::convert::duration_to_pb;
use taskplane_proto::v1::space_service_client::SpaceServiceClient;
use taskplane_proto::v1::{
    ClusterSettings, CreateSpaceRequest, DeleteSpaceRequest, GetSpaceRequest, ListSpacesRequest, Resources, Space,
    SpaceQuota, UpdateSpaceRequest,
};

use super::app::in_use;
use super::{PAGE, map};
use crate::args::{
    CreateSpaceArgs, DeleteSpaceArgs, OrNone, SpaceArgs, SpaceResources, SpaceSettings, UpdateSpaceArgs,
};
use crate::context::Context;
use crate::failure::Failure;
use crate::leaving::{Found, until_gone};
use crate::render::table;
use crate::{clock, names};

pub async fn list(context: &Context) -> Result<(), Failure> {
    let mut spaces = Vec::new();
    let mut request = ListSpacesRequest { page_size: PAGE, page_token: String::new() };
    loop {
        let page = context
            .session
            .call(&request, async |channel, request| SpaceServiceClient::new(channel).list_spaces(request).await)
            .await?;
        spaces.extend(page.spaces);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    context.printer.list("spaces", &spaces, |spaces| table::spaces(spaces, clock::now()))
}

pub async fn show(context: &Context, args: SpaceArgs) -> Result<(), Failure> {
    let space = get(context, &args.name).await?;
    print(context, &space)
}

pub async fn create(context: &Context, args: CreateSpaceArgs) -> Result<(), Failure> {
    let CreateSpaceArgs { name, settings } = args;
    let (space, _) = space(String::new(), settings);
    let request = CreateSpaceRequest { space_id: name, space: Some(space) };
    let space = context
        .session
        .call(&request, async |channel, request| SpaceServiceClient::new(channel).create_space(request).await)
        .await?;
    if !context.printer.for_people() {
        return print(context, &space);
    }
    let name = names::last(&space.name);
    let hint = context.hint(&format!("target -s {name}"));
    context.screen().print(&format!("Space {name} created.\n\nWork in it:   {hint}"))
}

pub async fn update(context: &Context, args: UpdateSpaceArgs) -> Result<(), Failure> {
    let UpdateSpaceArgs { name, settings } = args;
    let (space, paths) = space(names::space(&name), settings);
    if paths.is_empty() {
        return Err(Failure::Usage("nothing to change; `taskplane update-space --help` lists what can be".to_owned()));
    }
    let request = UpdateSpaceRequest { space: Some(space), update_mask: Some(FieldMask { paths }) };
    let space = context
        .session
        .call(&request, async |channel, request| SpaceServiceClient::new(channel).update_space(request).await)
        .await?;
    print(context, &space)
}

pub async fn delete(context: &Context, args: DeleteSpaceArgs) -> Result<(), Failure> {
    let DeleteSpaceArgs { name: called, force, everything, r#async } = args;
    let with = if everything { " with all its Apps, Jobs and Tasks, live ones too, and their logs" } else { "" };
    if !force && !context.screen().confirm(&format!("Really delete Space {called}{with}?"))? {
        context.screen().note("nothing was deleted");
        return Ok(());
    }
    let Space { name, etag, uid, .. } = get(context, &called).await?;
    let short = names::last(&name).to_owned();
    let request = DeleteSpaceRequest { name, etag, force: everything };
    let asked = context
        .session
        .delete(&request, async |channel, request| SpaceServiceClient::new(channel).delete_space(request).await)
        .await;
    in_use(asked, everything)?;
    if r#async {
        return context.printer.said(&format!("Space {short} is submitted for deletion."));
    }
    let look = async || {
        let Space { uid, remains, .. } = get(context, &called).await?;
        Ok(Found { uid, remains })
    };
    until_gone(context, &short, &uid, look).await?;
    context.printer.said(&format!("Space {short} deleted."))
}

pub(super) async fn get(context: &Context, name: &str) -> Result<Space, Failure> {
    let request = GetSpaceRequest { name: names::space(name) };
    context
        .session
        .call(&request, async |channel, request| SpaceServiceClient::new(channel).get_space(request).await)
        .await
}

fn print(context: &Context, space: &Space) -> Result<(), Failure> {
    context.printer.one(space, |space| table::space(space, clock::now()))
}

/// The Space with the settings that were given, and the names of their fields.
fn space(name: String, settings: SpaceSettings) -> (Space, Vec<String>) {
    let SpaceSettings {
        env,
        task_retention_count,
        minimum_finished_tasks,
        task_retention_age,
        failed_task_retention_count,
        log_cap,
        delete_terminated_logs,
        live_tasks,
        running_tasks,
        waiting_tasks,
        default_timeout,
        start_ticket,
        resources,
        namespace,
        placement,
    } = settings;
    let placement = placement.placement();
    let mut given: Vec<String> = [
        ("env", !env.is_empty()),
        ("task_retention_count", task_retention_count.is_some()),
        ("minimum_finished_tasks", minimum_finished_tasks.is_some()),
        ("task_retention_age", task_retention_age.is_some()),
        ("failed_task_retention_count", failed_task_retention_count.is_some()),
        ("log_cap_bytes", log_cap.is_some()),
        ("delete_terminated_logs", delete_terminated_logs.is_some()),
        ("quota.live_tasks", live_tasks.is_some()),
        ("quota.running_tasks", running_tasks.is_some()),
        ("quota.waiting_tasks", waiting_tasks.is_some()),
        ("default_task_timeout", default_timeout.is_some()),
        ("cluster.namespace", namespace.is_some()),
        ("cluster.placement", placement.is_some()),
        ("start_ticket", start_ticket.is_some()),
    ]
    .iter()
    .filter(|(_, given)| *given)
    .map(|(path, _)| (*path).to_owned())
    .collect();
    let SpaceResources {
        default_memory,
        default_disk,
        default_cpu,
        min_memory,
        min_disk,
        min_cpu,
        max_memory,
        max_disk,
        max_cpu,
    } = resources;
    let mut amounts = |whole: &str, [memory, disk, cpu]: [Option<String>; 3]| {
        let mut amount = |part: &str, text: Option<String>| {
            given.extend(text.is_some().then(|| format!("{whole}.{part}")));
            text.filter(|text| text != "none").unwrap_or_default()
        };
        Some(Resources { memory: amount("memory", memory), disk: amount("disk", disk), cpu: amount("cpu", cpu) })
    };
    let default_resources = amounts("default_resources", [default_memory, default_disk, default_cpu]);
    let min_resources = amounts("min_resources", [min_memory, min_disk, min_cpu]);
    let max_resources = amounts("max_resources", [max_memory, max_disk, max_cpu]);
    let time = |time: Option<OrNone<Duration>>| time.and_then(OrNone::into_option).map(duration_to_pb);
    let space = Space {
        name,
        env: map(env),
        task_retention_count: task_retention_count.unwrap_or_default(),
        minimum_finished_tasks,
        task_retention_age: time(task_retention_age),
        failed_task_retention_count: failed_task_retention_count.and_then(OrNone::into_option),
        log_cap_bytes: log_cap.unwrap_or_default(),
        delete_terminated_logs: delete_terminated_logs.unwrap_or_default(),
        quota: Some(SpaceQuota {
            live_tasks: live_tasks.unwrap_or_default(),
            running_tasks: running_tasks.unwrap_or_default(),
            waiting_tasks: waiting_tasks.unwrap_or_default(),
        }),
        default_resources,
        min_resources,
        max_resources,
        default_task_timeout: time(default_timeout),
        cluster: Some(ClusterSettings { namespace: namespace.unwrap_or_default(), placement }),
        start_ticket,
        ..Space::default()
    };
    (space, given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Given {
        #[command(flatten)]
        settings: SpaceSettings,
    }

    fn read(args: &[&str]) -> (Space, Vec<String>) {
        let args = std::iter::once("update-space").chain(args.iter().copied());
        space("spaces/blue".to_owned(), Given::try_parse_from(args).unwrap().settings)
    }

    #[test]
    fn only_what_was_given_is_changed() {
        assert_eq!(read(&[]).1, Vec::<String>::new());
        assert_eq!(read(&["--log-cap", "0"]).1, ["log_cap_bytes"]);
        let (space, paths) = read(&["--start-ticket=false"]);
        assert_eq!((space.start_ticket, paths), (Some(false), vec!["start_ticket".to_owned()]));
        let (space, paths) = read(&["--max-memory", "1G", "--running-tasks", "3", "--delete-terminated-logs"]);
        assert_eq!(paths, ["delete_terminated_logs", "quota.running_tasks", "max_resources.memory"]);
        assert_eq!(space.max_resources.unwrap().memory, "1G");
        assert!(space.delete_terminated_logs);
    }

    #[test]
    fn none_takes_away_what_was_set() {
        let (space, paths) = read(&["--task-retention-age", "none", "--min-cpu", "none", "--default-timeout", "none"]);
        assert_eq!(paths, ["task_retention_age", "default_task_timeout", "min_resources.cpu"]);
        assert_eq!(space.task_retention_age, None);
        assert_eq!(space.min_resources.unwrap().cpu, "");
    }
}
