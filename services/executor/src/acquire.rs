//! Taking work: one long poll at a time, carrying what is in hand already.

use std::time::Duration;

use futures::StreamExt as _;
use taskplane_domain::run::{Fate, Observed, RunKey};
use taskplane_domain::uid::{Fence, RunUid, TaskUid};
use taskplane_proto::convert::duration_to_pb;
use taskplane_proto::internal::v1 as pb;
use taskplane_runtime::worker::jittered;

use crate::Executor;
use crate::session::{Session, control, is_over, lost};

const WAIT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(500);

impl Executor {
    /// Until the process is asked to stop, or the session is over.
    pub(crate) async fn work(self, session: &Session, capacity: u32) -> anyhow::Result<()> {
        let soft = self.platform.lifecycle.soft().clone();
        let limit = capacity as usize;
        loop {
            let held = self.registry.all();
            let full = held.len() >= limit;
            let request = pb::AcquireWorkRequest {
                session: session.id.clone(),
                capacity: u32::try_from(limit.saturating_sub(held.len())).unwrap_or(0),
                held: held
                    .iter()
                    .map(|run| pb::Held {
                        task_uid: run.key.task.to_string(),
                        attempt: run.key.attempt,
                        cancelling: run.cancelling().is_some(),
                        grace: run.cancelling().flatten().map(duration_to_pb),
                    })
                    .chain(self.registry.leaving().into_iter().map(leaving))
                    .collect(),
                wait: Some(duration_to_pb(WAIT)),
            };
            let mut api = control(&self.platform.api);
            let mut call = tonic::Request::new(request);
            call.set_timeout(WAIT * 2);
            let items = tokio::select! {
                () = soft.cancelled() => return Ok(()),
                // A poll without room takes only cancels: begin another one as soon as there is room.
                () = self.registry.below(limit), if full => continue,
                answer = api.acquire_work(call) => match answer {
                    Ok(response) => response.into_inner().items,
                    Err(status) if is_over(&status) => return Err(lost(&status)),
                    Err(status) => {
                        tracing::warn!(code = ?status.code(), error = status.message(), "no work taken, trying again");
                        tokio::select! {
                            () = soft.cancelled() => return Ok(()),
                            () = tokio::time::sleep(jittered(RETRY)) => continue,
                        }
                    }
                },
            };
            for item in items {
                self.take(item);
            }
        }
    }

    fn take(&self, item: pb::WorkItem) {
        let pb::WorkItem { task_uid, attempt, fence, work } = item;
        let (Ok(task), Some(work)) = (task_uid.parse().map(TaskUid), work) else {
            tracing::error!("the api sent a work item that says nothing");
            return;
        };
        let (key, fence) = (RunKey { task, attempt }, Fence(fence));
        match work {
            pb::work_item::Work::Launch(launch) => {
                if let Some(run) = self.registry.take(key, fence) {
                    self.platform.lifecycle.spawn("run", self.clone().drive(run, launch));
                }
            }
            pb::work_item::Work::Cancel(pb::CancelRun { run_uid, grace }) => match self.registry.find(&key) {
                Some(run) => run.cancel(grace.and_then(|grace| Duration::try_from(grace).ok())),
                // Another look at the rows makes it one to take over, if it still is.
                None if self.outlives() => {}
                None => self.platform.lifecycle.spawn("run", self.clone().disown(key, fence, RunUid(run_uid))),
            },
            pb::work_item::Work::Adopt(adopt) => {
                if let Some(run) = self.registry.take(key, fence) {
                    self.platform.lifecycle.spawn("run", self.clone().take_over(run, adopt));
                }
            }
            pb::work_item::Work::Remove(pb::RemoveRun { run_uid }) => {
                // One that is in hand goes by itself, when its log is archived.
                if self.registry.find(&key).is_none() && self.registry.leave(key) {
                    let gone = self.clone().see_off(key, fence, RunUid(run_uid));
                    self.platform.lifecycle.spawn("removal", gone);
                }
            }
        }
    }

    /// A run that is said to be here and is not.
    async fn disown(self, key: RunKey, fence: Fence, run: RunUid) {
        let fate = Fate::Lost { message: "the executor knows nothing of the run".to_owned() };
        self.reports.tell(key, fence, Observed::Over { run, fate }).await;
    }

    /// Hands the backend's hints to the runs they speak of.
    pub(crate) async fn listen_to_changes(self) {
        let mut changes = self.platform.backend.changes();
        let stop = self.platform.lifecycle.hard().clone();
        let soft = self.platform.lifecycle.soft().clone();
        loop {
            let key = tokio::select! {
                () = stop.cancelled() => return,
                () = async { soft.cancelled().await; self.registry.empty().await } => return,
                key = changes.next() => key,
            };
            let Some(key) = key else { return };
            if let Some(run) = self.registry.find(&key) {
                run.bell.notify_one();
            }
        }
    }
}

fn leaving(key: RunKey) -> pb::Held {
    let RunKey { task, attempt } = key;
    pb::Held { task_uid: task.to_string(), attempt, cancelling: false, grace: None }
}
