//! `retention`: what an App keeps, and what would go now.

use taskplane_proto::v1::retention_service_client::RetentionServiceClient;
use taskplane_proto::v1::{ListRemovableRequest, ListRemovableResponse};

use super::PAGE;
use crate::args::{AppArgs, Output};
use crate::context::Context;
use crate::failure::Failure;
use crate::render::retention as table;
use crate::{clock, names};

pub async fn retention(context: &Context, args: AppArgs) -> Result<(), Failure> {
    let parent = names::app(&context.session.space()?, &args.app);
    let mut request = ListRemovableRequest { parent, page_size: PAGE, page_token: String::new() };
    let mut whole = ListRemovableResponse::default();
    loop {
        let page = context
            .session
            .call(&request, async |channel, request| RetentionServiceClient::new(channel).list_removable(request).await)
            .await?;
        whole.tasks.extend(page.tasks);
        whole.retention = page.retention;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if context.printer.output == Output::Name {
        return whole.tasks.iter().try_for_each(|task| context.screen().print(&task.name));
    }
    context.printer.one(&whole, |whole| table::retention(whole, clock::now()))
}
