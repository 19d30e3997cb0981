//! Commands about the environments of Apps and Spaces. Values go in and never come out.

use std::io::Read as _;

use futures::stream;
use prost_types::FieldMask;
use taskplane_proto::v1::app_service_client::AppServiceClient;
use taskplane_proto::v1::push_app_request::Part;
use taskplane_proto::v1::space_service_client::SpaceServiceClient;
use taskplane_proto::v1::{App, GetSpaceRequest, PushAppRequest, PushAppSpec, Space, UpdateSpaceRequest};

use super::app;
use crate::args::{AppArgs, ConfigureSpace, MaybeSpace, SetEnvArgs, UnsetEnvArgs, Variable};
use crate::connect::Tries;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::service as render;
use crate::{escape, names};

/// More than any value may have.
const VALUE_MAX: u64 = 1 << 20;

pub async fn set(context: &Context, args: SetEnvArgs) -> Result<(), Failure> {
    let SetEnvArgs { app, variable } = args;
    let name = variable.name.clone();
    let env = [(variable.name, value(variable.value)?)].into();
    let changed = change(context, &app, PushAppSpec { env, ..PushAppSpec::default() }).await?;
    say(context, &changed, &format!("Variable {name} is set for the Tasks of {app} that are accepted from now on."))
}

pub async fn unset(context: &Context, args: UnsetEnvArgs) -> Result<(), Failure> {
    let UnsetEnvArgs { app, name } = args;
    let spec = PushAppSpec { unset_env: vec![name.clone()], ..PushAppSpec::default() };
    let changed = change(context, &app, spec).await?;
    say(context, &changed, &format!("Variable {name} is not set for the Tasks of {app} that are accepted from now on."))
}

/// The names of what an App's Tasks get, and where each comes from.
pub async fn show(context: &Context, args: AppArgs) -> Result<(), Failure> {
    let app = app::get(context, &args.app).await?;
    let space = space(context, context.session.space()?).await?;
    context.printer.one(&app, |app| render::env(app, &space))
}

pub async fn set_space(context: &Context, space: Option<String>, variable: Variable) -> Result<(), Failure> {
    let Variable { name, value: typed } = variable;
    let env = [(name.clone(), value(typed)?)].into();
    let space = Space { name: named(context, space)?, env, ..Space::default() };
    let changed = change_space(context, &name, space).await?;
    say(context, &changed, &format!("Variable {name} is set for the Tasks of the Space that are accepted from now on."))
}

pub async fn unset_space(context: &Context, space: Option<String>, name: String) -> Result<(), Failure> {
    let space = Space { name: named(context, space)?, ..Space::default() };
    let changed = change_space(context, &name, space).await?;
    let what = format!("Variable {name} is not set for the Tasks of the Space that are accepted from now on.");
    say(context, &changed, &what)
}

pub async fn configure(context: &Context, what: ConfigureSpace) -> Result<(), Failure> {
    match what {
        ConfigureSpace::SetEnv(words) => {
            let (space, variable) = words.read();
            set_space(context, space, variable).await
        }
        ConfigureSpace::UnsetEnv(words) => {
            let (space, name) = words.read();
            unset_space(context, space, name).await
        }
        ConfigureSpace::GetEnv(MaybeSpace { space: asked }) => {
            let space = space(context, named(context, asked)?).await?;
            context.printer.one(&space, render::space_env)
        }
    }
}

/// A push that brings no source: the App must be there.
async fn change(context: &Context, app: &str, spec: PushAppSpec) -> Result<App, Failure> {
    app::get(context, app).await?;
    let spec = PushAppSpec { parent: context.session.space()?, app_id: app.to_owned(), ..spec };
    let push = PushAppRequest { part: Some(Part::App(spec)) };
    context
        .session
        .call_with(Tries::default(), &push, async |channel, push| {
            AppServiceClient::new(channel).push_app(stream::once(async { push })).await
        })
        .await
}

/// The Space that was named, else the targeted one.
fn named(context: &Context, space: Option<String>) -> Result<String, Failure> {
    space.map_or_else(|| context.session.space(), |space| Ok(names::space(&space)))
}

async fn space(context: &Context, name: String) -> Result<Space, Failure> {
    let request = GetSpaceRequest { name };
    context
        .session
        .call(&request, async |channel, request| SpaceServiceClient::new(channel).get_space(request).await)
        .await
}

async fn change_space(context: &Context, variable: &str, space: Space) -> Result<Space, Failure> {
    let request = UpdateSpaceRequest {
        space: Some(space),
        update_mask: Some(FieldMask { paths: vec![format!("env.{variable}")] }),
    };
    context
        .session
        .call(&request, async |channel, request| SpaceServiceClient::new(channel).update_space(request).await)
        .await
}

/// As typed, or from standard input without its last line feed.
fn value(typed: Option<String>) -> Result<String, Failure> {
    if let Some(value) = typed {
        return Ok(value);
    }
    let mut text = String::new();
    match std::io::stdin().lock().take(VALUE_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)),
        Err(error) => Err(Failure::wrong(format!("the value cannot be read: {error}"))),
    }
}

fn say<T: crate::render::json::Resource>(context: &Context, changed: &T, what: &str) -> Result<(), Failure> {
    context.printer.one(changed, |_| escape::line(what).into_owned())
}
