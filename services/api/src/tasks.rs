//! TaskService: asking for Tasks, reading them, asking for their end. Watching and logs have files of their own.

use futures::stream::BoxStream;
use jiff::Timestamp;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use taskplane_domain::app::{App, Source};
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::name::{Name, NameError, SpaceName, TaskName};
use taskplane_domain::service::Offers;
use taskplane_domain::task::Task;
use taskplane_domain::uid::TaskUid;
use taskplane_proto::convert::{cancel_task_from_pb, frozen_to_pb, run_task_from_pb, task_to_pb};
use taskplane_proto::filter::{TaskFilter, newest_first};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::task_service_server::TaskService;
use taskplane_runtime::telemetry;
use taskplane_store::{TaskMark, TaskQuery};
use tonic::{Request, Response, Status};
use tracing::Span;

use crate::Api;
use crate::driven::driven;
use crate::error::ApiError;
use crate::names::Scope;
use crate::tokens::{cut, page_size};

/// How often a change that lost a race is decided anew before the caller is told.
pub(crate) const TRIES: usize = 16;

/// Where Tasks run until a Space can say otherwise.
pub(crate) fn cluster() -> Result<Name, Invalid> {
    "local".parse().map_err(|error: NameError| Invalid::one("cluster", error.to_string()))
}

#[tonic::async_trait]
impl TaskService for Api {
    async fn run_task(&self, request: Request<pb::RunTaskRequest>) -> Result<Response<pb::Task>, Status> {
        let trace = telemetry::traceparent(request.metadata());
        let request = request.into_inner();
        let hash = body_hash(&request);
        let asked = run_task_from_pb(request).map_err(ApiError::from)?;
        let task = self.meters.accept(async {
            self.limits.run_task(&asked.app.space)?;
            self.accept(asked, hash, trace).await
        });
        let task = task.await?;
        Span::current().record("task.name", tracing::field::display(&task.name));
        Ok(Response::new(task_to_pb(&task, Some(&[]))))
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Result<Response<pb::Task>, Status> {
        let request = request.into_inner();
        let name = parse_name(&request.name)?;
        let task = self.platform.store.task_get(&name).await.map_err(ApiError::from)?;
        let mut answer = self.whole(&task).await?;
        if request.view() == pb::TaskView::Owner {
            (answer.variables, answer.services) = self.frozen(&task).await?;
        }
        Ok(Response::new(answer))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        let pb::ListTasksRequest { parent, page_size: asked, page_token, filter, order_by } = request.into_inner();
        let question = format!("{}/tasks/{parent}/{filter}/{order_by}", self.principal());
        let mut check = Check::new();
        let scope = check.all(Scope::of_tasks("parent", &parent));
        let size = check.all(page_size(asked));
        let filter = check.all(TaskFilter::parse(&filter));
        let newest_first = check.all(newest_first(&order_by));
        let after = check.all(self.tokens.open_page(&question, &page_token)).flatten();
        let parts = scope.zip(size).zip(filter.zip(newest_first));
        let ((scope, size), (filter, newest_first)) = check.finish_with(parts).map_err(ApiError::from)?;
        if scope.task.is_some() {
            return Err(ApiError::from(Invalid::one("parent", "must be an App, not a Task")).into());
        }
        self.exists(&scope).await?;
        let TaskFilter { states, job } = filter;
        let after = after.as_deref().and_then(position);
        let query = TaskQuery { space: scope.space, app: scope.app, states, job, newest_first, after, limit: size + 1 };
        let (tasks, more) = cut(self.platform.store.task_list(&query).await.map_err(ApiError::from)?, size);
        let last = tasks.last().filter(|_| more);
        let token = |task: &Task| {
            self.tokens.page(&question, &format!("{}/{}/{}", task.name.id, task.created_at.as_microsecond(), task.uid))
        };
        let next_page_token = last.map(token).unwrap_or_default();
        Ok(Response::new(pb::ListTasksResponse { tasks: self.listed(&tasks).await?, next_page_token }))
    }

    async fn cancel_task(&self, request: Request<pb::CancelTaskRequest>) -> Result<Response<pb::Task>, Status> {
        let pb::CancelTaskRequest { name, etag, grace, delete_logs } = request.into_inner();
        let name = parse_name(&name)?;
        let asked = cancel_task_from_pb(grace, delete_logs).map_err(ApiError::from)?;
        Ok(Response::new(self.whole(&self.task_cancel(&name, &etag, asked).await?).await?))
    }

    async fn abandon_task(&self, request: Request<pb::AbandonTaskRequest>) -> Result<Response<pb::Task>, Status> {
        let pb::AbandonTaskRequest { name, etag } = request.into_inner();
        let name = parse_name(&name)?;
        Ok(Response::new(self.whole(&self.task_abandon(&name, &etag).await?).await?))
    }

    async fn explain_task(
        &self,
        request: Request<pb::ExplainTaskRequest>,
    ) -> Result<Response<pb::ExplainTaskResponse>, Status> {
        let name = parse_name(&request.into_inner().name)?;
        let task = self.platform.store.task_get(&name).await.map_err(ApiError::from)?;
        let seen = self.platform.store.task_circumstances(&task).await.map_err(ApiError::from)?;
        Ok(Response::new(pb::ExplainTaskResponse {
            name: name.to_string(),
            state: pb::TaskState::from(task.state.kind()) as i32,
            explanations: task.explain(&seen, &self.args.deadlines).into_iter().map(Into::into).collect(),
        }))
    }

    async fn delete_task(&self, request: Request<pb::DeleteTaskRequest>) -> Result<Response<()>, Status> {
        let pb::DeleteTaskRequest { name, force } = request.into_inner();
        self.task_delete(&parse_name(&name)?, force).await?;
        self.platform.feed.ring();
        Ok(Response::new(()))
    }

    type WatchTasksStream = BoxStream<'static, Result<pb::WatchTasksResponse, Status>>;

    async fn watch_tasks(
        &self,
        request: Request<pb::WatchTasksRequest>,
    ) -> Result<Response<Self::WatchTasksStream>, Status> {
        let answers = self.clone().watch(request.into_inner()).await?;
        Ok(Response::new(driven(&self.platform.lifecycle, answers)))
    }

    type StreamLogsStream = BoxStream<'static, Result<pb::StreamLogsResponse, Status>>;

    async fn stream_logs(
        &self,
        request: Request<pb::StreamLogsRequest>,
    ) -> Result<Response<Self::StreamLogsStream>, Status> {
        let answers = self.clone().logs(request.into_inner()).await?;
        Ok(Response::new(driven(&self.platform.lifecycle, answers)))
    }
}

impl Api {
    /// What nobody here can run would wait for ever. Without any executor the Task waits for one to come.
    pub(crate) async fn can_be_run(&self, app: &App) -> Result<(), ApiError> {
        let is_image = matches!(app.spec.source, Source::Image(_));
        let secret = app.spec.services.iter().find(|binding| binding.offers == Offers::Secret);
        if !is_image && secret.is_none() {
            return Ok(());
        }
        let sessions = self.platform.store.sessions_open(&cluster()?).await?;
        let nobody = !sessions.is_empty() && sessions.iter().all(|session| !session.runs_images);
        match secret {
            _ if !nobody => Ok(()),
            Some(binding) if !is_image => {
                Err(ApiError::SecretsNotRead(app.name.to_string(), binding.instance.to_string()))
            }
            Some(_) | None => Err(ApiError::ImagesNotRun(app.name.to_string())),
        }
    }

