//! Watching: the feed from a position on, each event once, for as long as the caller listens.

use std::time::Duration;

use async_stream::try_stream;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use taskplane_bus::Topic;
use taskplane_domain::event::Event;
use taskplane_proto::convert::{task_to_pb, watched_to_pb};
use taskplane_proto::details;
use taskplane_proto::v1 as pb;
use taskplane_runtime::failpoint::sweep;
use taskplane_store::{FeedMark, FeedQuery, StoreError, TaskMark, TaskQuery};
use tonic::{Code, Status};

use crate::Api;
use crate::error::ApiError;
use crate::names::Scope;
use crate::tokens::too_old;

/// Events read at once.
const BATCH: u32 = 200;
/// Tasks read at once when a watch begins with what is there.
const PAGE: u32 = 200;
/// The bus rings; this finds what it did not ring for.
const PERIOD: Duration = Duration::from_secs(5);

impl Api {
    /// WatchTasks.
    pub(crate) async fn watch(
        self,
        request: pb::WatchTasksRequest,
    ) -> Result<BoxStream<'static, Result<pb::WatchTasksResponse, Status>>, Status> {
        let pb::WatchTasksRequest { parent, resume_token } = request;
        let scope = Scope::of_tasks("parent", &parent).map_err(ApiError::from)?;
        let question = format!("{}/watch-tasks/{parent}", self.principal());
        let resumed = self.tokens.open_resume(&question, &resume_token)?;
        self.exists(&scope).await?;
        let start = self.start(&scope, resumed).await?;
        let existing =
            resumed.is_none().then(|| self.clone().existing(scope.clone(), self.tokens.resume(&question, start)));
        let changes = self.clone().feed(scope, true, start).filter_map(move |change| {
            let change = change.map(|(mark, event)| {
                let resume_token = self.tokens.resume(&question, mark);
                watched_to_pb(&event).map(|response| pb::WatchTasksResponse { resume_token, ..response })
            });
            std::future::ready(change.transpose())
        });
        Ok(match existing {
            Some(existing) => existing.chain(changes).boxed(),
            None => changes.boxed(),
        })
    }

    /// The Tasks as they are, oldest first, before the changes that follow. `resume_token` leads to those changes, some of
    /// which may be in what is shown here already: a client passes over a sequence that it has seen.
    fn existing(
        self,
        scope: Scope,
        resume_token: String,
    ) -> BoxStream<'static, Result<pb::WatchTasksResponse, Status>> {
        try_stream! {
            let Scope { space, app, task } = scope;
            let mut query = TaskQuery { space, app, states: Vec::new(), job: None, newest_first: false, after: None, limit: PAGE };
            loop {
                let tasks = self.platform.store.task_list(&query).await.map_err(ApiError::from)?;
                query.after = tasks.last().map(TaskMark::from);
                for found in tasks.iter().filter(|found| task.is_none_or(|id| found.name.id == id)) {
                    yield pb::WatchTasksResponse {
                        task: Some(task_to_pb(found, None)),
                        fact: "existing".to_owned(),
                        sequence: found.version.cast_signed(),
                        resume_token: resume_token.clone(),
                    };
                }
                if (tasks.len() as u64) < u64::from(PAGE) {
                    break;
                }
            }
        }
        .boxed()
    }

    /// Where a watch begins: behind its token, or now.
    pub(crate) async fn start(&self, scope: &Scope, resumed: Option<FeedMark>) -> Result<FeedMark, Status> {
        let head = self.platform.store.feed_head().await.map_err(ApiError::from)?;
        match resumed {
            // A position that was not given yet: the database went back in time, or the token comes from another one.
            Some(mark) if mark.position > head => Err(too_old()),
            Some(mark) => {
                self.platform.store.feed_reaches(&scope.space, mark).await.map_err(trimmed)?;
                Ok(mark)
            }
            None => Ok(FeedMark::behind(head)),
        }
    }

    /// Events behind `after`, as they come, with their positions.
    pub(crate) fn feed(
        self,
        scope: Scope,
        tasks_only: bool,
        mut after: FeedMark,
    ) -> BoxStream<'static, Result<(FeedMark, Event), Status>> {
        try_stream! {
            let Scope { space, app, task } = scope;
            let stop = self.platform.lifecycle.soft().clone();
            let mut rings = self.platform.feed.listen(Topic::of(space.clone(), app.clone()));
            let query = FeedQuery { space, app, task_id: task, tasks_only };
            loop {
                let events = self.platform.store.feed_read(&query, after, BATCH).await.map_err(trimmed)?;
                let more = events.len() as u64 == u64::from(BATCH);
                for (mark, event) in events {
                    after = mark;
                    yield (mark, event);
                }
                if more {
                    continue;
                }
                let stopping = tokio::select! {
                    () = stop.cancelled() => true,
                    _ = rings.next() => false,
                    () = tokio::time::sleep(sweep(PERIOD)) => false,
                };
                if stopping {
                    Err(going_away())?;
                }
            }
        }
        .boxed()
    }
}

/// A reader that is so far behind that it cannot see all of it any more must be told.
fn trimmed(error: StoreError) -> Status {
    match error {
        StoreError::Trimmed => too_old(),
        error => ApiError::from(error).into(),
    }
}

/// The process stops: the caller goes on elsewhere with the token it has.
pub(crate) fn going_away() -> Status {
    details::retry_later(
        Code::Unavailable,
        "GOING_AWAY",
        "this server is stopping: go on with the last resume_token",
        Duration::from_millis(500),
    )
}
