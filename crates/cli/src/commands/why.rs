//! `why` and `abandon-task`: Tasks that do not come along.

use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_proto::v1::{AbandonTaskRequest, ExplainTaskRequest, ExplainTaskResponse};

use crate::args::{AbandonArgs, TaskArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::names;
use crate::render::explain::explained;
use crate::{clock, watch};

pub async fn why(context: &Context, args: TaskArgs) -> Result<(), Failure> {
    let name = names::task(&args.pick, || context.session.space())?;
    let request = ExplainTaskRequest { name };
    let answer: ExplainTaskResponse = context
        .session
        .call(&request, async |channel, request| TaskServiceClient::new(channel).explain_task(request).await)
        .await?;
    context.printer.one(&answer, |answer| explained(answer, clock::now()))
}

/// Asks first: it is the one order that takes somebody's word for what runs.
pub async fn abandon(context: &Context, args: AbandonArgs) -> Result<(), Failure> {
    let AbandonArgs { pick, force } = args;
    let name = names::task(&pick, || context.session.space())?;
    let before = watch::get(&context.session, &name).await?;
    let short = names::short_task(&before.name);
    let question = format!(
        "Really give up Task {short}? It fails as LOST, since nobody saw its end. If something of it still runs, nothing \
         here will end it: look at the machine or the cluster first."
    );
    if !force && context.screen().can_ask() && !context.screen().confirm(&question)? {
        context.screen().note("nothing was changed");
        return Ok(());
    }
    let request = AbandonTaskRequest { name, etag: before.etag };
    let task = context
        .session
        .call(&request, async |channel, request| TaskServiceClient::new(channel).abandon_task(request).await)
        .await?;
    context
        .printer
        .said(&format!("Task {short} is given up: it failed as LOST. Nothing here ends what may be left of it."))?;
    if context.printer.for_people() { Ok(()) } else { super::task::print(context, &task) }
}
