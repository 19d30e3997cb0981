//! Calls to the cluster. Each may be sent again without harm: names are derived, deletes name the object they mean, patches
//! test what they change. So an answer that does not come means no more than that the question is asked again, here, under one
//! deadline, and by nobody below: kube's own repeats are off.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{Request, Response, StatusCode, header};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::BackendError;

const CONNECT: Duration = Duration::from_secs(5);
/// One try. Admission webhooks may take ten seconds.
const TRY: Duration = Duration::from_secs(15);
/// All tries of one call.
const CALL: Duration = Duration::from_secs(45);
/// A stream that is silent for so long is dead: servers send a bookmark every minute at the latest, and watches are asked to
/// end before that.
const SILENCE: Duration = Duration::from_secs(55);
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Objects in one answer to a list.
const PAGE: u32 = 500;
const FIELD_MANAGER: &str = "taskplane-executor";

/// How to reach the cluster.
#[derive(Debug, Clone)]
pub struct Access {
    /// Unset: what kubectl would use, else the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// Calls a second, over time; twice as many at once.
    pub calls_per_second: NonZeroU32,
}

#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct AccessError {
    what: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server said no, and would say it again.
    #[error("the cluster refused it with {code} {reason}: {message}")]
    Refused { code: u16, reason: String, message: String },
    /// Nobody knows whether it was done.
    #[error("the cluster did not answer: {message}")]
    Unavailable { message: String },
}

impl CallError {
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Unavailable { .. } => None,
        }
    }

    pub fn during(self, doing: &'static str) -> BackendError {
        BackendError::Unavailable { doing, source: std::io::Error::other(self) }
    }
}

/// Which object is meant, so that no other of its name is hit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meant {
    pub uid: String,
    pub resource_version: Option<String>,
}

/// How a delete goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    pub grace_seconds: Option<u32>,
}

/// Where in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At<'a> {
    pub namespace: Option<&'a str>,
    pub name: &'a str,
}

impl<'a> At<'a> {
    pub fn new(namespace: &'a str, name: &'a str) -> Self {
        Self { namespace: Some(namespace), name }
    }

    pub fn cluster(name: &'a str) -> Self {
        Self { namespace: None, name }
    }
}

#[derive(Debug)]
pub struct Cluster {
    calls: Hidden<Client>,
    streams: Hidden<Client>,
    bucket: DefaultDirectRateLimiter,
}

/// What has no `Debug` of its own.
struct Hidden<T>(T);

