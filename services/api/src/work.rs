//! Work for executors: derived from rows at each call, so that nothing is lost when a reply is.

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use prost::Message as _;
use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::{Event, EventData, Fact};
use taskplane_domain::name::Name;
use taskplane_domain::run::RunKey;
use taskplane_domain::task::{Task, TaskState};
use taskplane_domain::uid::{SessionUid, TaskUid};
use taskplane_proto::convert::duration_to_pb;
use taskplane_proto::internal::v1 as pb;
use taskplane_runtime::failpoint::sweep;
use taskplane_runtime::telemetry;
use taskplane_store::{Held, LeftRun, StoreError};
use tokio::time::Instant;
use tracing::Span;

use crate::Api;
use crate::error::ApiError;
use crate::sessions::parse_session;
use crate::tasks::cluster;

const WAIT_MAX: Duration = Duration::from_secs(60);
/// The bus rings; this finds what it did not ring for.
const PERIOD: Duration = Duration::from_secs(10);
/// Most runs handed out in one reply.
const BATCH: u32 = 64;
/// Most removals asked for in one reply.
const REMOVALS: u32 = 256;
/// Bytes of one reply; the rest follows in the next one.
const REPLY: usize = 2 << 20;

/// What the caller has in hand already.
type InHand = HashMap<RunKey, Knows>;

/// What it knows of a run's end that was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knows {
    Nothing,
    ToCancel { grace: Option<Duration> },
}

