//! A store in a directory of its own, and output to put there.

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use taskplane_domain::log::{LogRecord, LogStream};
use taskplane_domain::uid::{SpaceUid, TaskUid};
use taskplane_logs::{LogKey, LogsError, Objects};
use tempfile::TempDir;
use uuid::Uuid;

pub struct Kit {
    pub directory: TempDir,
    pub objects: Objects,
}

impl Kit {
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let objects = Objects::open(&format!("file://{}/objects", directory.path().display())).unwrap();
        Self { directory, objects }
    }

    pub async fn archive(&self, key: LogKey, cap: Option<u64>, records: &[LogRecord]) -> u64 {
        let writer = self.objects.writer(key, cap).await.unwrap();
        writer.ship(all_of(records)).await.unwrap()
    }

    pub async fn read_from(&self, key: LogKey, offset: u64) -> Vec<LogRecord> {
        self.objects.reader(key).read(offset).try_collect().await.unwrap()
    }

    pub fn chunks(&self, key: LogKey) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.directory.path().join(format!("objects/{key}"))) else {
            return vec![];
        };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "sealed");
        names.sort();
        names
    }
}

pub fn key(task: u128) -> LogKey {
    LogKey { space: SpaceUid(Uuid::from_u128(1)), task: TaskUid(Uuid::from_u128(task)), attempt: 1 }
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// One after the other, a second apart, from offset 0.
pub fn records<'a>(contents: impl IntoIterator<Item = (LogStream, &'a [u8])>) -> Vec<LogRecord> {
    let mut offset = 0;
    let record = |(index, (stream, content)): (usize, (LogStream, &[u8]))| {
        let content = Bytes::copy_from_slice(content);
        let record = LogRecord { offset, time: at(index as i64), stream, content };
        offset = record.end();
        record
    };
    contents.into_iter().enumerate().map(record).collect()
}

/// `line 0`, `line 1`, …
pub fn lines(count: usize) -> Vec<LogRecord> {
    let contents: Vec<String> = (0..count).map(|index| format!("line {index}\n")).collect();
    records(contents.iter().map(|content| (LogStream::Stdout, content.as_bytes())))
}

pub fn all_of(records: &[LogRecord]) -> impl Stream<Item = Result<LogRecord, LogsError>> + use<> {
    let records = records.to_vec();
    stream::iter(records).map(Ok)
}

pub fn bytes(records: &[LogRecord]) -> Vec<u8> {
    records.iter().flat_map(|record| record.content.to_vec()).collect()
}

pub fn text(records: &[LogRecord]) -> String {
    String::from_utf8(bytes(records)).unwrap()
}
