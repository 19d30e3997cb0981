//! ExecutorLogs: output that is not archived yet.

use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use taskplane_domain::run::RunKey;
use taskplane_domain::uid::TaskUid;
use taskplane_proto::convert::log_record_to_pb;
use taskplane_proto::internal::v1 as pb;
use taskplane_proto::internal::v1::executor_logs_server::ExecutorLogs;
use tonic::{Request, Response, Status};

use crate::Executor;

pub(crate) const UNHURRIED: &[&str] = &["/taskplane.internal.v1.ExecutorLogs/TailLogs"];

/// Records in one answer; one is at most 64 KiB.
const BATCH: usize = 32;

#[tonic::async_trait]
impl ExecutorLogs for Executor {
    type TailLogsStream = BoxStream<'static, Result<pb::TailLogsResponse, Status>>;

    async fn tail_logs(&self, request: Request<pb::TailLogsRequest>) -> Result<Response<Self::TailLogsStream>, Status> {
        let pb::TailLogsRequest { task_uid, attempt, offset, follow } = request.into_inner();
        let task = task_uid.parse().map(TaskUid).map_err(|_| Status::invalid_argument("task_uid must be a uuid"))?;
        let key = RunKey { task, attempt };
        let run = self.registry.find(&key).ok_or_else(|| Status::not_found("no such run is here"))?;
        let records = self.platform.backend.output(&key, offset, follow).ready_chunks(BATCH).map(|batch| {
            let records = batch.into_iter().collect::<Result<Vec<_>, _>>();
            let records = records.map_err(|error| Status::unavailable(error.to_string()))?;
            Ok(pb::TailLogsResponse { records: records.iter().map(log_record_to_pb).collect() })
        });
        if !follow {
            return Ok(Response::new(records.boxed()));
        }
        // Ends when the archive is complete, so that whoever looks there next finds everything.
        let sealed = async move {
            let mut sealed = run.sealed.subscribe();
            tokio::select! {
                _ = sealed.wait_for(|sealed| *sealed) => {}
                // Another executor goes on with it.
                () = run.gone.cancelled() => {}
            }
            None
        };
        let sealed = sealed.into_stream().filter_map(|nothing| async { nothing });
        Ok(Response::new(records.chain(sealed).boxed()))
    }
}
