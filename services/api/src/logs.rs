//! StreamLogs: what a Task wrote, archived and live as one, attempt after attempt.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use async_stream::try_stream;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use taskplane_bus::{Ring, Topic};
use taskplane_domain::event::Subject;
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::log::{LogRecord, LogStream};
use taskplane_domain::name::{AppName, TaskName};
use taskplane_domain::run::RunKey;
use taskplane_domain::task::{Task, TaskState};
use taskplane_logs::LogKey;
use taskplane_proto::convert::{log_record_from_pb, timestamp_from_pb, timestamp_to_pb};
use taskplane_proto::v1 as pb;
use taskplane_store::StoreError;
use tonic::Status;

use crate::Api;
use crate::error::ApiError;
use crate::tasks::parse_name;
use crate::watch::going_away;

/// Lines in one answer. A line is at most 64 KiB, so an answer stays within its bound.
const BATCH: usize = 32;
const TAIL_MAX: usize = 10_000;
/// What the last lines may have in all; of longer ones only the end is shown.
const TAIL_BYTES: usize = 8 << 20;
/// The bus rings; this finds what it did not ring for.
const PERIOD: Duration = Duration::from_secs(2);
/// How long the archive of an attempt that is over may take to be complete.
const SEALING: Duration = Duration::from_millis(100);
const SEALING_TRIES: u32 = 30;

/// Which lines.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lines {
    pub follow: bool,
    pub tail: Option<usize>,
    pub since: Option<Timestamp>,
    /// None: all attempts.
    pub attempt: Option<u32>,
    pub offset: u64,
}

