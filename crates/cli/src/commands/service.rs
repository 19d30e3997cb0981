//! Commands about services and bindings, with the names of kf. No credential is ever printed: there is none in any answer.

use std::io::Read as _;

use prost_types::FieldMask;
use taskplane_proto::v1::app_service_client::AppServiceClient;
use taskplane_proto::v1::service_instance_service_client::ServiceInstanceServiceClient;
use taskplane_proto::v1::{
    App, BindServiceRequest, CreateServiceInstanceRequest, DeleteServiceInstanceRequest, GetServiceInstanceRequest,
    ListServiceInstancesRequest, ServiceInstance, UnbindServiceRequest, UpdateServiceInstanceRequest,
};

use super::{PAGE, app};
use crate::args::{
    AppArgs, BindServiceArgs, BindingsArgs, DeleteServiceArgs, ServiceArgs, ServiceSettings, UnbindServiceArgs,
    WriteServiceArgs,
};
use crate::context::Context;
use crate::failure::Failure;
use crate::render::service as render;
use crate::{clock, escape, names};

/// More than any credentials may have.
const FILE_MAX: u64 = 1 << 20;

pub async fn list(context: &Context) -> Result<(), Failure> {
    let parent = context.session.space()?;
    let mut request = ListServiceInstancesRequest { parent, page_size: PAGE, page_token: String::new() };
    let mut services = Vec::new();
    loop {
        let page = context
            .session
            .call(&request, async |channel, request| {
                ServiceInstanceServiceClient::new(channel).list_service_instances(request).await
            })
            .await?;
        services.extend(page.services);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    context.printer.list("services", &services, |services| render::services(services, clock::now()))
}

pub async fn show(context: &Context, args: ServiceArgs) -> Result<(), Failure> {
    let service = get(context, &args.service).await?;
    context.printer.one(&service, |service| render::service(service, clock::now()))
}

async fn get(context: &Context, service: &str) -> Result<ServiceInstance, Failure> {
    let request = GetServiceInstanceRequest { name: named(context, service)? };
    context
        .session
        .call(&request, async |channel, request| {
            ServiceInstanceServiceClient::new(channel).get_service_instance(request).await
        })
        .await
}

pub async fn create(context: &Context, args: WriteServiceArgs) -> Result<(), Failure> {
    let WriteServiceArgs { service: service_id, settings } = args;
    let parent = context.session.space()?;
    let (service, _) = asked(settings)?;
    let request = CreateServiceInstanceRequest { parent, service_id, service: Some(service) };
    let made = context
        .session
        .call(&request, async |channel, request| {
            ServiceInstanceServiceClient::new(channel).create_service_instance(request).await
        })
        .await?;
    context.printer.one(&made, |made| {
        let short = names::last(&made.name);
        let hint = context.hint(&format!("bind-service APP {short}"));
        format!("Service {} created.\n\nBind it:   {}", escape::line(short), escape::line(&hint))
    })
}

pub async fn update(context: &Context, args: WriteServiceArgs) -> Result<(), Failure> {
    let name = named(context, &args.service)?;
    let (service, paths) = asked(args.settings)?;
    if paths.is_empty() {
        return Err(Failure::Usage("nothing to change: say -p, --secret, --label, --plan or -t".to_owned()));
    }
    let request = UpdateServiceInstanceRequest {
        service: Some(ServiceInstance { name, ..service }),
        update_mask: Some(FieldMask { paths: paths.into_iter().map(str::to_owned).collect() }),
    };
    let changed = context
        .session
        .call(&request, async |channel, request| {
            ServiceInstanceServiceClient::new(channel).update_service_instance(request).await
        })
        .await?;
    context.printer.one(&changed, |changed| {
        let short = names::last(&changed.name);
        let what = format!(
            "Service {short} is at revision {}. Tasks that were accepted before keep theirs.",
            changed.revision
        );
        escape::line(&what).into_owned()
    })
}

pub async fn delete(context: &Context, args: DeleteServiceArgs) -> Result<(), Failure> {
    let name = named(context, &args.service)?;
    if !args.force && !context.screen().confirm(&format!("Really delete service {}?", args.service))? {
        context.screen().note("nothing was deleted");
        return Ok(());
    }
    let request = DeleteServiceInstanceRequest { name, etag: String::new() };
    context
        .session
        .delete(&request, async |channel, request| {
            ServiceInstanceServiceClient::new(channel).delete_service_instance(request).await
        })
        .await?;
    context.printer.said(&format!("Service {} deleted.", args.service))
}

pub async fn bind(context: &Context, args: BindServiceArgs) -> Result<(), Failure> {
    let BindServiceArgs { app, service, binding_name } = args;
    let request = BindServiceRequest {
        name: names::app(&context.session.space()?, &app),
        service: named(context, &service)?,
        binding_name: binding_name.unwrap_or_default(),
        etag: String::new(),
    };
    let bound = context
        .session
        .call(&request, async |channel, request| AppServiceClient::new(channel).bind_service(request).await)
        .await?;
    done(context, &bound, &format!("is bound to {service}. Tasks that are accepted from now on have it."))
}

pub async fn unbind(context: &Context, args: UnbindServiceArgs) -> Result<(), Failure> {
    let UnbindServiceArgs { app, service } = args;
    let name = names::app(&context.session.space()?, &app);
    let request = UnbindServiceRequest { name, service: service.clone(), etag: String::new() };
    let left = context
        .session
        .call(&request, async |channel, request| AppServiceClient::new(channel).unbind_service(request).await)
        .await?;
    done(context, &left, &format!("is not bound to {service}. Tasks that were accepted before keep it."))
}

pub async fn bindings(context: &Context, args: BindingsArgs) -> Result<(), Failure> {
    let BindingsArgs { app, service } = args;
    let mut apps = match app {
        Some(app) => vec![app::get(context, &app).await?],
        None => app::all(context).await?,
    };
    for app in &mut apps {
        app.services.retain(|bound| service.as_ref().is_none_or(|name| names::last(&bound.service) == name));
    }
    apps.retain(|app| !app.services.is_empty());
    context.printer.list("apps", &apps, render::bindings)
}

/// The shape of what a Task gets, with every credential's place and none of their values.
pub async fn vcap_services(context: &Context, args: AppArgs) -> Result<(), Failure> {
    let app = app::get(context, &args.app).await?;
    let mut bound = Vec::with_capacity(app.services.len());
    for binding in app.services {
        let service = get(context, names::last(&binding.service)).await?;
        bound.push((binding, service));
    }
    context.screen().print(&render::vcap_services(&bound))
}

fn named(context: &Context, service: &str) -> Result<String, Failure> {
    Ok(format!("{}/services/{service}", context.session.space()?))
}

/// What was typed, and the fields it is about.
fn asked(settings: ServiceSettings) -> Result<(ServiceInstance, Vec<&'static str>), Failure> {
    let ServiceSettings { credentials, secret, label, plan, tags } = settings;
    let credentials = credentials.map(read).transpose()?;
    let said = [
        ("label", label.is_some()),
        ("plan", plan.is_some()),
        ("tags", tags.is_some()),
        ("credentials", credentials.is_some()),
        ("secret_name", secret.is_some()),
    ];
    let paths = said.into_iter().filter_map(|(path, said)| said.then_some(path)).collect();
    let service = ServiceInstance {
        label: label.unwrap_or_default(),
        plan: plan.unwrap_or_default(),
        tags: tags.unwrap_or_default(),
        credentials: credentials.unwrap_or_default(),
        secret_name: secret.unwrap_or_default(),
        ..ServiceInstance::default()
    };
    Ok((service, paths))
}

/// The object itself, or where it stands. What was read is never repeated.
fn read(typed: String) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match typed.strip_prefix('@') {
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text)),
        None if typed == "-" => std::io::stdin().lock().take(FILE_MAX).read_to_string(&mut text),
        None if typed.trim_start().starts_with('{') => return Ok(typed),
        None => {
            return Err(Failure::wrong_with(
                "the credentials are no JSON object".to_owned(),
                "write '{\"key\": \"value\"}', @FILE, or - for standard input".to_owned(),
            ));
        }
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::wrong(format!("the credentials cannot be read: {error}"))),
    }
}

fn done(context: &Context, app: &App, what: &str) -> Result<(), Failure> {
    context.printer.one(app, |app| escape::line(&format!("App {} {what}", names::last(&app.name))).into_owned())
}
