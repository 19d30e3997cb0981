//! Work for executors: derived from rows at each call, so that nothing is lost when a reply is.

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use prost::Message as _;
use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::{Event, EventData, Fact};
use taskplane_domain::name::{Name, SpaceName};
use taskplane_domain::run::RunKey;
use taskplane_domain::session::Session;
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
        let session = self.platform.store.session_get(parse_session(&session)?).await?;
        let in_hand: InHand = held.into_iter().filter_map(held_from_pb).collect();
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default().min(WAIT_MAX);
        let deadline = Instant::now() + wait;
        // Listen before looking.
        let feed = &self.platform.feed;
        let topics = [Topic::tasks(), Topic::spaces(), Topic::removals()];
        let mut rings = stream::select_all(topics.map(|topic| feed.listen(topic)));
        loop {
            let handed_over = self.handovers.notified();
            let items = self.work_look(&session, capacity.min(BATCH), &in_hand).await?;
            if !items.is_empty() || self.platform.lifecycle.soft().is_cancelled() {
                return Ok(items);
            }
            let next = self.next_look(&session).await?;
            // After the look: what waits by now and was not there for it has rung.
            let held_back = self.platform.store.work_held_back(&session.cluster).await?;
            let rung = async {
                loop {
                    match rings.next().await {
                        Some(Ring::Event(event)) if !makes_work(&event, &held_back) => {}
                        Some(ring) => {
                            if let Some(trace) = ring.trace() {
                                telemetry::link_to(&Span::current(), trace);
                            }
                            return;
                        }
                        None => std::future::pending().await,
                    }
                }
            };
            tokio::select! {
                () = rung => {}
                () = handed_over => {}
                () = tokio::time::sleep_until(next.min(deadline)) => {}
                () = self.platform.lifecycle.soft().cancelled() => return Ok(Vec::new()),
            }
            if Instant::now() >= deadline {
                return self.work_look(&session, capacity.min(BATCH), &in_hand).await;
            }
        }
    }

    /// When to look without being rung: when a retry falls due, when an executor has been silent for too long, or after a while.
    async fn next_look(&self, session: &Session) -> Result<Instant, ApiError> {
        let store = &self.platform.store;
        let due = store.work_next_due(&session.cluster).await?;
        let lapse = if session.adoptable { store.work_next_lapse(session.uid).await? } else { None };
        // A claim decides by the database's clock: a little late is better than in vain.
        let period = sweep(PERIOD);
        let next = due.into_iter().chain(lapse).min();
        let pause = next.map_or(period, |due| (due + Duration::from_millis(5)).min(period));
        Ok(Instant::now() + pause)
    }

    async fn work_look(
        &self,
        session: &Session,
        capacity: u32,
        in_hand: &InHand,
    ) -> Result<Vec<pb::WorkItem>, ApiError> {
        let store = &self.platform.store;
        // Whatever room there is: it runs already, and somebody must see it to its end.
        let adopted = if session.adoptable { store.work_adopt(session.uid, BATCH).await? } else { 0 };
        if adopted > 0 {
            self.meters.adopted(adopted);
            tracing::info!(session = %session.uid, executor = %session.executor, tasks = adopted, "runs are taken over");
        }
        let mut before = self.items(session, store.work_held(session.uid).await?, in_hand).await?;
        before.extend(self.removals(session.uid, in_hand).await?);
        // Runs of an earlier reply that was lost come first, and count.
        let launches = before.iter().filter(|item| matches!(item.work, Some(pb::work_item::Work::Launch(_)))).count();
        let room = capacity.saturating_sub(u32::try_from(launches).unwrap_or(u32::MAX));
        if room == 0 || store.work_claim(session.uid, room).await? == 0 {
            return Ok(before);
        }
        self.items(session, store.work_held(session.uid).await?, in_hand).await
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

    async fn items(&self, session: &Session, rows: Vec<Held>, in_hand: &InHand) -> Result<Vec<pb::WorkItem>, ApiError> {
        let (mut items, mut size) = (Vec::new(), 0);
        for Held { task, fence } in rows {
            let key = RunKey { task: task.uid, attempt: task.attempt };
            let work = match (&task.state, in_hand.get(&key)) {
                (TaskState::Pending { .. }, None) => {
                    let launch = self.specs.launch(&self.platform.store, &task, self.tokens.start_of(key)).await;
                    let Some(launch) = put_together(&task, launch)? else { continue };
                    self.meters.handed_out(&task, self.platform.clock.now());
                    pb::work_item::Work::Launch(dispatched(&task, launch))
                }
                // Another executor made its run, or this one in a session before.
                (TaskState::Starting { .. } | TaskState::Running { .. } | TaskState::Cancelling { .. }, None)
                    if session.adoptable =>
                {
                    let Some(adopt) = put_together(&task, self.adopt(&task).await)? else { continue };
                    pb::work_item::Work::Adopt(adopt)
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

    async fn adopt(&self, task: &Task) -> Result<pb::AdoptRun, StoreError> {
        let space = self.platform.store.space_get(&SpaceName(task.name.space.clone())).await?;
        let run_uid = task.state.run().map(|run| run.0.clone()).unwrap_or_default();
        let cancel = match &task.state {
            TaskState::Cancelling { grace, .. } => {
                Some(pb::CancelRun { run_uid: run_uid.clone(), grace: grace.map(duration_to_pb) })
            }
            _ => None,
        };
        Ok(pb::AdoptRun {
            run_uid,
            space_uid: task.space_uid.to_string(),
            log_cap_bytes: space.settings.log_cap.unwrap_or(0),
            traceparent: task.trace.clone().unwrap_or_default(),
            started: matches!(task.state, TaskState::Running { .. }),
            cancel,
        })
    }
}

/// One that cannot be put together must not keep the others from being handed out.
fn put_together<T>(task: &Task, work: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match work {
        Ok(work) => Ok(Some(work)),
        Err(error @ (StoreError::Corrupt(_) | StoreError::NotFound(_))) => {
            tracing::error!(task.name = %task.name, %error, "a task cannot be handed out");
            Ok(None)
        }
        Err(error) => Err(error),
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
