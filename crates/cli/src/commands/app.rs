//! Commands about Apps, but for `push`.

use taskplane_proto::v1::app_service_client::AppServiceClient;
use taskplane_proto::v1::{App, DeleteAppRequest, GetAppRequest, ListAppsRequest, PushAppSpec};

use super::{PAGE, push, resources};
use crate::args::{AppArgs, DeleteAppArgs, ScaleArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::leaving::{Found, until_gone};
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
    let DeleteAppArgs { app, force, everything, r#async } = args;
    let with = if everything { "its Jobs, all its Tasks, live ones too," } else { "all its Tasks" };
    if !force && !context.screen().confirm(&format!("Really delete App {app} with {with} and their logs?"))? {
        context.screen().note("nothing was deleted");
        return Ok(());
    }
    let App { name, etag, uid, .. } = get(context, &app).await?;
    let short = names::last(&name).to_owned();
    let request = DeleteAppRequest { name, etag, force: everything };
    let asked = context
        .session
        .delete(&request, async |channel, request| AppServiceClient::new(channel).delete_app(request).await)
        .await;
    in_use(asked, everything)?;
    if r#async {
        return context.printer.said(&format!("App {short} is submitted for deletion."));
    }
    let look = async || {
        let App { uid, remains, .. } = get(context, &app).await?;
        Ok(Found { uid, remains })
    };
    until_gone(context, &short, &uid, look).await?;
    context.printer.said(&format!("App {short} deleted."))
}

/// What still holds something can go with it.
pub fn in_use(asked: Result<(), Failure>, everything: bool) -> Result<(), Failure> {
    match asked {
        Err(failure) if !everything && failure.code() == Some(tonic::Code::FailedPrecondition) => {
            Err(Failure::wrong_with(failure.to_string(), "add --everything to end and delete all of it".to_owned()))
        }
        asked => asked,
    }
}

pub async fn get(context: &Context, app: &str) -> Result<App, Failure> {
    let request = GetAppRequest { name: names::app(&context.session.space()?, app) };
    context.session.call(&request, async |channel, request| AppServiceClient::new(channel).get_app(request).await).await
}
