//! Commands about Spaces.

use prost_types::FieldMask;
use taskplane_proto::v1::space_service_client::SpaceServiceClient;
use taskplane_proto::v1::{
    CreateSpaceRequest, DeleteSpaceRequest, GetSpaceRequest, ListSpacesRequest, Space, UpdateSpaceRequest,
};

use super::{PAGE, map};
use crate::args::{CreateSpaceArgs, DeleteSpaceArgs, SpaceArgs, SpaceSettings, UpdateSpaceArgs};
use crate::context::Context;
use crate::failure::Failure;
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
        return Err(Failure::Usage("nothing to change; give -e, --task-retention-count or --log-cap".to_owned()));
    }
    let request = UpdateSpaceRequest { space: Some(space), update_mask: Some(FieldMask { paths }) };
    let space = context
        .session
        .call(&request, async |channel, request| SpaceServiceClient::new(channel).update_space(request).await)
        .await?;
    print(context, &space)
}

pub async fn delete(context: &Context, args: DeleteSpaceArgs) -> Result<(), Failure> {
    if !args.force && !context.screen().confirm(&format!("Really delete Space {}?", args.name))? {
        context.screen().note("nothing was deleted");
        return Ok(());
    }
    let Space { name, etag, .. } = get(context, &args.name).await?;
    let short = names::last(&name).to_owned();
    let request = DeleteSpaceRequest { name, etag };
    context
        .session
        .delete(&request, async |channel, request| SpaceServiceClient::new(channel).delete_space(request).await)
        .await?;
    context.printer.said(&format!("Space {short} deleted."))
}

async fn get(context: &Context, name: &str) -> Result<Space, Failure> {
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
    let SpaceSettings { env, task_retention_count, log_cap } = settings;
    let given = [
        ("env", !env.is_empty()),
        ("task_retention_count", task_retention_count.is_some()),
        ("log_cap_bytes", log_cap.is_some()),
    ];
    let paths = given.iter().filter(|(_, given)| *given).map(|(path, _)| (*path).to_owned()).collect();
    let space = Space {
        name,
        env: map(env),
        task_retention_count: task_retention_count.unwrap_or_default(),
        log_cap_bytes: log_cap.unwrap_or_default(),
        ..Space::default()
    };
    (space, paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_changed() {
        let settings = SpaceSettings { env: vec![], task_retention_count: None, log_cap: Some(0) };
        let (space, paths) = space("spaces/blue".to_owned(), settings);
        assert_eq!(paths, ["log_cap_bytes"]);
        assert_eq!(space, Space { name: "spaces/blue".to_owned(), ..Space::default() });
    }
}
