//! Waits for the end of a Task, across broken connections.

use taskplane_proto::v1::job_service_client::JobServiceClient;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_proto::v1::{GetJobRequest, GetTaskRequest, Job, Task, WatchTasksRequest};
use tonic::{Code, Status};

use crate::connect::{Patience, Session};
use crate::failure::{Failure, is_passing};
use crate::render::state::is_over;

pub async fn get(session: &Session, name: &str) -> Result<Task, Failure> {
    let request = GetTaskRequest { name: name.to_owned(), ..Default::default() };
    session.call(&request, async |channel, request| TaskServiceClient::new(channel).get_task(request).await).await
}

/// The Task as it ended, with its attempts.
pub async fn until_over(session: &Session, name: &str) -> Result<Task, Failure> {
    let mut patience = Patience::for_streams();
    let mut resume_token = String::new();
    loop {
        let task = get(session, name).await?;
        if is_over(task.state()) {
            return Ok(task);
        }
        let request = WatchTasksRequest { parent: name.to_owned(), resume_token: resume_token.clone() };
        let status = watch(session, request, &mut resume_token, &mut patience).await;
        match status {
            Ok(()) => {}
            // The token is too old for the feed: begin again with what is there.
            Err(status) if is_stale(&status) && !resume_token.is_empty() => resume_token.clear(),
            Err(status) if is_passing(&status) => match patience.next(&status) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(session.refused(status)),
            },
            Err(status) => return Err(session.refused(status)),
        }
    }
}

/// Returns when the Task is over or gone; a stream that ends earlier counts as broken.
async fn watch(
    session: &Session,
    request: WatchTasksRequest,
    resume_token: &mut String,
    patience: &mut Patience,
) -> Result<(), Status> {
    let mut client = TaskServiceClient::new(session.channel.clone());
    let mut stream = session.open(client.watch_tasks(request)).await?;
    patience.opened();
    while let Some(change) = stream.message().await? {
        patience.refresh();
        *resume_token = change.resume_token;
        if change.fact == "removed" || change.task.is_some_and(|task| is_over(task.state())) {
            return Ok(());
        }
    }
    Err(Status::unavailable("the stream ended before the task did"))
}

fn is_stale(status: &Status) -> bool {
    matches!(status.code(), Code::OutOfRange | Code::InvalidArgument)
}

pub async fn job(session: &Session, name: &str) -> Result<Job, Failure> {
    let request = GetJobRequest { name: name.to_owned() };
    session.call(&request, async |channel, request| JobServiceClient::new(channel).get_job(request).await).await
}