impl Api {
    pub(crate) async fn logs(
        self,
        request: pb::StreamLogsRequest,
    ) -> Result<BoxStream<'static, Result<pb::StreamLogsResponse, Status>>, Status> {
        let name = request.name.clone();
        let lines = parse(request).map_err(ApiError::from)?;
        let stream = if let Ok(app) = name.parse::<AppName>() {
            if lines.attempt.is_some() || lines.offset > 0 {
                return Err(
                    ApiError::from(Invalid::one("name", "must be a Task when attempt or offset is given")).into()
                );
            }
            self.platform.store.app_get(&app).await.map_err(ApiError::from)?;
            self.app_lines(app, lines).boxed()
        } else {
            let task = self.platform.store.task_get(&parse_name(&name)?).await.map_err(ApiError::from)?;
            if log_is_gone(&task) {
                return Err(ApiError::LogDeleted(task.name.to_string()).into());
            }
            self.task_lines(task, lines).boxed()
        };
        Ok(answers(stream))
    }

    /// The lines of one Task. When following: until it is over.
    pub(crate) fn task_lines(
        self,
        task: Task,
        lines: Lines,
    ) -> impl Stream<Item = Result<pb::LogLine, Status>> + Send + 'static {
        try_stream! {
            let Task { uid, name, .. } = task.clone();
            let mut rings = self.rings_of(&name);
            // The last lines of what is there are those of the last attempt.
            let first = lines.attempt.unwrap_or(if lines.tail.is_some() { last_begun(&task).max(1) } else { 1 });
            let mut number = first;
            loop {
                let lines = if number == first { lines } else { Lines { tail: None, offset: 0, ..lines } };
                let mut records = match lines.tail {
                    Some(tail) => self.clone().last_records(task.clone(), number, lines, tail).boxed(),
                    None => self.clone().attempt_records(&task, number, lines).boxed(),
                };
                while let Some(record) = records.next().await {
                    let record = record?;
                    if lines.since.is_none_or(|since| record.time >= since) {
                        yield line(&name, number, record);
                    }
                }
                if lines.attempt.is_some() {
                    break;
                }
                // That attempt is told. Is there another one, or may one come?
                let next = loop {
                    let Some(task) = self.still_there(uid).await? else { break None };
                    if number < last_begun(&task) {
                        break Some(number + 1);
                    }
                    if !lines.follow || task.state.kind().is_final() {
                        break None;
                    }
                    let stopping = tokio::select! {
                        () = self.platform.lifecycle.soft().cancelled() => true,
                        _ = rings.next() => false,
                        () = tokio::time::sleep(PERIOD) => false,
                    };
                    if stopping {
                        Err(going_away())?;
                    }
                };
                let Some(next) = next else { break };
                number = next;
            }
        }
    }

    /// What one attempt wrote. When following: until it is over and all of it was seen.
    fn attempt_records(
        self,
        task: &Task,
        number: u32,
        lines: Lines,
    ) -> impl Stream<Item = Result<LogRecord, Status>> + Send + 'static {
        let key = RunKey { task: task.uid, attempt: number };
        let reader = self.objects.reader(LogKey { space: task.space_uid, task: task.uid, attempt: number });
        let name = task.name.clone();
        try_stream! {
            let stop = self.platform.lifecycle.soft().clone();
            let mut rings = self.rings_of(&name);
            let mut offset = lines.offset;
            if let Some(since) = lines.since {
                offset = offset.max(reader.since_offset(since).await.map_err(ApiError::from)?);
            }
            let mut tries = SEALING_TRIES;
            loop {
                // Asked before reading: what was sealed then is all there.
                let complete = reader.sealed().await.map_err(ApiError::from)?.is_some();
                let mut archived = pin!(reader.read(offset));
                while let Some(record) = archived.next().await {
                    let record = record.map_err(ApiError::from)?;
                    offset = record.end();
                    yield record;
                }
                if complete {
                    break;
                }
                let mut lived = false;
                if let Some(mut live) = self.live(key, offset, lines.follow).await {
                    loop {
                        let message = tokio::select! {
                            () = stop.cancelled() => Err(going_away()),
                            message = live.message() => Ok(message),
                        };
                        // It ends when the archive is complete, or the executor is gone: the archive knows.
                        let Ok(Some(response)) = message? else { break };
                        for record in response.records.into_iter().filter_map(log_record_from_pb) {
                            // Backwards only where a cut log skips; forwards always.
                            if record.offset >= offset {
                                (offset, lived) = (record.end(), true);
                                yield record;
                            }
                        }
                    }
                }
                let over = self.still_there(key.task).await?.is_none_or(|task| is_over(&task, number));
                // Over, and never sealed: its executor is gone. Or not over, and nobody waits for more.
                if (over && tries == 0) || (!over && !lines.follow) {
                    break;
                }
                tries -= u32::from(over);
                let pause = if over || lived { SEALING } else { PERIOD };
                let stopping = tokio::select! {
                    () = stop.cancelled() => true,
                    _ = rings.next(), if !over => false,
                    () = tokio::time::sleep(pause) => false,
                };
                if stopping {
                    Err(going_away())?;
                }
            }
        }
    }

    /// The last lines of what is there, in the archive and behind it; and when following, all that comes then.
    fn last_records(
        self,
        task: Task,
        number: u32,
        lines: Lines,
        tail: usize,
    ) -> impl Stream<Item = Result<LogRecord, Status>> + Send + 'static {
        try_stream! {
            let reader = self.objects.reader(LogKey { space: task.space_uid, task: task.uid, attempt: number });
            let archived = reader.tail_offset(tail).await.map_err(ApiError::from)?;
            let mut reached = lines.offset.max(archived);
            let (mut last, mut lines_there, mut bytes) = (VecDeque::new(), 0_usize, 0_usize);
            let there = Lines { follow: false, offset: reached, ..lines };
            let mut records = pin!(self.clone().attempt_records(&task, number, there));
            while let Some(record) = records.next().await {
                let record: LogRecord = record?;
                reached = record.end();
                lines_there += usize::from(ends_line(&record));
                bytes += record.content.len();
                last.push_back(record);
                // The last one counts though it may not have ended yet.
                let open = |last: &VecDeque<LogRecord>| usize::from(last.back().is_some_and(|record| !ends_line(record)));
                while lines_there + open(&last) > tail || (bytes > TAIL_BYTES && last.len() > 1) {
                    let Some(first) = last.pop_front() else { break };
                    lines_there -= usize::from(ends_line(&first));
                    bytes -= first.content.len();
                }
            }
            for record in last {
                yield record;
            }
            if lines.follow {
                let mut records = pin!(self.attempt_records(&task, number, Lines { offset: reached, ..lines }));
                while let Some(record) = records.next().await {
                    yield record?;
                }
            }
        }
    }

    /// Rings for one Task alone: those of an App with many Tasks would have each of its readers look each time.
    fn rings_of(&self, name: &TaskName) -> BoxStream<'static, Ring> {
        let topic = Topic::tasks_of(name.space.clone(), Some(name.app.clone()));
        let subject = Subject::Task(name.clone());
        let concerns = move |ring: &Ring| match ring {
            Ring::Event(event) => event.subject == subject,
            Ring::Missed => true,
            Ring::Removals => false,
        };
        self.platform.feed.listen(topic).filter(move |ring| std::future::ready(concerns(ring))).boxed()
    }

    async fn still_there(&self, uid: taskplane_domain::uid::TaskUid) -> Result<Option<Task>, ApiError> {
        match self.platform.store.task_get_by_uid(uid).await {
            Err(StoreError::NotFound(_)) => Ok(None),
            task => Ok(Some(task?)),
        }
    }
}

