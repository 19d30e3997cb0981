//! What clients asked for, what they were told, and what was done to the system meanwhile: one line of JSON each, in the order
//! in which it happened. The checker reads nothing else but this and the [ledger](crate::ledger).

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::ledger::Script;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since the beginning.
    pub at: u64,
    pub client: u32,
    /// Which call this is about; unique.
    pub call: u64,
    /// How many bytes the ledger had when this was known: what it says behind that, it says of later.
    pub ledger: u64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    Asked(Ask),
    /// It is done, or so.
    Told(Answer),
    /// Certainly not done.
    Refused {
        code: String,
        message: String,
    },
    /// Nobody knows: done, not done, or yet to be.
    Unsure {
        code: String,
        message: String,
    },
    /// One answer of a watch.
    Saw(Change),
    /// Not a client's doing.
    Fault(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    PushApp {
        app: String,
        command: String,
    },
    /// The display name says which of our wishes this is; a second try has the same.
    RunTask {
        app: String,
        display_name: String,
        request_id: String,
        script: Script,
    },
    RunJob {
        job: String,
        display_name: String,
        request_id: String,
    },
    GetTask {
        task: String,
    },
    /// All Tasks of the Space, page by page.
    ListTasks,
    CancelTask {
        task: String,
    },
    DeleteTask {
        task: String,
    },
    CreateJob {
        job: String,
        app: String,
        cron: String,
        policy: Policy,
        script: Script,
    },
    GetJob {
        job: String,
    },
    ListJobs,
    /// Writes down one more word in the Job's command, behind those that stood there at that etag.
    UpdateJob {
        job: String,
        etag: String,
        command: String,
        adds: String,
    },
    SuspendSchedule {
        schedule: String,
        etag: String,
        suspended: bool,
    },
    PauseJob {
        job: String,
    },
    DeleteJob {
        job: String,
        etag: String,
    },
    ListRuns {
        job: String,
    },
    /// A chain goes on where the one before was cut.
    WatchTasks {
        chain: u64,
        resumed: bool,
    },
    /// The whole feed, as it is in the end.
    ListEvents,
    /// The whole stream on the bus, as it is in the end.
    ReadStream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    Always,
    Forbid,
    Replace,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    App { revision: i32 },
    Task(TaskSeen),
    Tasks(Vec<TaskSeen>),
    Job(JobSeen),
    Jobs(Vec<JobSeen>),
    Runs(Vec<RunSeen>),
    Events(Vec<EventSeen>),
    Done,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSeen {
    pub uid: String,
    pub task: String,
    pub display_name: String,
    pub version: u64,
    pub state: String,
    pub reason: String,
    pub attempt: u32,
    pub job: String,
    pub schedule: String,
    pub tick: Option<i64>,
    pub stuck: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSeen {
    pub uid: String,
    pub job: String,
    pub etag: String,
    pub version: u64,
    pub command: String,
    pub deleting: bool,
    /// The first schedule, with its etag.
    pub schedule: Option<(String, String)>,
}

/// An entry of a Job's own ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSeen {
    pub run: String,
    pub schedule: String,
    pub tick: Option<i64>,
    pub outcome: String,
    pub task: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSeen {
    pub uid: String,
    pub sequence: u64,
    pub subject: String,
    pub fact: String,
    pub task: Option<TaskFact>,
    pub run: Option<RunFact>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFact {
    pub id: u64,
    pub display_name: String,
    pub state: String,
    pub reason: String,
    pub attempt: u32,
    pub job: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFact {
    pub schedule_uid: String,
    pub tick: Option<i64>,
    pub outcome: String,
    pub task_uid: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub uid: String,
    pub sequence: u64,
    pub fact: String,
    pub state: String,
    pub reason: String,
}

/// Written as it happens, by any number of clients.
pub struct History {
    path: PathBuf,
    ledger: PathBuf,
    file: Mutex<File>,
    began: Instant,
    calls: AtomicU64,
}

impl History {
    /// In a file `history.jsonl` of that directory.
    pub fn begin(directory: &Path, ledger: PathBuf) -> Self {
        let path = directory.join("history.jsonl");
        let file = Mutex::new(File::create(&path).unwrap());
        Self { path, ledger, file, began: Instant::now(), calls: AtomicU64::new(1) }
    }

    pub fn asks(&self, client: u32, ask: Ask) -> u64 {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.tells(client, call, What::Asked(ask));
        call
    }

    pub fn fault(&self, what: String) {
        self.tells(0, 0, What::Fault(what));
    }

    pub fn tells(&self, client: u32, call: u64, what: What) {
        // Looked up after the answer came: no line behind that was there before it.
        let ledger = std::fs::metadata(&self.ledger).map_or(0, |found| found.len());
        // The clock is read with the file in hand, so that the lines stand in its order.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let mut line = serde_json::to_vec(&Line { at, client, call, ledger, what }).unwrap();
        line.push(b'\n');
        file.write_all(&line).unwrap();
    }

    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// A number that nothing else in this history has.
    pub fn unique(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    pub fn lines(&self) -> Vec<Line> {
        read(&self.path)
    }
}

pub fn read(path: &Path) -> Vec<Line> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
