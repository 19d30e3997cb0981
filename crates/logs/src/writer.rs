//! Archiving one attempt's output: filling chunks, creating them, cutting the middle out when there is a cap, sealing.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use taskplane_domain::log::{Landmark, LogRecord};
use tokio::time::{Instant, sleep, sleep_until};

use crate::chunk::{CHUNK_BYTES, Draft, PIECE_BYTES, Unpacked, from_position};
use crate::{LogKey, LogsError, Objects};

/// The longest a record waits before it can be read.
const CHUNK_AGE: Duration = Duration::from_secs(2);

/// Archives the records of one attempt, in order, from [`LogWriter::archived_to`] on.
///
/// Records before that offset are passed over, so a source may always be read from its beginning. Two writers of the same
/// output do no harm to each other: a chunk is created by one of them, and the other goes on behind it.
#[derive(Debug)]
pub struct LogWriter {
    objects: Objects,
    key: LogKey,
    cap: Option<Cap>,
    /// Everything before is in the store.
    archived: u64,
    /// Where the next record begins.
    position: u64,
    full: VecDeque<Unpacked>,
    draft: Option<Draft>,
    /// When the oldest record that is not archived came.
    waiting_since: Option<Instant>,
    landmark: Option<Landmark>,
}

/// How a limit on what is kept is spent. What belongs where can be told from the offsets alone, so every writer agrees.
#[derive(Debug)]
struct Cap {
    bytes: u64,
    /// Chunks that begin before this offset stay.
    head: u64,
    /// Of the others, as many of the newest as fit in here.
    tail: u64,
    /// First offsets of the chunks behind the head, ascending.
    behind: VecDeque<u64>,
}

impl Cap {
    fn new(bytes: u64, starts: &[u64]) -> Self {
        let head = bytes / 2;
        let behind = starts.iter().copied().filter(|start| *start >= head).collect();
        Self { bytes, head, tail: bytes - head, behind }
    }

    fn chunk_bytes(&self) -> usize {
        usize::try_from(self.bytes / 8).unwrap_or(CHUNK_BYTES).clamp(1, CHUNK_BYTES)
    }

    /// How many of the chunks behind the head are too old to be kept. The newest always is.
    fn surplus(&self, end: u64) -> usize {
        let newer = self.behind.len().saturating_sub(1);
        self.behind.iter().take(newer).take_while(|start| end.saturating_sub(**start) > self.tail).count()
    }
}

impl LogWriter {
    pub(crate) async fn resume(objects: Objects, key: LogKey, cap: Option<u64>) -> Result<Self, LogsError> {
        let extent = objects.extent(&key).await?;
        Ok(Self {
            cap: cap.filter(|bytes| *bytes > 0).map(|bytes| Cap::new(bytes, &extent.starts)),
            objects,
            key,
            archived: extent.end,
            position: extent.end,
            full: VecDeque::new(),
            draft: None,
            waiting_since: None,
            landmark: extent.landmark,
        })
    }

    pub(crate) async fn resume_patiently(objects: Objects, key: LogKey, cap: Option<u64>) -> Self {
        let mut backoff = Backoff::default();
        loop {
            match Self::resume(objects.clone(), key, cap).await {
                Ok(writer) => return writer,
                Err(error) => backoff.wait(key, &error).await,
            }
        }
    }

    /// All output before this offset is in the store, and stays there whatever happens to this machine's memory.
    pub fn archived_to(&self) -> u64 {
        self.archived
    }

    /// The latest line that was archived when this writer began: for sources that do not know offsets.
    pub fn landmark(&self) -> Option<Landmark> {
        self.landmark
    }

    /// Takes a record in; it is archived by a later [`LogWriter::flush`].
    pub fn append(&mut self, record: LogRecord) {
        let Some(mut record) = from_position(record, self.position) else {
            return;
        };
        if record.offset > self.position {
            self.close();
        }
        while record.content.len() > PIECE_BYTES {
            let mut piece = record.clone();
            piece.content = record.content.split_to(PIECE_BYTES);
            record.offset = piece.end();
            self.take_in(&piece);
        }
        self.take_in(&record);
    }

    fn take_in(&mut self, record: &LogRecord) {
        self.waiting_since.get_or_insert_with(Instant::now);
        let bytes = self.cap.as_ref().map(|cap| cap.bytes);
        let draft = self.draft.get_or_insert_with(|| Draft::new(record.offset, bytes));
        draft.push(record);
        self.position = draft.end;
        let full = match &self.cap {
            Some(cap) => draft.len() >= cap.chunk_bytes() || (draft.start < cap.head && draft.end >= cap.head),
            None => draft.len() >= CHUNK_BYTES,
        };
        if full {
            self.close();
        }
    }

