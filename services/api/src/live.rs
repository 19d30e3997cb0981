//! Output that is not archived yet: from the executor that has it, where there is a route to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use taskplane_domain::run::RunKey;
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::executor_logs_client::ExecutorLogsClient;
use taskplane_runtime::dial::Address;
use taskplane_runtime::internal::Internal;
use taskplane_runtime::tls::Role;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::Api;

/// Channels that are kept. With more executors than that, one is dialled anew now and then.
const CHANNELS: usize = 256;
/// An executor that takes longer to begin is as good as none.
const BEGIN: Duration = Duration::from_secs(3);

/// How executors are reached, by the address that their sessions name. Without a route the archive must do.
#[derive(Clone)]
pub struct LogRoutes(Routes);

#[derive(Clone)]
enum Routes {
    /// The one that is in this process.
    Inside { address: String, channel: Channel },
    /// Each at its own address, dialled when its output is first asked for.
    Dialled { internal: Internal, channels: Arc<Mutex<HashMap<String, Channel>>> },
}

impl LogRoutes {
    pub fn inside(address: &str, channel: Channel) -> Self {
        Self(Routes::Inside { address: address.to_owned(), channel })
    }

    pub fn dialled(internal: Internal) -> Self {
        Self(Routes::Dialled { internal, channels: Arc::default() })
    }

    fn find(&self, to: &str) -> Option<Channel> {
        match &self.0 {
            Routes::Inside { address, channel } => (address == to).then(|| channel.clone()),
            Routes::Dialled { internal, channels } => {
                let mut channels = channels.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(channel) = channels.get(to) {
                    return Some(channel.clone());
                }
                let channel = internal.dial(Role::Executor, vec![to.parse::<Address>().ok()?])?;
                if channels.len() >= CHANNELS {
                    channels.clear();
                }
                channels.insert(to.to_owned(), channel.clone());
                Some(channel)
            }
        }
    }
}

impl Api {
    /// What an attempt writes behind `offset`, while its executor has it. None: look into the archive.
    pub(crate) async fn live(&self, key: RunKey, offset: u64, follow: bool) -> Option<Streaming<pb::TailLogsResponse>> {
        let (session, _) = self.platform.store.task_owner(key.task).await.ok()??;
        let channel = self.routes.find(&session.logs_address?)?;
        let request = pb::TailLogsRequest { task_uid: key.task.to_string(), attempt: key.attempt, offset, follow };
        let mut executor =
            ExecutorLogsClient::new(channel).max_decoding_message_size(taskplane_runtime::server::MESSAGE_OUT);
        let response = timeout(BEGIN, executor.tail_logs(request)).await.ok()?;
        response.ok().map(tonic::Response::into_inner)
    }
}
