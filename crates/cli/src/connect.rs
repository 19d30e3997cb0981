//! The connection to the api: calls with a deadline that are tried again while the api is away for a moment.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use rand::Rng as _;
use tokio::time::{Instant, timeout};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Response, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::failure::{Failure, is_passing};
use crate::names;
use crate::target::Target;

/// How often a call is made again, and how long the first wait is.
#[derive(Debug, Clone, Copy)]
pub struct Tries {
    pub again: u32,
    pub delay: Duration,
    /// Whether the wait doubles each time.
    pub grows: bool,
}

impl Default for Tries {
    fn default() -> Self {
        Self { again: 3, delay: Duration::from_millis(100), grows: true }
    }
}

/// What commands speak through.
#[derive(Debug, Clone)]
pub struct Session {
    pub channel: Channel,
    pub url: String,
    space: Option<String>,
    timeout: Duration,
    program: &'static str,
}

impl Session {
    /// Prepares a connection; it is made with the first call.
    pub fn new(target: Target, timeout: Duration, program: &'static str) -> Result<Self, Failure> {
        let Target { api, ca_file, space } = target;
        let url = if api.contains("://") { api } else { format!("http://{api}") };
        let not_an_address =
            |why: &str| Failure::wrong_with(format!("`{url}` is not an api address: {why}"), "set --api".to_owned());
        let secured = match url.split_once("://") {
            Some(("http", _)) => false,
            Some(("https", _)) => true,
            _ => return Err(not_an_address("write http://HOST:PORT or https://HOST:PORT")),
        };
        let mut endpoint = Endpoint::from_shared(url.clone()).map_err(|_| not_an_address("not a URL"))?;
        if secured {
            endpoint = endpoint.tls_config(vouched_for(ca_file.as_deref())?).map_err(|error| no_tls(&error))?;
        }
        let channel = endpoint
            .connect_timeout(Duration::from_secs(10).min(timeout))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .connect_lazy();
        Ok(Self { channel, url, space, timeout, program })
    }

    /// The targeted Space's resource name.
    pub fn space(&self) -> Result<String, Failure> {
        self.space.as_deref().map(names::space).ok_or_else(|| {
            Failure::wrong_with(
                "no Space is targeted".to_owned(),
                format!("use `{} target -s SPACE`, or --space", self.program),
            )
        })
    }

    pub fn refused(&self, status: Status) -> Failure {
        Failure::refused(status, &self.url)
    }

    /// One answer to one request, which must be safe to repeat.
    pub async fn call<Q: Clone, T>(
        &self,
        request: &Q,
        rpc: impl AsyncFn(Channel, Q) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        self.call_with(Tries::default(), request, rpc).await
    }

    /// As [`Session::call`], with a say about the tries.
    pub async fn call_with<Q: Clone, T>(
        &self,
        tries: Tries,
        request: &Q,
        rpc: impl AsyncFn(Channel, Q) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let whole = self.again(tries, async || rpc(self.channel.clone(), request.clone()).await);
        match timeout(self.timeout, whole).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Failure::TooSlow(self.timeout)),
        }
    }

    /// A deletion: when a repeat finds nothing, the first try did it although its answer was lost.
    pub async fn delete<Q: Clone>(
        &self,
        request: &Q,
        rpc: impl AsyncFn(Channel, Q) -> Result<Response<()>, Status>,
    ) -> Result<(), Failure> {
        let tried = Cell::new(false);
        self.call(request, async |channel, request| match rpc(channel, request).await {
            Err(status) if status.code() == Code::NotFound && tried.get() => Ok(Response::new(())),
            answer => {
                tried.set(true);
                answer
            }
        })
        .await
    }

    /// Opens a stream. Only its beginning has a deadline.
    pub async fn open<T>(
        &self,
        rpc: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
    ) -> Result<Streaming<T>, Status> {
        match timeout(self.timeout, rpc).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::unavailable(Failure::TooSlow(self.timeout).to_string())),
        }
    }

    /// Makes a call, and again while it fails in passing. No deadline.
    pub async fn again<T>(&self, tries: Tries, rpc: impl AsyncFn() -> Result<T, Status>) -> Result<T, Failure> {
        let mut patience = Patience::new(tries);
        loop {
            match rpc().await {
                Ok(answer) => return Ok(answer),
                Err(status) if is_passing(&status) => match patience.next(&status) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(self.refused(status)),
                },
                Err(status) => return Err(self.refused(status)),
            }
        }
    }
}

/// The authority that is named, and no other; else those that this system trusts.
fn vouched_for(ca_file: Option<&Path>) -> Result<ClientTlsConfig, Failure> {
    let Some(file) = ca_file else { return Ok(ClientTlsConfig::new().with_native_roots()) };
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::wrong_with(format!("cannot use {}: {why}", file.display()), NAME_ONE.to_owned())
    };
    let text = std::fs::read(file).map_err(|error| cannot(&error))?;
    if !text.windows(BEGIN.len()).any(|text| text == BEGIN) {
        return Err(cannot(&"it holds no certificate"));
    }
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(text)))
}

