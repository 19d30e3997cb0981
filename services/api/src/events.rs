//! EventService: the feed, read back and as it grows.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use taskplane_domain::invalid::Check;
use taskplane_proto::details;
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::event_service_server::EventService;
use taskplane_store::{FeedMark, FeedQuery, StoreError};
use tonic::{Code, Request, Response, Status};

use crate::Api;
use crate::driven::driven;
use crate::error::ApiError;
use crate::names::Scope;
use crate::tokens::page_size;

#[tonic::async_trait]
impl EventService for Api {
    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let pb::ListEventsRequest { parent, page_size: asked, page_token } = request.into_inner();
        let list = format!("{}/events/{parent}", self.principal());
        let mut check = Check::new();
        let scope = check.all(Scope::of_events("parent", &parent));
        let size = check.all(page_size(asked));
        let after = check.all(self.tokens.open_page(&list, &page_token)).flatten();
        let (scope, size) = check.finish_with(scope.zip(size)).map_err(ApiError::from)?;
        let after = after.map_or(FeedMark::START, page_mark);
        self.space_exists(&scope).await?;
        // Before the read: what comes in between is repeated by the watch rather than missed.
        let head = self.platform.store.feed_head().await.map_err(ApiError::from)?;
        let query = FeedQuery { space: scope.space, app: scope.app, task_id: scope.task, tasks_only: false };
        let events = self.platform.store.feed_read(&query, after, size).await.map_err(|error| match error {
            StoreError::Trimmed => list_anew(),
            error => ApiError::from(error).into(),
        })?;
        let last = events.last().map(|(mark, _)| *mark);
        let full = events.len() as u64 == u64::from(size);
        let next_page_token =
            last.filter(|_| full).map(|mark| self.tokens.page(&list, &page_position(mark))).unwrap_or_default();
        let end = match last {
            Some(mark) if full || mark.position > head => mark,
            Some(_) | None => FeedMark::behind(head.max(after.position)),
        };
        Ok(Response::new(pb::ListEventsResponse {
            events: events.iter().map(|(_, event)| event.into()).collect(),
            next_page_token,
            resume_token: self.tokens.resume(&watch_question(self.principal(), &parent), end),
        }))
    }

    type WatchEventsStream = BoxStream<'static, Result<pb::WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let pb::WatchEventsRequest { parent, resume_token, from_start } = request.into_inner();
        let scope = Scope::of_events("parent", &parent).map_err(ApiError::from)?;
        let question = watch_question(self.principal(), &parent);
        let resumed = self.tokens.open_resume(&question, &resume_token)?.or(from_start.then_some(FeedMark::START));
        self.space_exists(&scope).await?;
        let start = self.start(&scope, resumed).await?;
        let tokens = self.tokens.clone();
        let events = self.clone().feed(scope, false, start).map(move |event| {
            event.map(|(mark, event)| pb::WatchEventsResponse {
                event: Some((&event).into()),
                resume_token: tokens.resume(&question, mark),
            })
        });
        Ok(Response::new(driven(&self.platform.lifecycle, events)))
    }
}

impl Api {
    /// Events outlive what they speak of, but for the Space.
    async fn space_exists(&self, scope: &Scope) -> Result<(), ApiError> {
        let space = Scope { space: scope.space.clone(), app: None, task: None };
        self.exists(&space).await
    }
}

/// As [`page_mark`] reads it.
fn page_position(FeedMark { position, trimmed }: FeedMark) -> String {
    format!("{position} {trimmed}")
}

/// The trimmed part is missing in a token from before there was any.
fn page_mark(text: String) -> FeedMark {
    let (position, trimmed) = text.split_once(' ').unwrap_or((&text, ""));
    FeedMark { position: position.parse().unwrap_or_default(), trimmed: trimmed.parse().unwrap_or_default() }
}

/// Between two pages some of what the next one would show was cleared away.
fn list_anew() -> Status {
    details::error(
        Code::OutOfRange,
        "PAGE_TOKEN_TOO_OLD",
        "page_token: events behind it were cleared away since the list began: leave it empty to begin anew",
    )
}

fn watch_question(principal: &str, parent: &str) -> String {
    format!("{principal}/watch-events/{parent}")
}
