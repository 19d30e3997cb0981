//! Output that is not archived yet: from the executor that has it, where there is a route to it.

use std::collections::HashMap;
use std::sync::Arc;

use taskplane_domain::run::RunKey;
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::executor_logs_client::ExecutorLogsClient;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::Api;

/// How executors are reached, by the address that their sessions name. Without a route the archive must do.
#[derive(Clone, Default)]
pub struct LogRoutes {
    known: Arc<HashMap<String, Channel>>,
}

impl LogRoutes {
    pub fn new(known: HashMap<String, Channel>) -> Self {
        Self { known: Arc::new(known) }
    }
}

impl Api {
    /// What an attempt writes behind `offset`, while its executor has it. None: look into the archive.
    pub(crate) async fn live(&self, key: RunKey, offset: u64, follow: bool) -> Option<Streaming<pb::TailLogsResponse>> {
        let (session, _) = self.platform.store.task_owner(key.task).await.ok()??;
        let channel = self.routes.known.get(&session.logs_address?)?.clone();
        let request = pb::TailLogsRequest { task_uid: key.task.to_string(), attempt: key.attempt, offset, follow };
        let response = ExecutorLogsClient::new(channel)
            .max_decoding_message_size(taskplane_runtime::server::MESSAGE_OUT)
            .tail_logs(request)
            .await;
        response.ok().map(tonic::Response::into_inner)
    }
}