fn parse(request: pb::StreamLogsRequest) -> Result<Lines, Invalid> {
    let pb::StreamLogsRequest { name: _, follow, tail, since, attempt, offset } = request;
    let mut check = Check::new();
    let tail = tail.and_then(|tail| match usize::try_from(tail) {
        Ok(tail) if tail <= TAIL_MAX => Some(tail),
        _ => {
            check.refuse("tail", format!("must be between 0 and {TAIL_MAX}"));
            None
        }
    });
    let since = since.and_then(|since| {
        let time = timestamp_from_pb(&since);
        if time.is_none() {
            check.refuse("since", "must be a time between the years 1 and 9999");
        }
        time
    });
    let attempt = check.field("attempt", u32::try_from(attempt).map_err(|_| "must not be negative"));
    let offset = check.field("offset", u64::try_from(offset).map_err(|_| "must not be negative"));
    let (attempt, offset) = check.finish_with(attempt.zip(offset))?;
    Ok(Lines { follow, tail, since, attempt: Some(attempt).filter(|attempt| *attempt > 0), offset })
}

/// The latest attempt that may have written something; 0 when there is none.
fn last_begun(task: &Task) -> u32 {
    match task.state {
        TaskState::Pending { .. } => task.attempt - 1,
        _ => task.attempt,
    }
}

/// Not an empty log: one that somebody did not want to be kept.
pub(crate) fn log_is_gone(task: &Task) -> bool {
    task.delete_log && task.state.kind().is_final()
}

fn ends_line(record: &LogRecord) -> bool {
    record.content.last() == Some(&b'\n')
}

fn is_over(task: &Task, number: u32) -> bool {
    task.attempt > number || task.state.kind().is_final()
}

fn line(task: &TaskName, attempt: u32, record: LogRecord) -> pb::LogLine {
    let next_offset = record.end().cast_signed();
    let LogRecord { offset: _, time, stream, content } = record;
    let partial = content.last() != Some(&b'\n');
    let content: Bytes = if partial { content } else { content.slice(..content.len() - 1) };
    pb::LogLine {
        task: task.to_string(),
        attempt: attempt.cast_signed(),
        time: Some(timestamp_to_pb(time)),
        stream: match stream {
            LogStream::Stdout => pb::LogStream::Stdout,
            LogStream::Stderr => pb::LogStream::Stderr,
            LogStream::System => pb::LogStream::System,
        } as i32,
        content,
        next_offset,
        partial,
    }
}

/// Lines that are ready together travel together.
fn answers(
    lines: BoxStream<'static, Result<pb::LogLine, Status>>,
) -> BoxStream<'static, Result<pb::StreamLogsResponse, Status>> {
    let batches = lines.ready_chunks(BATCH).flat_map(|chunk| {
        let mut answers = Vec::new();
        let mut lines = Vec::new();
        for line in chunk {
            match line {
                Ok(line) => lines.push(line),
                Err(status) => {
                    answers.push(Ok(pb::StreamLogsResponse { lines: std::mem::take(&mut lines) }));
                    answers.push(Err(status));
                }
            }
        }
        answers.push(Ok(pb::StreamLogsResponse { lines }));
        answers.retain(|answer| answer.as_ref().map_or(true, |answer| !answer.lines.is_empty()));
        futures::stream::iter(answers)
    });
    batches.boxed()
}
