//! Commands about Apps, but for `push`.

use taskplane_proto::v1::app_service_client::AppServiceClient;
use taskplane_proto::v1::{App, DeleteAppRequest, GetAppRequest, ListAppsRequest, PushAppSpec};

use super::{PAGE, push, resources};
use crate::args::{AppArgs, DeleteAppArgs, ScaleArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::render::table;
use crate::{clock, names};

pub async fn list(context: &Context) -> Result<(), Failure> {
    let apps = all(context).await?;
    context.printer.list("apps", &apps, |apps| table::apps(apps, clock::now()))
}

pub async fn all(context: &Context) -> Result<Vec<App>, Failure> {
    let mut apps = Vec::new();
    let mut request = ListAppsRequest { parent: context.session.space()?, page_size: PAGE, page_token: String::new() };
    loop {
        let page = context
            .session
            .call(&request, async |channel, request| AppServiceClient::new(channel).list_apps(request).await)
            .await?;
        apps.extend(page.apps);
        if page.next_page_token.is_empty() {
            return Ok(apps);
        }
        request.page_token = page.next_page_token;
    }
}

pub async fn show(context: &Context, args: AppArgs) -> Result<(), Failure> {
    let app = get(context, &args.app).await?;
    context.printer.one(&app, |app| table::app(app, clock::now()))
}

/// Tasks that were accepted before keep what they have.
pub async fn scale(context: &Context, args: ScaleArgs) -> Result<(), Failure> {
    let before = get(context, &args.app).await?;
    let Some(resources) = resources(args.resources) else {
        return context.printer.one(&before, table::scale);
    };
    let spec = PushAppSpec {
        parent: context.session.space()?,
        app_id: names::last(&before.name).to_owned(),
        resources: Some(resources),
        ..PushAppSpec::default()
    };
    let after = push::send(context, spec, None).await?;
    context.printer.one(&after, table::scale)
}

pub async fn delete(context: &Context, args: DeleteAppArgs) -> Result<(), Failure> {
    let question = format!("Really delete App {} with all its Tasks and their logs?", args.app);
    if !args.force && !context.screen().confirm(&question)? {
        context.screen().note("nothing was deleted");
        return Ok(());
    }
    let App { name, etag, .. } = get(context, &args.app).await?;
    let short = names::last(&name).to_owned();
    let request = DeleteAppRequest { name, etag };
    context
        .session
        .delete(&request, async |channel, request| AppServiceClient::new(channel).delete_app(request).await)
        .await?;
    context.printer.said(&format!("App {short} deleted."))
}

pub async fn get(context: &Context, app: &str) -> Result<App, Failure> {
    let request = GetAppRequest { name: names::app(&context.session.space()?, app) };
    context.session.call(&request, async |channel, request| AppServiceClient::new(channel).get_app(request).await).await
}
