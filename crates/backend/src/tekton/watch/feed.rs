//! All objects of one kind, and then what becomes of them. One feed lists once and watches from there; whatever breaks it, it
//! goes on from the last version it heard of, and lists again only when the server does not remember that one.
//!
//! A watch ends by itself every [`Pace::turn`], and one that does not is ended: so a connection on which nothing comes any more
//! without anybody having closed it is noticed within [`Pace::turn`] and a little.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use super::now;
use crate::tekton::client::Read;
use crate::tekton::stream::{Broken, Lines, open};

/// How a feed spends its time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// One page of a list, and the beginning of a watch.
    pub answer: Duration,
    /// How long one watch lasts.
    pub turn: Duration,
    /// How much longer one may last before it is given up.
    pub slack: Duration,
    pub pause: Duration,
    pub pause_max: Duration,
    /// Objects in one page.
    pub page: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(20),
            turn: Duration::from_secs(40),
            slack: Duration::from_secs(10),
            pause: Duration::from_millis(250),
            pause_max: Duration::from_secs(15),
            page: 500,
        }
    }
}

/// What a feed tells.
#[derive(Debug)]
pub(super) enum Told<K> {
    /// These are all there are; the list was begun then.
    All { items: Vec<K>, asked: Timestamp },
    /// That is how it is now.
    Is(K),
    /// It is there no more; that was its last state.
    Gone(K),
}

pub(super) struct Feed {
    pub client: Client,
    /// Unset: all of the kind.
    pub selector: Option<&'static str>,
    pub pace: Pace,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Page<K> {
    metadata: ListMeta,
    items: Vec<K>,
}

#[derive(Deserialize)]
struct Event<T> {
    #[serde(rename = "type")]
    kind: String,
    object: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Option<Meta>,
    /// Of an error.
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

/// The server does not remember so far back.
const FORGOTTEN: u16 = 410;

impl Feed {
    /// Tells until the caller has heard enough and drops it.
    pub async fn tell<K: Read>(&self, mut tell: impl FnMut(Told<K>)) {
        let mut from: Option<String> = None;
        let mut pause = self.pace.pause;
        loop {
            let heard = match &mut from {
                None => self.list(&mut tell).await.map(|version| from = Some(version)),
                Some(version) => self.watch(version, &mut tell).await,
            };
            let Err(broken) = heard else {
                pause = self.pace.pause;
                continue;
            };
            tracing::debug!(kind = %K::kind(&()), %broken, listing = from.is_none(), "a watch was interrupted");
            let mut wait = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            if let Broken::Refused { code, wait: told, .. } = broken {
                if code == FORGOTTEN {
                    from = None;
                }
                wait = told.map_or(wait, |told| told.max(wait));
            }
            sleep(wait).await;
            pause = (pause * 2).min(self.pace.pause_max);
        }
    }

    fn target<K: Read>(&self, query: &str) -> String {
        let selector = self.selector.map(|selector| format!("labelSelector={}&", selector.replace('=', "%3D")));
        format!("{}?{}{query}", K::url_path(&(), None), selector.unwrap_or_default())
    }

    /// Without a version the server answers from its store, not from memory. Told only when it is complete: a list that is
    /// forgotten in the middle is begun again.
    async fn list<K: Read>(&self, tell: &mut impl FnMut(Told<K>)) -> Result<String, Broken> {
        let asked = now();
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let target = self.target::<K>(&format!("limit={}{next}", self.pace.page));
            let mut lines = open(&self.client, &target, self.pace.answer).await?;
            let deadline = Instant::now() + self.pace.answer;
            let text = timeout_at(deadline, lines.all(usize::MAX)).await;
            let text = text.map_err(|_| Broken::Cut("a list did not come to its end".to_owned()))?;
            let page: Page<K> = serde_json::from_slice(&text).map_err(unread)?;
            items.extend(page.items.into_iter().map(slimmed));
            match page.metadata.next.filter(|token| !token.is_empty()) {
                Some(token) => next = format!("&continue={token}"),
                None => {
                    let version = page.metadata.resource_version.unwrap_or_default();
                    tell(Told::All { items, asked });
                    return Ok(version);
                }
            }
        }
    }

    async fn watch<K: Read>(&self, version: &mut String, tell: &mut impl FnMut(Told<K>)) -> Result<(), Broken> {
        let turn = self.pace.turn;
        let seconds = turn.as_secs().max(1);
        let query = format!("watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}");
        let mut lines: Lines = open(&self.client, &self.target::<K>(&query), self.pace.answer).await?;
        let deadline = Instant::now() + turn + self.pace.slack;
        loop {
            let line = timeout_at(deadline, lines.next()).await;
            let Some(line) = line.map_err(|_| Broken::Cut("a watch did not end in time".to_owned()))?? else {
                return Ok(());
            };
            // What is cut off has no line feed, and comes again.
            if !line.ends_with(b"\n") {
                return Err(Broken::Cut("a watch was cut off".to_owned()));
            }
            // What kind of word it is comes first: an error has no object of ours.
            let Event { kind, object: Object { metadata, code, message } } =
                serde_json::from_slice(&line).map_err(unread)?;
            let object =
                || serde_json::from_slice::<Event<K>>(&line).map_err(unread).map(|event| slimmed(event.object));
            match kind.as_str() {
                "ADDED" | "MODIFIED" => tell(Told::Is(object()?)),
                "DELETED" => tell(Told::Gone(object()?)),
                "ERROR" => return Err(Broken::Refused { code, message, wait: None }),
                // A bookmark: only how far it is.
                _ => {}
            }
            if let Some(told) = metadata.and_then(|metadata| metadata.resource_version) {
                *version = told;
            }
        }
    }
}

fn unread(error: serde_json::Error) -> Broken {
    Broken::Cut(format!("its answer cannot be read: {error}"))
}

/// Without what nobody looks at: there are thousands of them.
fn slimmed<K: Read>(mut object: K) -> K {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    meta.owner_references = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| key.starts_with("taskplane.dev/") || key == "tekton.dev/ready");
    }
    object
}
