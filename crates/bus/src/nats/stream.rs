//! The stream that keeps events, made and kept as it is declared here.
//!
//! It takes what is published under a token of its own, and keeps it under the subjects that everybody reads. A stream that is
//! made anew has another token, and one that has lost something gets another: what a late relay sends to the former one finds
//! nobody. So whatever is in a stream was published by somebody who knew which one it is, hence nothing is in it before what
//! comes earlier. What it has taken it publishes again, for whoever merely listens.

use std::time::Duration;

use async_nats::jetstream::context::{Context, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType, SubjectTransform,
};
use async_nats::jetstream::{Error as ApiError, ErrorCode};
use taskplane_domain::event::StreamMark;

use crate::BusError;
use crate::nats::message::Subjects;
use crate::nats::options::NatsOptions;

/// Within this time the server knows a repeat by its id.
const REPEATS: Duration = Duration::from_secs(120);
const UNLIMITED: i64 = -1;

/// The token and the time of its making, in this form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incarnation {
    pub(crate) token: String,
    made: String,
}

impl Incarnation {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (token, made) = text.split_once('@')?;
        Some(Self { token: token.to_owned(), made: made.to_owned() })
    }

    fn text(&self) -> String {
        format!("{}@{}", self.token, self.made)
    }
}

/// What is asked of JetStream about the one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keeper<'k> {
    pub(crate) jetstream: &'k Context,
    pub(crate) options: &'k NatsOptions,
    pub(crate) subjects: &'k Subjects,
}

impl Keeper<'_> {
    /// The stream as it is, once it is there and as declared. `known`: what was remembered of it, read before this.
    pub(crate) async fn look(self, known: Option<&StreamMark>) -> Result<StreamMark, BusError> {
        let info = self.ensure().await?;
        let found = self.mark(&info)?;
        let Some(known) = known else { return Ok(found) };
        let again = |mark: &StreamMark| Incarnation::parse(&mark.incarnation).map(|incarnation| incarnation.token);
        if known.incarnation == found.incarnation && known.last <= found.last || again(known) != again(&found) {
            return Ok(found);
        }
        // The same token, and yet not what it was: an older copy of its store, or one made again by hand.
        tracing::warn!(stream = info.config.name, known = known.last, found = found.last, "the stream has lost events");
        let renewed = self.update(self.declared(&self.fresh(), info.config)).await?;
        self.mark(&renewed)
    }

    async fn ensure(self) -> Result<Info, BusError> {
        let name = self.options.stream.as_str();
        let info = match self.jetstream.get_stream(name).await {
            Ok(stream) => stream.cached_info().clone(),
            Err(error) if missing(&error.kind()) => return self.create().await,
            Err(error) => return Err(BusError::unavailable(error)),
        };
        let token = self.token(&info);
        let declared = self.declared(&token.clone().unwrap_or_else(|| self.fresh()), info.config.clone());
        let drift = drift(&info.config, &declared);
        if drift.is_empty() {
            return Ok(info);
        }
        match self.update(declared).await {
            Ok(repaired) => {
                tracing::warn!(stream = name, settings = drift.join(", "), "the stream is as declared again");
                Ok(repaired)
            }
            // It takes events all the same.
            Err(BusError::Unavailable(error)) if token.is_some() => {
                let settings = drift.join(", ");
                tracing::warn!(stream = name, settings, %error, "the stream is not as declared, and stays so");
                Ok(info)
            }
            Err(error) => Err(error),
        }
    }

    async fn create(self) -> Result<Info, BusError> {
        match self.jetstream.create_stream(self.declared(&self.fresh(), Config::default())).await {
            Ok(stream) => {
                let info = stream.cached_info().clone();
                tracing::info!(stream = info.config.name, "the stream was made");
                Ok(info)
            }
            // Another relay was faster.
            Err(error) if taken(&error.kind()) => {
                let stream = self.jetstream.get_stream(&self.options.stream).await.map_err(BusError::unavailable)?;
                Ok(stream.cached_info().clone())
            }
            Err(error) => Err(BusError::unavailable(error)),
        }
    }

    async fn update(self, config: Config) -> Result<Info, BusError> {
        self.jetstream.update_stream(config).await.map_err(BusError::unavailable)
    }

    /// What we have no opinion on stays as it is.
    fn declared(self, token: &str, present: Config) -> Config {
        let NatsOptions { stream, replicas, max_age, .. } = self.options;
        let (into, events) = (self.subjects.gate(token), self.subjects.events());
        Config {
            name: stream.clone(),
            description: Some("What happened in Taskplane, as CloudEvents".to_owned()),
            subjects: vec![into.clone()],
            subject_transform: Some(SubjectTransform { source: into, destination: events.clone() }),
            republish: Some(Republish { source: events.clone(), destination: events, headers_only: false }),
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_bytes: UNLIMITED,
            max_messages: UNLIMITED,
            max_messages_per_subject: UNLIMITED,
            max_age: *max_age,
            duplicate_window: if max_age.is_zero() { REPEATS } else { REPEATS.min(*max_age) },
            num_replicas: usize::from(replicas.get()),
            no_ack: false,
            allow_direct: true,
            ..present
        }
    }

    /// Never used before.
    fn fresh(self) -> String {
        let inbox = self.jetstream.client().new_inbox();
        inbox.rsplit('.').next().unwrap_or_default().to_owned()
    }

    /// None: not one that we made, or its subjects were changed.
    fn token(self, info: &Info) -> Option<String> {
        match info.config.subjects.as_slice() {
            [into] => self.subjects.token(into).map(str::to_owned),
            _ => None,
        }
    }

    fn mark(self, info: &Info) -> Result<StreamMark, BusError> {
        let token =
            self.token(info).ok_or_else(|| BusError::unavailable("the stream has subjects of somebody else"))?;
        let made = (info.created.unix_timestamp_nanos() / 1000).to_string();
        Ok(StreamMark { incarnation: Incarnation { token, made }.text(), last: info.state.last_sequence })
    }
}

/// The names of settings that are not as declared.
fn drift(found: &Config, declared: &Config) -> Vec<&'static str> {
    let compared = [
        ("description", found.description == declared.description),
        ("subjects", found.subjects == declared.subjects),
        ("subject_transform", found.subject_transform == declared.subject_transform),
        ("republish", found.republish == declared.republish),
        ("retention", found.retention == declared.retention),
        ("storage", found.storage == declared.storage),
        ("discard", found.discard == declared.discard),
        ("max_bytes", found.max_bytes == declared.max_bytes),
        ("max_msgs", found.max_messages == declared.max_messages),
        ("max_msgs_per_subject", found.max_messages_per_subject == declared.max_messages_per_subject),
        ("max_age", found.max_age == declared.max_age),
        ("duplicate_window", found.duplicate_window == declared.duplicate_window),
        ("num_replicas", found.num_replicas == declared.num_replicas),
        ("no_ack", found.no_ack == declared.no_ack),
        ("allow_direct", found.allow_direct == declared.allow_direct),
    ];
    compared.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

fn missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if is(error, ErrorCode::STREAM_NOT_FOUND))
}

fn taken(kind: &CreateStreamErrorKind) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(error) if is(error, ErrorCode::STREAM_NAME_EXIST))
}

fn is(error: &ApiError, code: ErrorCode) -> bool {
    error.error_code() == code
}
