//! `target`: which api and Space commands speak to.

use taskplane_proto::v1::space_service_client::SpaceServiceClient;
use taskplane_proto::v1::{GetSpaceRequest, ListSpacesRequest};

use crate::context::Context;
use crate::escape;
use crate::failure::Failure;
use crate::target::{Stored, store};

pub async fn target(context: &Context) -> Result<(), Failure> {
    let typed = &context.config.typed;
    if *typed != Stored::default() {
        verify(context).await?;
        let path = context.config.path.as_deref().ok_or_else(|| {
            Failure::wrong_with(
                "there is no home directory to store the target in".to_owned(),
                "set --config".to_owned(),
            )
        })?;
        let kept = &context.config.stored;
        let choice = Stored {
            // With its scheme, as it was understood.
            api: typed.api.as_ref().map(|_| context.session.url.clone()).or_else(|| kept.api.clone()),
            ca_file: typed
                .ca_file
                .as_ref()
                .and_then(|file| std::path::absolute(file).ok())
                .or_else(|| kept.ca_file.clone()),
            space: typed.space.clone().or_else(|| kept.space.clone()),
        };
        store(path, &choice)?;
    }
    show(context)
}

/// A Space that is not there, or an api that does not answer, is better noticed now than by the next command.
async fn verify(context: &Context) -> Result<(), Failure> {
    let session = &context.session;
    match session.space() {
        Ok(name) => {
            let request = GetSpaceRequest { name };
            session
                .call(&request, async |channel, request| SpaceServiceClient::new(channel).get_space(request).await)
                .await?;
        }
        Err(_) => {
            let request = ListSpacesRequest { page_size: 1, page_token: String::new() };
            session
                .call(&request, async |channel, request| SpaceServiceClient::new(channel).list_spaces(request).await)
                .await?;
        }
    }
    Ok(())
}

fn show(context: &Context) -> Result<(), Failure> {
    let space = context.session.space().ok();
    let space = space.as_deref().map(crate::names::last);
    if context.printer.for_people() {
        let line = |key: &str, value: &str| format!("{key:7}{}\n", escape::line(value));
        return context.screen().print(&format!(
            "{}{}",
            line("api:", &context.session.url),
            line("space:", space.unwrap_or("<none>"))
        ));
    }
    context.printer.value(&serde_json::json!({ "api": context.session.url, "space": space }))
}
