//! `events`: the feed of what happened.

use taskplane_proto::v1::event_service_client::EventServiceClient;
use taskplane_proto::v1::{ListEventsRequest, WatchEventsRequest};
use tonic::Status;

use super::PAGE;
use crate::args::{EventsArgs, TaskPick};
use crate::connect::Patience;
use crate::context::Context;
use crate::failure::{Failure, is_passing};
use crate::names;
use crate::render::table;

pub async fn events(context: &Context, args: EventsArgs) -> Result<(), Failure> {
    let EventsArgs { subject, follow, from_start } = args;
    let parent = parent(context, subject)?;
    if follow { watch(context, parent, from_start).await } else { list(context, parent).await }
}

fn parent(context: &Context, subject: Option<String>) -> Result<String, Failure> {
    match subject {
        None => context.session.space(),
        Some(task) if task.contains('/') => names::task(&TaskPick { task, id: None }, || context.session.space()),
        Some(app) => Ok(names::app(&context.session.space()?, &app)),
    }
}

async fn list(context: &Context, parent: String) -> Result<(), Failure> {
    let mut request = ListEventsRequest { parent, page_size: PAGE, page_token: String::new() };
    let mut events = Vec::new();
    loop {
        let page = context
            .session
            .call(&request, async |channel, request| EventServiceClient::new(channel).list_events(request).await)
            .await?;
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    context.printer.list("events", &events, table::events)
}

/// Goes on until it is interrupted; the token makes a broken connection invisible.
async fn watch(context: &Context, parent: String, from_start: bool) -> Result<(), Failure> {
    let mut request = WatchEventsRequest { parent, resume_token: String::new(), from_start };
    let mut patience = Patience::for_streams();
    loop {
        let broken = stream(context, &mut request, &mut patience).await?;
        match patience.next(&broken) {
            Some(wait) if is_passing(&broken) => tokio::time::sleep(wait).await,
            _ => return Err(context.session.refused(broken)),
        }
    }
}

/// Prints one stream, noting where it stands, and returns what broke it.
async fn stream(
    context: &Context,
    request: &mut WatchEventsRequest,
    patience: &mut Patience,
) -> Result<Status, Failure> {
    let mut client = EventServiceClient::new(context.session.channel.clone());
    let mut stream = match context.session.open(client.watch_events(request.clone())).await {
        Ok(stream) => stream,
        Err(status) => return Ok(status),
    };
    patience.opened();
    loop {
        match stream.message().await {
            Ok(Some(message)) => {
                patience.refresh();
                if let Some(event) = &message.event {
                    context.printer.next(event, table::event_line)?;
                }
                request.resume_token = message.resume_token;
            }
            Ok(None) => return Ok(Status::unavailable("the feed ended")),
            Err(status) => return Ok(status),
        }
    }
}
