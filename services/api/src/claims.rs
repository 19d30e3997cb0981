//! Start tickets: whether the command of a guarded run may start in the process that asks. The Task's row decides.

use taskplane_domain::run::{RunKey, StartToken};
use taskplane_domain::task::{Claim, Refusal, Ticket};
use taskplane_proto::convert::refusal_to_pb;
use taskplane_proto::internal::v1 as pb;
use taskplane_store::StoreError;

use crate::Api;
use crate::error::ApiError;
use crate::tasks::TRIES;

impl Api {
    pub(crate) async fn claim_start(
        &self,
        key: RunKey,
        ticket: Ticket,
        token: &StartToken,
    ) -> Result<pb::StartAnswer, ApiError> {
        if !self.tokens.is_start_of(key, token) {
            return Err(ApiError::ForeignToken);
        }
        let store = &self.platform.store;
        for _ in 0..TRIES {
            let task = match store.task_get_by_uid(key.task).await {
                // It is over, and even its row has gone.
                Err(StoreError::NotFound(_)) => return Ok(refusal_to_pb(Refusal::Over)),
                task => task?,
            };
            let name = task.name.clone();
            let step = match task.claim_start(key.attempt, ticket.clone(), store.now().await?) {
                Claim::Granted => return Ok(pb::StartAnswer::Granted),
                Claim::Refused(refusal) => {
                    tracing::info!(task.name = %name, answer = refusal.as_str(), "start refused");
                    return Ok(refusal_to_pb(refusal));
                }
                Claim::Grant(step) => step,
            };
            match store.task_commit(&step).await {
                // Another pod was faster, or its end was asked for: the row says which.
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    self.platform.feed.ring();
                    return Ok(pb::StartAnswer::Granted);
                }
            }
        }
        Err(StoreError::Conflict(key.to_string()).into())
    }
}
