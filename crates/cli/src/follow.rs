//! Reads logs line by line, each line once, across broken connections.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_proto::v1::{LogLine, StreamLogsRequest};
use tonic::{Code, Status};

use crate::connect::{Patience, Session};
use crate::failure::{Failure, is_passing};
use crate::render::state::is_over;
use crate::{clock, names, watch};

/// How far a Task's log has been read: attempt, then offset.
type Position = (i32, i64);

/// One reading of a log, from its request to its end.
#[derive(Debug)]
pub struct Follow<'a> {
    session: &'a Session,
    first: StreamLogsRequest,
    stage: Stage,
    seen: BTreeMap<String, Position>,
    /// What had been seen when the connection broke; what comes again up to there is left out.
    repeated: BTreeMap<String, Position>,
    newest: Option<Timestamp>,
}

/// What to ask for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What the user asked for.
    First,
    /// A Task's log, behind the last line seen.
    Behind(Position),
    /// Everything again.
    All,
}

impl<'a> Follow<'a> {
    pub fn new(session: &'a Session, first: StreamLogsRequest) -> Self {
        Self { session, first, stage: Stage::First, seen: BTreeMap::new(), repeated: BTreeMap::new(), newest: None }
    }

    /// Hands every line to `sink`, until the log's end.
    pub async fn run(&mut self, mut sink: impl FnMut(&LogLine) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut patience = Patience::for_streams();
        loop {
            let broken = match self.stream(&mut patience, &mut sink).await? {
                Some(status) => status,
                None if self.is_complete().await? => return Ok(()),
                None => Status::unavailable("the log ended before its task did"),
            };
            match patience.next(&broken) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(self.session.refused(broken)),
            }
        }
    }

    /// Reads one stream; returns what broke it, or nothing at its proper end.
    async fn stream(
        &mut self,
        patience: &mut Patience,
        sink: &mut impl FnMut(&LogLine) -> Result<(), Failure>,
    ) -> Result<Option<Status>, Failure> {
        let mut client = TaskServiceClient::new(self.session.channel.clone());
        let mut stream = match self.session.open(client.stream_logs(self.request())).await {
            Ok(stream) => stream,
            Err(status) => return self.broken(status).map(Some),
        };
        patience.opened();
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    for line in &message.lines {
                        if self.is_new(line) {
                            patience.refresh();
                            sink(line)?;
                        }
                    }
                }
                Ok(None) => return Ok(None),
                Err(status) => return self.broken(status).map(Some),
            }
        }
    }

    fn broken(&mut self, status: Status) -> Result<Status, Failure> {
        let no_such_place = matches!(status.code(), Code::InvalidArgument | Code::OutOfRange | Code::NotFound);
        match self.stage {
            // The attempt to go on in is not known any more; everything is asked for instead.
            Stage::Behind(_) if no_such_place => self.break_off(Stage::All),
            _ if !is_passing(&status) => return Err(self.session.refused(status)),
            _ => self.resume(),
        }
        Ok(status)
    }

    fn resume(&mut self) {
        let only = self.seen.values().next().copied();
        let stage = match only {
            None => self.stage,
            Some(position) if self.is_task() => Stage::Behind(position),
            Some(_) => Stage::All,
        };
        self.break_off(stage);
    }

    fn break_off(&mut self, stage: Stage) {
        self.stage = stage;
        self.repeated = self.seen.clone();
    }

    fn request(&self) -> StreamLogsRequest {
        let mut request = self.first.clone();
        match self.stage {
            Stage::First => {}
            Stage::Behind((attempt, offset)) => {
                (request.attempt, request.offset) = (attempt, offset);
                (request.tail, request.since) = (None, None);
            }
            Stage::All => {
                request.tail = None;
                if !self.is_task() {
                    // Tasks are interleaved by time, but for a little.
                    let from = self.newest.and_then(|time| time.checked_sub(SignedDuration::from_secs(2)).ok());
                    request.since = from.map(clock::to_wire).or(request.since);
                }
            }
        }
        request
    }

    /// Notes a line; false when it was handed out before the connection broke.
    fn is_new(&mut self, line: &LogLine) -> bool {
        let position = (line.attempt, line.next_offset);
        if self.repeated.get(&line.task).is_some_and(|seen| position <= *seen) {
            return false;
        }
        self.seen.insert(line.task.clone(), position);
        self.newest = line.time.and_then(clock::from_wire).max(self.newest);
        true
    }

    /// Whether a stream that ended by itself was the whole log; if not, where to go on is settled.
    async fn is_complete(&mut self) -> Result<bool, Failure> {
        if !self.is_task() || self.first.attempt != 0 {
            return Ok(true);
        }
        let read_attempt = match self.stage {
            // One attempt was asked for, and others may have followed it.
            Stage::Behind((attempt, _)) => attempt,
            Stage::First | Stage::All => i32::MAX,
        };
        if !self.first.follow && read_attempt == i32::MAX {
            return Ok(true);
        }
        let task = watch::get(self.session, &self.first.name).await?;
        if task.attempt > read_attempt {
            self.break_off(Stage::All);
            Ok(false)
        } else if self.first.follow && !is_over(task.state()) {
            self.resume();
            Ok(false)
        } else {
            Ok(true)
        }
    }

    fn is_task(&self) -> bool {
        names::task_parts(&self.first.name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::target::Target;

    fn session() -> Session {
        let target = Target { api: "localhost:1".to_owned(), ca_file: None, space: None };
        Session::new(target, Duration::from_secs(1), "taskplane").unwrap()
    }

    fn line(id: i64, attempt: i32, next_offset: i64) -> LogLine {
        let time = Some(prost_types::Timestamp { seconds: 100 + next_offset, nanos: 0 });
        LogLine { task: format!("spaces/s/apps/a/tasks/{id}"), attempt, next_offset, time, ..LogLine::default() }
    }

    fn request(name: &str) -> StreamLogsRequest {
        StreamLogsRequest { name: name.to_owned(), follow: true, tail: Some(10), ..StreamLogsRequest::default() }
    }

    #[tokio::test]
    async fn a_task_log_goes_on_behind_the_last_line() {
        let session = session();
        let mut follow = Follow::new(&session, request("spaces/s/apps/a/tasks/1"));
        assert!(follow.is_new(&line(1, 2, 30)));
        follow.broken(Status::unavailable("gone")).unwrap();
        let next = follow.request();
        assert_eq!((next.attempt, next.offset, next.tail), (2, 30, None));
        assert!(!follow.is_new(&line(1, 1, 90)));
        assert!(!follow.is_new(&line(1, 2, 30)));
        assert!(follow.is_new(&line(1, 2, 31)));
        assert!(follow.is_new(&line(1, 3, 1)));
    }

    #[tokio::test]
    async fn an_apps_log_goes_on_by_time_without_repeats() {
        let session = session();
        let mut follow = Follow::new(&session, request("spaces/s/apps/a"));
        assert!(follow.is_new(&line(1, 1, 30)));
        assert!(follow.is_new(&line(2, 1, 10)));
        follow.broken(Status::unavailable("gone")).unwrap();
        let next = follow.request();
        assert_eq!((next.attempt, next.offset, next.tail, next.since.unwrap().seconds), (0, 0, None, 128));
        assert!(!follow.is_new(&line(1, 1, 30)));
        assert!(follow.is_new(&line(2, 1, 20)));
        assert!(follow.is_new(&line(3, 1, 5)));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_before_any_line_asks_the_same_again() {
        let session = session();
        let mut follow = Follow::new(&session, request("spaces/s/apps/a/tasks/1"));
        follow.broken(Status::unavailable("gone")).unwrap();
        assert_eq!(follow.request(), request("spaces/s/apps/a/tasks/1"));
    }

    #[tokio::test]
    async fn a_refusal_is_not_tried_again() {
        let session = session();
        let mut follow = Follow::new(&session, request("spaces/s/apps/a/tasks/1"));
        assert!(follow.broken(Status::not_found("no such task")).is_err());
    }
}