    /// What it froze, without the values.
    async fn frozen(&self, task: &Task) -> Result<(Vec<pb::FrozenVariable>, Vec<pb::ServiceBinding>), ApiError> {
        let store = &self.platform.store;
        let app = store.app_spec(task.app_uid, task.app_revision).await?;
        let space = store.space_env(task.space_uid, task.space_env_revision).await?;
        Ok(frozen_to_pb(task, &space.env, &app))
    }

    /// A Task with all its attempts.
    pub(crate) async fn whole(&self, task: &Task) -> Result<pb::Task, ApiError> {
        let ended = self.platform.store.task_attempts(task.uid).await?;
        let one = std::slice::from_ref(task);
        let stuck = self.stuck(one).await?.pop().flatten();
        let waiting_cause = self.waiting(one).await?.pop().unwrap_or_default();
        Ok(pb::Task { stuck: stuck.map(Into::into), waiting_cause, ..task_to_pb(task, Some(&ended)) })
    }

    /// NOT_FOUND rather than an empty answer for what is not there.
    pub(crate) async fn exists(&self, scope: &Scope) -> Result<(), ApiError> {
        let Scope { space, app, task: _ } = scope;
        match app {
            Some(app) => self
                .platform
                .store
                .app_get(&taskplane_domain::AppName { space: space.clone(), app: app.clone() })
                .await
                .map(|_| ())?,
            None => self.platform.store.space_get(&SpaceName(space.clone())).await.map(|_| ())?,
        }
        Ok(())
    }
}

/// What makes two requests with one key the same request.
fn body_hash(request: &pb::RunTaskRequest) -> [u8; 32] {
    let body = pb::RunTaskRequest { request_id: String::new(), ..request.clone() };
    Sha256::digest(body.encode_to_vec()).into()
}

/// Where a page of Tasks ended.
fn position(text: &str) -> Option<TaskMark> {
    let (id, rest) = text.split_once('/')?;
    let (micros, uid) = rest.split_once('/')?;
    let created_at = Timestamp::from_microsecond(micros.parse().ok()?).ok()?;
    Some(TaskMark { id: id.parse().ok()?, created_at, uid: TaskUid(uid.parse().ok()?) })
}

pub(crate) fn parse_name(text: &str) -> Result<TaskName, ApiError> {
    text.parse().map_err(|error: NameError| Invalid::one("name", error.to_string()).into())
}
