//! `job-history`: what became of each time of a Job, and of each run that was asked for.

use taskplane_proto::v1::job_service_client::JobServiceClient;
use taskplane_proto::v1::{JobRun, ListJobRunsRequest};

use super::{PAGE, task};
use crate::args::JobHistoryArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::job as table;
use crate::{clock, names};

pub async fn history(context: &Context, args: JobHistoryArgs) -> Result<(), Failure> {
    let JobHistoryArgs { job, tasks, limit } = args;
    let job = names::job(&job, || context.session.space())?;
    let limit = limit as usize;
    if tasks {
        let parent = names::app(&names::space_of(&job), "-");
        return task::list_some(context, parent, task::filter(&[], Some(names::last(&job))), limit).await;
    }
    let (runs, more) = ledger(context, job, limit).await?;
    context.printer.list("runs", &runs, |runs| table::runs(runs, clock::now()))?;
    if more && context.printer.for_people() {
        context.screen().note(&format!("there are older ones; -n/--limit shows more than {limit}"));
    }
    Ok(())
}

/// The newest entries, and whether there are older ones.
async fn ledger(context: &Context, job: String, limit: usize) -> Result<(Vec<JobRun>, bool), Failure> {
    let mut request = ListJobRunsRequest { parent: job, ..ListJobRunsRequest::default() };
    let mut runs: Vec<JobRun> = Vec::new();
    loop {
        request.page_size = i32::try_from(limit - runs.len()).map_or(PAGE, |left| left.min(PAGE));
        let page = context
            .session
            .call(&request, async |channel, request| JobServiceClient::new(channel).list_job_runs(request).await)
            .await?;
        runs.extend(page.runs);
        let more = !page.next_page_token.is_empty() || runs.len() > limit;
        if !more || runs.len() >= limit {
            runs.truncate(limit);
            return Ok((runs, more));
        }
        request.page_token = page.next_page_token;
    }
}
