//! StartTicket: what guards in pods ask, handed on to the api. Nothing is decided here, and nothing is remembered; any executor of
//! the cluster will do.

use std::sync::Arc;
use std::time::Duration;

use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::start_ticket_server::{StartTicket, StartTicketServer};
use taskplane_runtime::worker::jittered;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::session::control;

/// Most questions under way; more are told to come again.
const TURNS: usize = 256;
/// How long the api may take to answer, and how long it is asked. A guard waits a little longer.
const TRY: Duration = Duration::from_secs(3);
const TRIES: Duration = Duration::from_secs(8);
const RETRY: Duration = Duration::from_millis(200);
/// A question is some short words; nobody sends more but to harm.
const QUESTION: usize = 4 * 1024;

struct Tickets {
    api: Channel,
    turns: Arc<Semaphore>,
}

/// What is served to pods.
pub fn routes(api: Channel) -> Routes {
    let tickets = Tickets { api, turns: Arc::new(Semaphore::new(TURNS)) };
    Routes::new(StartTicketServer::new(tickets).max_decoding_message_size(QUESTION))
}

#[tonic::async_trait]
impl StartTicket for Tickets {
    async fn ask_start(&self, request: Request<pb::AskStartRequest>) -> Result<Response<pb::AskStartResponse>, Status> {
        let Ok(_turn) = self.turns.try_acquire() else {
            return Err(Status::unavailable("too many ask at once: ask again"));
        };
        let pb::AskStartRequest { task_uid, attempt, pod_uid, guard_nonce, token } = request.into_inner();
        let claim = pb::ClaimStartRequest { task_uid, attempt, pod_uid, guard_nonce, token };
        let answer = self.claim(claim).await?;
        Ok(Response::new(pb::AskStartResponse { answer }))
    }
}

impl Tickets {
    async fn claim(&self, claim: pb::ClaimStartRequest) -> Result<i32, Status> {
        let until = Instant::now() + TRIES;
        loop {
            let mut call = Request::new(claim.clone());
            call.set_timeout(TRY);
            match control(&self.api).claim_start(call).await {
                Ok(response) => return Ok(response.into_inner().answer),
                // Asking again is answered alike.
                Err(status) if matches!(status.code(), Code::PermissionDenied | Code::InvalidArgument) => {
                    tracing::warn!(task.uid = claim.task_uid, code = ?status.code(), "a guard's question was refused");
                    return Err(Status::new(status.code(), status.message()));
                }
                Err(status) => {
                    tracing::warn!(code = ?status.code(), error = status.message(), "a guard's question was not answered");
                    if Instant::now() + RETRY >= until {
                        return Err(Status::unavailable("the control plane does not answer: ask again"));
                    }
                }
            }
            tokio::time::sleep(jittered(RETRY)).await;
        }
    }
}