/// The system trusts nobody, or what it has cannot be used.
fn no_tls(error: &tonic::transport::Error) -> Failure {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let why = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
    Failure::wrong_with(format!("who vouches for an https api is not known: {why}"), NAME_ONE.to_owned())
}

const NAME_ONE: &str = "set --ca-file to the certificates of its authority, in PEM";
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// How long without progress a stream is taken up again: an api may restart meanwhile.
const STREAM_PATIENCE: Duration = Duration::from_secs(60);
/// A stream that held this long was alive, even if nothing came.
const ALIVE: Duration = Duration::from_secs(10);

/// Counts tries and says how long to wait before the next one.
#[derive(Debug)]
pub struct Patience {
    tries: Tries,
    used: u32,
    limit: Option<Duration>,
    failing_since: Option<Instant>,
    opened_at: Option<Instant>,
}

impl Patience {
    pub fn new(tries: Tries) -> Self {
        Self { tries, used: 0, limit: None, failing_since: None, opened_at: None }
    }

    /// For streams, which are limited by time.
    pub fn for_streams() -> Self {
        let tries = Tries { again: u32::MAX, delay: Duration::from_millis(200), grows: true };
        Self { limit: Some(STREAM_PATIENCE), ..Self::new(tries) }
    }

    /// A stream begins; that alone is no progress yet.
    pub fn opened(&mut self) {
        self.opened_at = Some(Instant::now());
    }

    /// There was progress.
    pub fn refresh(&mut self) {
        self.used = 0;
        self.failing_since = None;
    }

    /// The next wait, a part of which is random so that clients do not come back all at once.
    pub fn next(&mut self, status: &Status) -> Option<Duration> {
        if self.opened_at.take().is_some_and(|at| at.elapsed() >= ALIVE) {
            self.refresh();
        }
        let failing_since = *self.failing_since.get_or_insert_with(Instant::now);
        let too_long = self.limit.is_some_and(|limit| failing_since.elapsed() >= limit);
        if too_long || self.used >= self.tries.again {
            return None;
        }
        let factor = if self.tries.grows { 1 << self.used.min(5) } else { 1 };
        self.used += 1;
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        let wait = (self.tries.delay * factor).max(asked.min(Duration::from_secs(10)));
        Some(wait.mul_f64(rand::rng().random_range(0.75..1.25)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(api: &str) -> Result<Session, Failure> {
        let target = Target { api: api.to_owned(), ca_file: None, space: None };
        Session::new(target, Duration::from_secs(1), "taskplane")
    }

    #[tokio::test]
    async fn an_address_may_leave_out_its_scheme() {
        assert_eq!(session("localhost:7070").unwrap().url, "http://localhost:7070");
    }

    #[tokio::test]
    async fn what_is_not_an_address_is_refused_in_one_line() {
        for api in ["ftp://localhost", "http://", "a b", "unix:///x"] {
            let line = session(api).unwrap_err().line();
            assert!(line.contains("is not an api address") && line.ends_with("set --api"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_file_that_vouches_for_nobody_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for file in [Path::new("/nowhere"), file.path()] {
            let line = vouched_for(Some(file)).unwrap_err().line();
            assert!(line.contains(&file.display().to_string()) && line.contains("--ca-file"), "{line}");
        }
    }

    #[tokio::test]
    async fn without_a_space_the_fix_is_named() {
        let line = session("localhost:1").unwrap().space().unwrap_err().line();
        assert_eq!(line, "no Space is targeted; use `taskplane target -s SPACE`, or --space");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_given_up_when_it_keeps_failing_for_a_minute() {
        let status = Status::unavailable("");
        let mut patience = Patience::for_streams();
        assert!(patience.next(&status).is_some());
        tokio::time::advance(Duration::from_secs(59)).await;
        patience.opened();
        assert!(patience.next(&status).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(patience.next(&status).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_that_held_is_taken_up_again() {
        let status = Status::unavailable("");
        let mut patience = Patience::for_streams();
        assert!(patience.next(&status).is_some());
        patience.opened();
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(patience.next(&status).is_some());
    }

    #[test]
    fn patience_ends_and_grows_and_is_renewed() {
        let status = Status::unavailable("");
        let mut patience = Patience::new(Tries { again: 2, delay: Duration::from_millis(100), grows: true });
        let first = patience.next(&status).unwrap();
        let second = patience.next(&status).unwrap();
        assert!(first < second);
        assert!(patience.next(&status).is_none());
        patience.refresh();
        assert!(patience.next(&status).is_some());
    }
}
