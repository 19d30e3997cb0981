//! The output of a run's container, as one stream with positions, over any number of connections.
//!
//! A tail begins when the command's container does, for what is written is lost with the pod: after a cancel, a timeout or a
//! pull failure Tekton deletes it at once. It ends when the container has ended and one more reading, which does not follow,
//! has closed what gaps there are. Where a reading goes on is [`merge`]'s matter.

mod merge;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use taskplane_domain::log::{Landmark, LogRecord};
use taskplane_domain::run::RunKey;
use tokio::time::sleep;

use self::merge::{Landmarks, Reading};
use super::client::Cluster;
use super::names::CONTAINER;
use super::observe::PodView;
use super::stream::{Broken, Lines, open};
use super::watch::Board;
use crate::BackendError;

/// Until a log begins to come.
const ANSWER: Duration = Duration::from_secs(20);
/// A look at a pod without being told to look.
const PERIOD: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longer lines come in pieces.
const PIECE: usize = 64 * 1024;
/// A pod that ended and whose log cannot be had is asked this often for it.
const LAST_TRIES: u32 = 20;

/// What is known of the output of each run that was read here: where its lines can be found again.
#[derive(Debug, Default)]
pub struct Tails(Mutex<HashMap<RunKey, Known>>);

/// Of one run: its pods may be several, and the output of each goes on where the one before ended.
#[derive(Debug, Default, Clone)]
struct Known {
    /// The uid of the pod that is read, and where its output begins.
    pod: Option<(String, u64)>,
    landmarks: Landmarks,
}

impl Tails {
    fn with<T>(&self, key: &RunKey, change: impl FnOnce(&mut Known) -> T) -> T {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(*key).or_default())
    }

    pub fn forget(&self, key: &RunKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Where a reading begins and whether it goes on.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub from: u64,
    pub landmark: Option<Landmark>,
    pub follow: bool,
}

/// Everything that the run wrote from there on.
pub fn output(
    cluster: &Arc<Cluster>,
    board: &Arc<Board>,
    key: RunKey,
    wanted: Wanted,
) -> BoxStream<'static, Result<LogRecord, BackendError>> {
    let Wanted { from, landmark, follow } = wanted;
    let (cluster, board) = (cluster.clone(), board.clone());
    board.tails().with(&key, |known| {
        if let Some(landmark) = landmark.filter(|landmark| landmark.offset <= from) {
            known.landmarks.note(landmark);
        }
    });
    let tail =
        Tail { cluster, board, key, told: from, follow, lines: None, reading: None, ready: VecDeque::new(), tries: 0 };
    let step = |tail: Option<Tail>| async move {
        let mut tail = tail?;
        match tail.next().await {
            Ok(record) => record.map(|record| (Ok(record), Some(tail))),
            Err(error) => Some((Err(error), None)),
        }
    };
    stream::unfold(Some(tail), step).boxed()
}

struct Tail {
    cluster: Arc<Cluster>,
    board: Arc<Board>,
    key: RunKey,
    /// Everything before was told.
    told: u64,
    follow: bool,
    lines: Option<Open>,
    reading: Option<Reading>,
    ready: VecDeque<LogRecord>,
    /// In a row that came to nothing.
    tries: u32,
}

struct Open {
    lines: Lines,
    /// It is the one after which nothing more comes.
    last: bool,
}

/// What to do next.
enum Next {
    Read(PodView, bool),
    Wait,
    End,
}

