//! A bad line on demand: a TCP proxy that delays, swallows, cuts and resets what passes through it.
//!
//! It stands between any two processes, knows nothing of what they say, and does as it is told at any moment, to connections
//! that are there and to those that come. One thing it does understand: where PostgreSQL's protocol says COMMIT, and where the
//! server answers that it is done ([`CommitCut`]). Between the two nobody can know what became of a transaction.

mod carry;
mod postgres;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Until it is told otherwise. What was held back passes once the line is good again, as TCP would send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Each piece, either way, arrives so much later.
    Delay(Duration),
    /// Connections open, and nothing passes: neither bytes nor the news that the other side is gone.
    Blackhole,
    /// Half open: nothing passes in this direction, everything in the other one.
    Deaf(Toward),
    /// Every connection is reset, new ones at once.
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    Server,
    Client,
}

/// Where a connection to PostgreSQL is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitCut {
    /// COMMIT never reaches the server: it did not happen.
    BeforeServer,
    /// The server has answered COMMIT, and the client does not hear it: it did happen.
    BeforeClient,
}

/// Listens on a port of its own, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
    accepting: JoinHandle<()>,
}

/// What all connections share.
#[derive(Debug)]
struct Line {
    server: watch::Sender<SocketAddr>,
    weather: watch::Sender<Weather>,
    /// Grows when all connections are to be reset.
    resets: watch::Sender<u64>,
    /// How many bytes pass on a connection before it is reset; `u64::MAX` is any number.
    bytes: AtomicU64,
    commits_before_server: AtomicUsize,
    commits_before_client: AtomicUsize,
    open: AtomicUsize,
    opened: AtomicUsize,
}

impl Proxy {
    /// Between whoever connects to [`Proxy::address`], and `server`, which need not be there yet.
    pub async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a proxy")?;
        let address = listener.local_addr()?;
        let line = Arc::new(Line {
            server: watch::Sender::new(server),
            weather: watch::Sender::new(Weather::Clear),
            resets: watch::Sender::new(0),
            bytes: AtomicU64::new(u64::MAX),
            commits_before_server: AtomicUsize::new(0),
            commits_before_client: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
        });
        let accepting = accept(listener, Arc::clone(&line));
        Ok(Self { address, line, accepting })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections lead there; those that are open stay where they are.
    pub fn lead_to(&self, server: SocketAddr) {
        self.line.server.send_replace(server);
    }

    pub fn set(&self, weather: Weather) {
        self.line.weather.send_replace(weather);
        if weather == Weather::Reset {
            self.reset_all();
        }
    }

    /// Resets every connection that is open, and says how many there were.
    pub fn reset_all(&self) -> usize {
        let open = self.line.open.load(Ordering::SeqCst);
        self.line.resets.send_modify(|count| *count += 1);
        open
    }

    /// Connections that open from now on are reset after so many bytes, both ways together; `None` for no such end.
    pub fn cut_after(&self, bytes: Option<u64>) {
        self.line.bytes.store(bytes.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// The next so many commits are cut there. Takes the place of what was asked for before.
    pub fn cut_commits(&self, count: usize, cut: CommitCut) {
        self.line.commits(cut).store(count, Ordering::SeqCst);
    }

    /// How many of the commits asked for are still to be cut.
    #[must_use]
    pub fn commits_to_cut(&self) -> usize {
        let of = |cut| self.line.commits(cut).load(Ordering::SeqCst);
        of(CommitCut::BeforeServer) + of(CommitCut::BeforeClient)
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.line.open.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.line.opened.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset_all();
    }
}

impl Line {
    fn commits(&self, cut: CommitCut) -> &AtomicUsize {
        match cut {
            CommitCut::BeforeServer => &self.commits_before_server,
            CommitCut::BeforeClient => &self.commits_before_client,
        }
    }

    /// Whether this commit is one of those to be cut.
    fn cuts(&self, cut: CommitCut) -> bool {
        let less_one = |left: usize| left.checked_sub(1);
        self.commits(cut).fetch_update(Ordering::SeqCst, Ordering::SeqCst, less_one).is_ok()
    }
}

#[expect(clippy::disallowed_methods, reason = "ends with the proxy, and nothing waits for it")]
fn accept(listener: TcpListener, line: Arc<Line>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            // An error is about a connection that went away before it was taken.
            if let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry::carry(client, Arc::clone(&line)));
            }
        }
    })
}