impl<T> std::fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Cluster {
    pub async fn connect(access: &Access) -> Result<Self, AccessError> {
        let failed =
            |what: &str, source: Box<dyn std::error::Error + Send + Sync>| AccessError { what: what.into(), source };
        let mut config = match &access.kubeconfig {
            Some(path) => {
                let what = format!("{} is no kubeconfig that can be used", path.display());
                let read = Kubeconfig::read_from(path).map_err(|error| failed(&what, error.into()))?;
                let options = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(read, &options).await.map_err(|error| failed(&what, error.into()))?
            }
            None => Config::infer().await.map_err(|error| failed("there is no way to a cluster", error.into()))?,
        };
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT);
        config.write_timeout = Some(TRY);
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        let client = |config: Config| -> Result<Client, AccessError> {
            Ok(ClientBuilder::try_from(config)
                .map_err(|error| failed("no client for the cluster", error.into()))?
                .build())
        };
        let rate = access.calls_per_second;
        let quota = Quota::per_second(rate).allow_burst(rate.saturating_add(rate.get()));
        Ok(Self {
            calls: Hidden(client(config.clone())?),
            streams: Hidden(client(config)?),
            bucket: RateLimiter::direct(quota),
        })
    }

    /// For watches and logs: connections of their own, which end when nothing comes for a while. Who uses it repeats by itself.
    pub fn streams(&self) -> Client {
        self.streams.0.clone()
    }

    /// None: there is no such object.
    pub async fn get<K: Read>(&self, at: At<'_>) -> Result<Option<K>, CallError> {
        absent(self.call(http::Method::GET, path::<K>(at), None).await)
    }

    /// As the cluster has them now, not as somebody remembers them.
    pub async fn list<K: Read>(&self, namespace: Option<&str>, selector: &str) -> Result<Vec<K>, CallError> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let base = K::url_path(&(), namespace);
            let page = format!("{base}?limit={PAGE}&labelSelector={}{next}", encoded(selector));
            let List { metadata, items: some } = self.call(http::Method::GET, page, None).await?;
            items.extend(some);
            match metadata.and_then(|metadata| metadata.continue_).filter(|token| !token.is_empty()) {
                Some(token) => next = format!("&continue={}", encoded(&token)),
                None => return Ok(items),
            }
        }
    }

    pub async fn create<K: Read>(&self, namespace: Option<&str>, object: &Value) -> Result<K, CallError> {
        let target = format!("{}?fieldManager={FIELD_MANAGER}", K::url_path(&(), namespace));
        self.call(http::Method::POST, target, Some(("application/json", object))).await
    }

    /// Tests and changes, all or nothing. Refused with 422 where a test fails.
    pub async fn patch<K: Read>(&self, at: At<'_>, operations: &Value) -> Result<K, CallError> {
        let target = format!("{}?fieldManager={FIELD_MANAGER}", path::<K>(at));
        self.call(http::Method::PATCH, target, Some(("application/json-patch+json", operations))).await
    }

    pub async fn merge<K: Read>(&self, at: At<'_>, change: &Value) -> Result<K, CallError> {
        let target = format!("{}?fieldManager={FIELD_MANAGER}", path::<K>(at));
        self.call(http::Method::PATCH, target, Some(("application/merge-patch+json", change))).await
    }

    /// False: it was not there.
    pub async fn delete<K: Read>(&self, at: At<'_>, meant: &Meant, manner: Manner) -> Result<bool, CallError> {
        let mut options = json!({
            "propagationPolicy": "Background",
            "preconditions": {"uid": meant.uid},
        });
        if let Some(version) = &meant.resource_version {
            options["preconditions"]["resourceVersion"] = version.as_str().into();
        }
        if let Some(grace) = manner.grace_seconds {
            options["gracePeriodSeconds"] = grace.into();
        }
        let gone: Result<Value, CallError> =
            self.call(http::Method::DELETE, path::<K>(at), Some(("application/json", &options))).await;
        Ok(absent(gone)?.is_some())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: http::Method,
        target: String,
        body: Option<(&'static str, &Value)>,
    ) -> Result<T, CallError> {
        let deadline = Instant::now() + CALL;
        let mut pause = PAUSE;
        loop {
            let tried = match timeout_at(deadline, self.bucket.until_ready()).await {
                Ok(()) => timeout(TRY, self.once(&method, &target, body)).await,
                Err(_) => return Err(CallError::Unavailable { message: "too many calls are under way".into() }),
            };
            let (message, wait) = match tried {
                Ok(Ok(bytes)) => {
                    return serde_json::from_slice(&bytes).map_err(|error| CallError::Unavailable {
                        message: format!("its answer cannot be read: {error}"),
                    });
                }
                Ok(Err(Failed::Refused(refused))) => return Err(refused),
                Ok(Err(Failed::Busy { message, wait })) => (message, wait),
                Err(_) => (format!("no answer within {TRY:?}"), None),
            };
            let wait = wait.unwrap_or_else(|| pause.mul_f64(0.5 + rand::random::<f64>() / 2.0));
            if Instant::now() + wait >= deadline {
                return Err(CallError::Unavailable { message });
            }
            tracing::debug!(%method, target, message, ?wait, "a call to the cluster is repeated");
            sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn once(
        &self,
        method: &http::Method,
        target: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<bytes::Bytes, Failed> {
        let mut request = Request::builder().method(method).uri(target);
        let mut content = Vec::new();
        if let Some((kind, body)) = body {
            request = request.header(header::CONTENT_TYPE, kind);
            content = body.to_string().into_bytes();
        }
        let request = request.body(Body::from(content)).map_err(busy)?;
        let response: Response<Body> = self.calls.0.send(request).await.map_err(busy)?;
        let status = response.status();
        let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = response.into_body().collect_bytes().await.map_err(busy)?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(failed(status, wait.map(Duration::from_secs), &bytes))
    }
}

/// An object that this client can read.
pub trait Read: Resource<DynamicType = ()> + DeserializeOwned {}

impl<K: Resource<DynamicType = ()> + DeserializeOwned> Read for K {}

#[derive(serde::Deserialize)]
struct List<K> {
    metadata: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta>,
    items: Vec<K>,
}

enum Failed {
    Refused(CallError),
    Busy { message: String, wait: Option<Duration> },
}

fn busy(error: impl std::fmt::Display) -> Failed {
    Failed::Busy { message: error.to_string(), wait: None }
}

/// Who is told to come back later, or met a server in trouble, comes back; a webhook that is down is such trouble.
fn failed(code: StatusCode, wait: Option<Duration>, body: &[u8]) -> Failed {
    let Status { reason, message, .. } = serde_json::from_slice(body).unwrap_or_else(|_| {
        let mut text = String::from_utf8_lossy(body).into_owned();
        text.truncate(text.floor_char_boundary(512));
        Status { message: text, ..Status::failure("", "") }
    });
    if code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error() || code == StatusCode::REQUEST_TIMEOUT {
        Failed::Busy { message: format!("{code}: {message}"), wait }
    } else {
        Failed::Refused(CallError::Refused { code: code.as_u16(), reason, message })
    }
}

fn absent<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(CallError::Refused { code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn path<K: Read>(At { namespace, name }: At<'_>) -> String {
    format!("{}/{name}", K::url_path(&(), namespace))
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().fold(String::with_capacity(text.len()), |mut all, byte| {
        if plain(byte) {
            all.push(byte.into());
        } else {
            all.push_str(&format!("%{byte:02X}"));
        }
        all
    })
}