impl Tail {
    async fn next(&mut self) -> Result<Option<LogRecord>, BackendError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            let Some(Open { lines, last }) = &mut self.lines else {
                match self.decide().await? {
                    Next::Read(pod, last) => self.connect(&pod, last).await?,
                    Next::Wait => sleep(PERIOD).await,
                    Next::End => return Ok(None),
                }
                continue;
            };
            let last = *last;
            match lines.next().await {
                Ok(Some(piece)) => self.take(piece),
                Ok(None) if last => return Ok(None),
                // The cluster will say that it has ended, a little later.
                Ok(None) => {
                    self.lines = None;
                    self.pause().await;
                }
                Err(broken) => {
                    tracing::debug!(run = %self.key, %broken, "a log was cut off");
                    self.lines = None;
                    self.pause().await;
                }
            }
        }
    }

    fn take(&mut self, piece: bytes::Bytes) {
        let Some(reading) = &mut self.reading else { return };
        let records = self.board.tails().with(&self.key, |known| reading.take(piece, &mut known.landmarks));
        self.told = reading.told();
        if !records.is_empty() {
            self.tries = 0;
        }
        self.ready.extend(records);
    }

    async fn decide(&mut self) -> Result<Next, BackendError> {
        let pod = match self.board.pod(&self.key) {
            Some(pod) => pod,
            None if self.board.is_over(&self.cluster, &self.key).await? => return Ok(Next::End),
            None => return Ok(if self.follow { Next::Wait } else { Next::End }),
        };
        if pod.gone {
            // The cluster may make it again.
            let over = self.board.is_over(&self.cluster, &self.key).await?;
            return Ok(if over || !self.follow { Next::End } else { Next::Wait });
        }
        if pod.ended {
            return Ok(if pod.begun { Next::Read(pod, true) } else { Next::End });
        }
        // Its end is told, and its pod neither ends nor answers: nothing more will come.
        if self.tries >= LAST_TRIES && self.board.is_over(&self.cluster, &self.key).await? {
            return Ok(Next::End);
        }
        Ok(match (pod.begun, self.follow) {
            (true, follow) => Next::Read(pod, !follow),
            (false, false) => Next::End,
            (false, true) => Next::Wait,
        })
    }

    /// Opens the log of a pod, where the last reading ended.
    async fn connect(&mut self, pod: &PodView, last: bool) -> Result<(), BackendError> {
        let reading = self.board.tails().with(&self.key, |known| {
            let base = match &known.pod {
                Some((uid, base)) if *uid == pod.uid => *base,
                // Another one, of which nobody has read: its output comes behind what there was.
                Some(_) => {
                    known.landmarks = Landmarks::default();
                    self.told
                }
                // The first that is read here. What was told of it before was told by somebody else, from its beginning.
                None => 0,
            };
            known.pod = Some((pod.uid.clone(), base));
            Reading::after(base, self.told, &known.landmarks)
        });
        let PodView { namespace, name, .. } = pod;
        let mut target =
            format!("/api/v1/namespaces/{namespace}/pods/{name}/log?container={CONTAINER}&timestamps=true");
        if !last {
            target.push_str("&follow=true");
        }
        if let Some(since) = reading.since() {
            target.push_str("&sinceTime=");
            target.push_str(&since.replace(':', "%3A"));
        }
        match open(&self.cluster.streams(), &target, ANSWER).await {
            Ok(lines) => {
                self.tries = 0;
                self.lines = Some(Open { lines: lines.in_pieces(PIECE), last });
                self.reading = Some(reading);
            }
            // There is no such pod any more: what was not read of it is gone with it.
            Err(Broken::Refused { code: 404, .. }) => {
                self.board.read(&self.cluster, &self.key).await?;
                self.give_up_or_wait(pod).await;
            }
            Err(broken) => {
                tracing::debug!(run = %self.key, %broken, "a log cannot be read yet");
                self.give_up_or_wait(pod).await;
            }
        }
        Ok(())
    }

    /// Of a pod that ended a log that does not come will not come for ever.
    async fn give_up_or_wait(&mut self, pod: &PodView) {
        if (pod.ended && self.tries >= LAST_TRIES) || pod.gone {
            tracing::warn!(run = %self.key, "the end of a log could not be read");
            self.lines = Some(Open { lines: Lines::none(), last: true });
            return;
        }
        self.pause().await;
    }

    async fn pause(&mut self) {
        let pause = PAUSE.saturating_mul(1 << self.tries.min(6)).min(PAUSE_MAX);
        self.tries = self.tries.saturating_add(1);
        sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
    }
}
