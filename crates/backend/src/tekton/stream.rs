//! Answers that have no end: watches and logs, line by line, as they come.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::poll_fn;
use http::{Request, header};
use http_body::Body as _;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use tokio::time::timeout;

/// How long somebody who asked too much may be told to stay away; beyond it we ask again anyway.
const AWAY_MAX: Duration = Duration::from_secs(60);
const REFUSAL_MAX: usize = 64 * 1024;

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    Refused {
        code: u16,
        message: String,
        /// What the server asks for.
        wait: Option<Duration>,
    },
    /// The connection, or the time that it had.
    Cut(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { code, message, .. } => write!(f, "{code}: {message}"),
            Self::Cut(message) => f.write_str(message),
        }
    }
}

pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// Up to where the buffer holds no line feed.
    searched: usize,
    /// Longer lines come in pieces.
    longest: usize,
    ended: bool,
}

/// Asks, and waits no longer than `within` for the answer to begin.
pub(super) async fn open(client: &Client, target: &str, within: Duration) -> Result<Lines, Broken> {
    let request = Request::get(target).body(Body::empty()).map_err(cut)?;
    let response = timeout(within, client.send(request)).await;
    let response = response.map_err(|_| Broken::Cut(format!("no answer within {within:?}")))?.map_err(cut)?;
    let status = response.status();
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut lines =
        Lines { body: response.into_body(), buffer: BytesMut::new(), searched: 0, longest: usize::MAX, ended: false };
    if status.is_success() {
        return Ok(lines);
    }
    let text = timeout(within, lines.all(REFUSAL_MAX)).await.unwrap_or_default();
    let said: Result<Status, _> = serde_json::from_slice(&text);
    let message = said.map_or_else(|_| String::from_utf8_lossy(&text).trim().to_owned(), |status| status.message);
    let wait = wait.map(|seconds: u64| Duration::from_secs(seconds).min(AWAY_MAX));
    Err(Broken::Refused { code: status.as_u16(), message, wait })
}

fn cut(error: impl std::fmt::Display) -> Broken {
    Broken::Cut(error.to_string())
}

impl Lines {
    /// That there is nothing.
    pub fn none() -> Self {
        Self { body: Body::empty(), buffer: BytesMut::new(), searched: 0, longest: usize::MAX, ended: true }
    }

    pub fn in_pieces(self, longest: usize) -> Self {
        Self { longest, ..self }
    }

    /// The next line with its line feed, or what is left without one. None: that was all.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched >= self.longest {
                self.searched = 0;
                return Ok(Some(self.buffer.split().freeze()));
            }
            if self.ended {
                self.searched = 0;
                let rest = self.buffer.split().freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            }
            match self.frame().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => self.ended = true,
            }
        }
    }

    /// Everything, as one piece; or as much of it as is wanted.
    pub async fn all(&mut self, most: usize) -> Bytes {
        while self.buffer.len() < most {
            match self.frame().await {
                Ok(Some(bytes)) => self.buffer.extend_from_slice(&bytes),
                Ok(None) | Err(_) => break,
            }
        }
        self.searched = 0;
        self.buffer.split().freeze()
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                None => return Ok(None),
                Some(Err(error)) => return Err(cut(error)),
                // Trailers say nothing here.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}