impl Api {
    pub(crate) async fn work_acquire(&self, request: pb::AcquireWorkRequest) -> Result<Vec<pb::WorkItem>, ApiError> {
        let pb::AcquireWorkRequest { session, capacity, held, wait } = request;
        let session = parse_session(&session)?;
        let in_hand: InHand = held.into_iter().filter_map(held_from_pb).collect();
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default().min(WAIT_MAX);
        let deadline = Instant::now() + wait;
        // Listen before looking.
        let feed = &self.platform.feed;
        let topics = [Topic::tasks(), Topic::spaces(), Topic::removals()];
        let mut rings = stream::select_all(topics.map(|topic| feed.listen(topic)));
        loop {
            let items = self.work_look(session, capacity.min(BATCH), &in_hand).await?;
            if !items.is_empty() || self.platform.lifecycle.soft().is_cancelled() {
                return Ok(items);
            }
            let next = self.next_look().await?;
            // After the look: what waits by now and was not there for it has rung.
            let held_back = self.platform.store.work_held_back(&cluster()?).await?;
            let rung = async {
                loop {
                    match rings.next().await {
                        Some(Ring::Event(event)) if !makes_work(&event, &held_back) => {}
                        Some(_) => return,
                        None => std::future::pending().await,
                    }
                }
            };
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep_until(next.min(deadline)) => {}
                () = self.platform.lifecycle.soft().cancelled() => return Ok(Vec::new()),
            }
            if Instant::now() >= deadline {
                return self.work_look(session, capacity.min(BATCH), &in_hand).await;
            }
        }
    }

    /// When to look without being rung: when a retry falls due, or after a while.
    async fn next_look(&self) -> Result<Instant, ApiError> {
        let cluster = cluster()?;
        let due = self.platform.store.work_next_due(&cluster).await?;
        // A claim decides by the database's clock: a little late is better than in vain.
        let period = sweep(PERIOD);
        let pause = due.map_or(period, |due| (due + Duration::from_millis(5)).min(period));
        Ok(Instant::now() + pause)
    }

    async fn work_look(
        &self,
        session: SessionUid,
        capacity: u32,
        in_hand: &InHand,
    ) -> Result<Vec<pb::WorkItem>, ApiError> {
        let store = &self.platform.store;
        let mut before = self.items(store.work_held(session).await?, in_hand).await?;
        before.extend(self.removals(session, in_hand).await?);
        // Runs of an earlier reply that was lost come first, and count.
        let launches = before.iter().filter(|item| matches!(item.work, Some(pb::work_item::Work::Launch(_)))).count();
        let room = capacity.saturating_sub(u32::try_from(launches).unwrap_or(u32::MAX));
        if room == 0 || store.work_claim(session, room).await? == 0 {
            return Ok(before);
        }
        self.items(store.work_held(session).await?, in_hand).await
    }

    /// Runs of Tasks that are to be removed, less those that the caller is at.
    async fn removals(&self, session: SessionUid, in_hand: &InHand) -> Result<Vec<pb::WorkItem>, ApiError> {
        let most = REMOVALS.saturating_add(u32::try_from(in_hand.len()).unwrap_or(u32::MAX));
        let left = self.platform.store.work_removals(session, most).await?;
        let item = |LeftRun { key, run, fence }: LeftRun| pb::WorkItem {
            task_uid: key.task.to_string(),
            attempt: key.attempt,
            fence: fence.0,
            work: Some(pb::work_item::Work::Remove(pb::RemoveRun { run_uid: run.0 })),
        };
        Ok(left.into_iter().filter(|left| !in_hand.contains_key(&left.key)).map(item).collect())
    }

    async fn items(&self, rows: Vec<Held>, in_hand: &InHand) -> Result<Vec<pb::WorkItem>, ApiError> {
        let (mut items, mut size) = (Vec::new(), 0);
        for Held { task, fence } in rows {
            let key = RunKey { task: task.uid, attempt: task.attempt };
            let work = match (&task.state, in_hand.get(&key)) {
                (TaskState::Pending { .. }, None) => {
                    match self.specs.launch(&self.platform.store, &task).await {
                        Ok(launch) => {
                            self.meters.handed_out(&task, self.platform.clock.now());
                            pb::work_item::Work::Launch(dispatched(&task, launch))
                        }
                        // One that cannot be put together must not keep the others from being handed out.
                        Err(error @ (StoreError::Corrupt(_) | StoreError::NotFound(_))) => {
                            tracing::error!(task.name = %task.name, %error, "a task cannot be handed out");
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                (TaskState::Cancelling { run, grace, .. }, known)
                    if known != Some(&Knows::ToCancel { grace: *grace }) =>
                {
                    pb::work_item::Work::Cancel(pb::CancelRun {
                        run_uid: run.0.clone(),
                        grace: grace.map(duration_to_pb),
                    })
                }
                _ => continue,
            };
            let item = pb::WorkItem {
                task_uid: task.uid.to_string(),
                attempt: task.attempt,
                fence: fence.0,
                work: Some(work),
            };
            size += item.encoded_len();
            if size > REPLY && !items.is_empty() {
                break;
            }
            items.push(item);
        }
        Ok(items)
    }
}

/// The executor goes on with the Task's trace where the api hands it out, beside the call that asks for work.
fn dispatched(task: &Task, launch: pb::Launch) -> pb::Launch {
    let Some(trace) = &task.trace else { return launch };
    let span = tracing::info_span!(parent: None, "task.dispatch", task.name = %task.name, task.attempt = task.attempt);
    telemetry::continue_from(&span, trace);
    telemetry::link(&span, &Span::current());
    match telemetry::traceparent_of(&span) {
        Some(traceparent) => pb::Launch { traceparent, ..launch },
        None => launch,
    }
}

/// Other events change nothing about what there is to do. `held_back`: Spaces that may wait for one of their Tasks to end.
fn makes_work(event: &Event, held_back: &[Name]) -> bool {
    match event.fact {
        Fact::TaskRequested
        | Fact::TaskRequeued
        | Fact::TaskAttemptFailed
        | Fact::TaskCancelRequested
        | Fact::TaskCancelForced => true,
        // A Task that is to replace it may have been waiting for this, or one that its quota held back.
        Fact::TaskSucceeded | Fact::TaskFailed | Fact::TaskCancelled => {
            matches!(&event.data, EventData::Task(task) if task.job.is_some())
                || held_back.contains(event.subject.space())
        }
        // Its quota may be another one now.
        Fact::SpaceUpdated => true,
        _ => false,
    }
}

fn held_from_pb(held: pb::Held) -> Option<(RunKey, Knows)> {
    let pb::Held { task_uid, attempt, cancelling, grace } = held;
    let grace = grace.and_then(|grace| Duration::try_from(grace).ok());
    let knows = if cancelling { Knows::ToCancel { grace } } else { Knows::Nothing };
    Some((RunKey { task: TaskUid(task_uid.parse().ok()?), attempt }, knows))
}
