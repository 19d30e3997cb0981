//! Tasks are accepted together: what is asked for in a Space while a transaction is under way there goes into the next one.
//!
//! ```text
//!  RunTask ─┐                     ┌─ space, its Apps: read once
//!  RunTask ─┼─▶ queue of a Space ─┤  births: the domain's, one by one
//!  RunTask ─┘    one at a time    └─ one transaction ─▶ to each its own answer
//! ```
//!
//! Whoever comes first does not wait for others: it is accepted at once, and those who come meanwhile share the next commit.
//! So a batch is as large as the load makes it, and no larger than [`BATCH`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use taskplane_domain::app::App;
use taskplane_domain::name::{AppName, Name, SpaceName};
use taskplane_domain::space::Space;
use taskplane_domain::task::{Birth, RunTask, Task};
use taskplane_domain::uid::TaskUid;
use taskplane_runtime::telemetry;
use taskplane_store::{Accepted, RequestKey, StoreError};
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};

use crate::Api;
use crate::error::ApiError;
use crate::leaving::takes_in;
use crate::tasks::{TRIES, cluster};

/// Tasks of one transaction.
const BATCH: usize = 256;
/// Requests that may wait in one Space. All of them were let through by its rate limit.
const QUEUE: usize = 10_000;
const LATER: Duration = Duration::from_secs(1);

/// The queues. A Space has one as long as somebody is at it.
#[derive(Clone, Default)]
pub(crate) struct Accepts(Arc<Mutex<HashMap<Name, VecDeque<Waiting>>>>);

/// One request.
struct Waiting {
    asked: RunTask,
    key: Option<RequestKey>,
    trace: Option<String>,
    span: Span,
    answer: oneshot::Sender<Result<Accepted, ApiError>>,
}

impl Waiting {
    /// A caller that has gone away needs no answer.
    fn tell(self, answer: Result<Accepted, ApiError>) {
        let _ = self.answer.send(answer);
    }
}

/// Whoever works a queue off. The queue goes with it, also when it panics: then callers learn that nobody answers them.
struct Clerk {
    queues: Accepts,
    space: Name,
    done: bool,
}

impl Accepts {
    fn queues(&self) -> MutexGuard<'_, HashMap<Name, VecDeque<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody to work the queue off when nobody is at it yet.
    fn push(&self, space: &Name, waiting: Waiting) -> Option<Clerk> {
        let mut queues = self.queues();
        if let Some(queue) = queues.get_mut(space) {
            if queue.len() >= QUEUE {
                waiting.tell(Err(ApiError::TooManyRequests(SpaceName(space.clone()).to_string(), LATER)));
            } else {
                queue.push_back(waiting);
            }
            return None;
        }
        queues.insert(space.clone(), VecDeque::from([waiting]));
        Some(Clerk { queues: self.clone(), space: space.clone(), done: false })
    }
}

impl Clerk {
    /// The next ones; none: there are no more, and the queue is closed.
    fn next(&mut self) -> Vec<Waiting> {
        let mut queues = self.queues.queues();
        let Some(queue) = queues.get_mut(&self.space) else { return Vec::new() };
        let batch: Vec<Waiting> = queue.drain(..queue.len().min(BATCH)).collect();
        if batch.is_empty() {
            queues.remove(&self.space);
            self.done = true;
        }
        batch
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        if !self.done {
            self.queues.queues().remove(&self.space);
        }
    }
}

impl Api {
    /// Accepts a Task of the App as it is at that moment.
    pub(crate) async fn accept(
        &self,
        asked: RunTask,
        hash: [u8; 32],
        trace: Option<String>,
    ) -> Result<Accepted, ApiError> {
        let principal = || self.principal().to_owned();
        let key = asked.request_id.clone().map(|key| RequestKey { principal: principal(), key, hash });
        let (answer, answered) = oneshot::channel();
        let space = asked.app.space.clone();
        let waiting = Waiting { asked, key, trace, span: Span::current(), answer };
        if let Some(mut clerk) = self.accepts.push(&space, waiting) {
            let api = self.clone();
            self.platform.lifecycle.spawn("accept", async move {
                loop {
                    let batch = clerk.next();
                    let Some(first) = batch.first() else { return };
                    // The transaction is a part of the first one's trace; the others refer to it.
                    let span = first.span.clone();
                    batch.iter().skip(1).for_each(|waiting| telemetry::link(&waiting.span, &span));
                    api.accept_batch(&clerk.space, batch).instrument(span).await;
                }
            });
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the acceptance was broken off".into()).into()))
    }

    /// Those whose App changed between reading and accepting are tried anew: a Task is to freeze what is so.
    async fn accept_batch(&self, space: &Name, mut batch: Vec<Waiting>) {
        for _ in 0..TRIES {
            batch = self.accept_once(space, batch).await;
            if batch.is_empty() {
                return;
            }
        }
        for waiting in batch {
            let conflict = StoreError::Conflict(waiting.asked.app.to_string());
            waiting.tell(Err(conflict.into()));
        }
    }

    /// Answers all but those that are to be tried anew.
    async fn accept_once(&self, space: &Name, batch: Vec<Waiting>) -> Vec<Waiting> {
        let store = &self.platform.store;
        let space = match store.space_get(&SpaceName(space.clone())).await {
            Ok(space) => space,
            Err(error) => {
                batch.into_iter().for_each(|waiting| waiting.tell(Err(error.alike().into())));
                return Vec::new();
            }
        };
        let mut apps: HashMap<AppName, Result<App, StoreError>> = HashMap::new();
        let (mut births, mut born) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for waiting in batch {
            let name = &waiting.asked.app;
            if !apps.contains_key(name) {
                apps.insert(name.clone(), store.app_get(name).await);
            }
            let birth = match apps.get(name) {
                Some(Ok(app)) => self.birth(&space, app, &waiting).await,
                Some(Err(error)) => Err(error.alike().into()),
                None => Err(StoreError::NotFound(name.to_string()).into()),
            };
            match birth {
                Ok(birth) => {
                    births.push((birth, waiting.key.clone()));
                    born.push(waiting);
                }
                Err(error) => waiting.tell(Err(error)),
            }
        }
        let answers = store.tasks_accept(births).await;
        self.platform.feed.ring();
        let mut again = Vec::new();
        for (waiting, answer) in born.into_iter().zip(answers) {
            match answer {
                Err(StoreError::Conflict(_)) => again.push(waiting),
                answer => waiting.tell(answer.map_err(Into::into)),
            }
        }
        again
    }

    async fn birth(&self, space: &Space, app: &App, waiting: &Waiting) -> Result<Birth, ApiError> {
        takes_in(space, Some(app))?;
        self.can_be_run(app).await?;
        let uid = match &waiting.key {
            Some(RequestKey { principal, key, hash: _ }) => TaskUid::requested(space.uid, principal, key),
            None => TaskUid(self.platform.clock.new_uid()),
        };
        let (asked, trace) = (waiting.asked.clone(), waiting.trace.clone());
        Ok(Task::create(uid, space, app, asked, cluster()?, trace, self.platform.clock.now())?)
    }
}
