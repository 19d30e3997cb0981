//! The log of a whole App: all its Tasks, interleaved by time; and when following, those that start later too.

use std::collections::VecDeque;
use std::time::Duration;

use async_stream::try_stream;
use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Fact;
use taskplane_domain::name::AppName;
use taskplane_domain::task::Task;
use taskplane_domain::uid::TaskUid;
use taskplane_proto::v1 as pb;
use taskplane_store::{TaskMark, TaskQuery};
use tonic::Status;
use uuid::Uuid;

use crate::Api;
use crate::driven::driven;
use crate::error::ApiError;
use crate::logs::{Lines, log_is_gone};
use crate::watch::going_away;

/// The newest Tasks of an App whose output is shown.
const TASKS: u32 = 50;
const PERIOD: Duration = Duration::from_secs(5);

/// What a follower hears of first.
enum Next {
    Line(Box<Result<pb::LogLine, Status>>),
    /// There may be new Tasks.
    Look,
    Nothing,
    Stop,
}

type TaskLines = BoxStream<'static, Result<pb::LogLine, Status>>;

impl Api {
    pub(crate) fn app_lines(
        self,
        app: AppName,
        lines: Lines,
    ) -> impl Stream<Item = Result<pb::LogLine, Status>> + Send + 'static {
        try_stream! {
            let stop = self.platform.lifecycle.soft().clone();
            let mut rings = self.platform.feed.listen(Topic::tasks_of(app.space.clone(), Some(app.app.clone())));
            let mut tasks = self.newest(&app).await?;
            let mut seen = tasks.iter().map(|task| task.name.id).max().unwrap_or(0);
            tasks.retain(|task| !log_is_gone(task));

            // At least one, so as to know how far it goes.
            let once = Lines { follow: false, tail: lines.tail.map(|tail| tail.max(1)), ..lines };
            let past = tasks.iter().map(|task| self.clone().task_lines(task.clone(), once).boxed()).collect();
            let mut reached = std::collections::HashMap::new();
            let mut past = merged(past);
            let mut last = VecDeque::new();
            while let Some(line) = past.next().await {
                let line = line?;
                reached.insert(line.task.clone(), (line.attempt, line.next_offset));
                match lines.tail {
                    None => yield line,
                    Some(tail) => {
                        last.push_back(line);
                        while last.len() > tail {
                            last.pop_front();
                        }
                    }
                }
            }
            for line in last {
                yield line;
            }
            if !lines.follow {
                return;
            }

            let mut live = SelectAll::new();
            for task in tasks.into_iter().filter(|task| !task.state.kind().is_final()) {
                let behind = reached.get(&task.name.to_string()).copied();
                live.push(driven(&self.platform.lifecycle, self.clone().continued(task, behind, lines)));
            }
            loop {
                let next = tokio::select! {
                    () = stop.cancelled() => Next::Stop,
                    Some(line) = live.next(), if !live.is_empty() => Next::Line(Box::new(line)),
                    ring = rings.next() => match ring {
                        Some(Ring::Event(event)) if event.fact != Fact::TaskRequested => Next::Nothing,
                        Some(_) | None => Next::Look,
                    },
                    () = tokio::time::sleep(PERIOD) => Next::Look,
                };
                match next {
                    Next::Stop => Err(going_away())?,
                    Next::Line(line) => {
                        let line = *line;
                        yield line?;
                    }
                    Next::Look => self.join(&app, lines, &mut seen, &mut live).await?,
                    Next::Nothing => {}
                }
            }
        }
    }

    /// Follows a Task behind what was shown of it already.
    fn continued(
        self,
        task: Task,
        behind: Option<(i32, i64)>,
        lines: Lines,
    ) -> impl Stream<Item = Result<pb::LogLine, Status>> + Send + 'static {
        let (attempt, offset) = behind.unwrap_or((1, 0));
        let all = Lines { follow: true, tail: None, since: lines.since, attempt: None, offset: 0 };
        self.task_lines(task, all).filter(move |line| {
            let new = line.as_ref().map_or(true, |line| (line.attempt, line.next_offset) > (attempt, offset));
            std::future::ready(new)
        })
    }

    /// Adds the Tasks that have come since, however many.
    async fn join(
        &self,
        app: &AppName,
        lines: Lines,
        seen: &mut u64,
        live: &mut SelectAll<TaskLines>,
    ) -> Result<(), ApiError> {
        loop {
            let AppName { space, app } = app.clone();
            // Of one App: in the order of their numbers.
            let after = TaskMark { id: *seen, created_at: Timestamp::UNIX_EPOCH, uid: TaskUid(Uuid::nil()) };
            let query = TaskQuery {
                space,
                app: Some(app),
                states: Vec::new(),
                job: None,
                newest_first: false,
                after: Some(after),
                limit: TASKS,
            };
            let tasks = self.platform.store.task_list(&query).await?;
            let full = tasks.len() as u64 == u64::from(TASKS);
            for task in tasks {
                *seen = task.name.id;
                let all = Lines { follow: true, since: lines.since, ..Lines::default() };
                live.push(driven(&self.platform.lifecycle, self.clone().task_lines(task, all)));
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Oldest first.
    async fn newest(&self, app: &AppName) -> Result<Vec<Task>, ApiError> {
        let AppName { space, app } = app.clone();
        let query = TaskQuery {
            space,
            app: Some(app),
            states: Vec::new(),
            job: None,
            newest_first: true,
            after: None,
            limit: TASKS,
        };
        let mut tasks = self.platform.store.task_list(&query).await?;
        tasks.reverse();
        Ok(tasks)
    }
}

/// Several logs as one, by the time of their lines. Each stream is in order of time itself.
fn merged(mut streams: Vec<TaskLines>) -> TaskLines {
    try_stream! {
        let mut heads = Vec::with_capacity(streams.len());
        for stream in &mut streams {
            heads.push(stream.next().await.transpose()?);
        }
        let time = |line: &pb::LogLine| line.time.map(|time| (time.seconds, time.nanos));
        while let Some((at, _)) = heads.iter().enumerate().filter(|(_, head)| head.is_some()).min_by_key(|(_, head)| head.as_ref().and_then(time)) {
            let next = streams[at].next().await.transpose()?;
            if let Some(line) = std::mem::replace(&mut heads[at], next) {
                yield line;
            }
        }
    }
    .boxed()
}