    fn close(&mut self) {
        self.full.extend(self.draft.take().map(Draft::finish));
    }

    /// When [`LogWriter::flush`] is to be called: at once when a chunk is full, 2 s after the first record otherwise.
    /// `None`: nothing waits.
    pub fn due(&self) -> Option<Instant> {
        self.waiting_since.map(|since| if self.full.is_empty() { since + CHUNK_AGE } else { since })
    }

    /// Archives what waits. After an error everything still waits, and another call goes on where this one ended.
    pub async fn flush(&mut self) -> Result<(), LogsError> {
        self.close();
        self.cut().await?;
        while let Some(next) = self.full.front() {
            let (chunk, location) = (next.clone(), self.key.chunk(next.start));
            let packed = tokio::task::spawn_blocking(move || chunk.pack()).await??;
            if self.objects.put_new(&location, packed).await? {
                if let Some(written) = self.full.pop_front() {
                    self.archived = written.end;
                    if let Some(cap) = self.cap.as_mut().filter(|cap| written.start >= cap.head) {
                        cap.behind.push_back(written.start);
                    }
                }
                self.cut().await?;
            } else {
                self.go_on_behind().await?;
            }
        }
        self.waiting_since = None;
        Ok(())
    }

    /// Removes what a cap leaves no room for, oldest first, so that a crash midway keeps too much and never a second gap.
    async fn cut(&mut self) -> Result<(), LogsError> {
        let Some(cap) = &mut self.cap else { return Ok(()) };
        let surplus = cap.surplus(self.archived);
        if surplus > 0 {
            let starts = cap.behind.iter().copied().take(surplus).collect();
            self.objects.delete_chunks(self.key, starts).await?;
            cap.behind.drain(..surplus);
        }
        Ok(())
    }

    /// The chunk that was to be created is there: another writer was faster, or our own write succeeded without our hearing
    /// of it. What waits is taken in again behind the end of the archive.
    async fn go_on_behind(&mut self) -> Result<(), LogsError> {
        let extent = self.objects.extent(&self.key).await?;
        let chunks = self.full.iter().map(Unpacked::chunk).collect::<Result<Vec<_>, _>>()?;
        let records = chunks.iter().flat_map(|chunk| chunk.records()).collect::<Result<Vec<_>, _>>()?;
        self.full.clear();
        self.archived = extent.end;
        self.position = extent.end;
        self.cap = self.cap.take().map(|cap| Cap::new(cap.bytes, &extent.starts));
        for record in records {
            self.append(record);
        }
        self.close();
        Ok(())
    }

    /// Archives what waits and says that no more will come. Doing it again changes nothing. Returns where the output ends.
    pub async fn seal(&mut self) -> Result<u64, LogsError> {
        self.flush().await?;
        self.objects.put(&self.key.sealed(), self.archived.to_string().into_bytes()).await?;
        Ok(self.archived)
    }

    /// Archives a whole stream and seals at its end; returns where the output ends. As long as the store is not there the
    /// stream is not read on: output waits and is never dropped. When the stream fails, what came before is archived, nothing
    /// is sealed, and the error is handed on.
    pub async fn ship<E>(mut self, records: impl Stream<Item = Result<LogRecord, E>>) -> Result<u64, E> {
        let mut records = pin!(records);
        loop {
            let due = self.due();
            let next = tokio::select! {
                biased;
                () = wait_until(due) => {
                    self.flush_patiently().await;
                    continue;
                }
                next = records.next() => next,
            };
            match next {
                Some(Ok(record)) => {
                    self.append(record);
                    if !self.full.is_empty() {
                        self.flush_patiently().await;
                    }
                }
                Some(Err(error)) => {
                    self.flush_patiently().await;
                    return Err(error);
                }
                None => return Ok(self.seal_patiently().await),
            }
        }
    }

    async fn flush_patiently(&mut self) {
        let mut backoff = Backoff::default();
        while let Err(error) = self.flush().await {
            backoff.wait(self.key, &error).await;
        }
    }

    async fn seal_patiently(&mut self) -> u64 {
        let mut backoff = Backoff::default();
        loop {
            match self.seal().await {
                Ok(end) => return end,
                Err(error) => backoff.wait(self.key, &error).await,
            }
        }
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Waits longer each time, up to 10 s.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl Backoff {
    async fn wait(&mut self, key: LogKey, error: &LogsError) {
        tracing::warn!(log = %key, %error, retry_in = ?self.0, "output cannot be archived and waits");
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(10));
    }
}
