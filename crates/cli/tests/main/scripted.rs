//! A Task service that answers by script: it refuses, breaks streams off and pages, at the points a test names.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::Stream;
use futures::stream::{self, StreamExt as _};
use taskplane_proto::v1::job_service_server::JobServiceServer;
use taskplane_proto::v1::task_service_server::{TaskService, TaskServiceServer};
use taskplane_proto::v1::{
    AbandonTaskRequest, CancelTaskRequest, DeleteTaskRequest, ExplainTaskRequest, ExplainTaskResponse, GetTaskRequest,
    ListTasksRequest, ListTasksResponse, LogLine, LogStream, RunTaskRequest, StreamLogsRequest, StreamLogsResponse,
    Task, TaskState, WatchTasksRequest, WatchTasksResponse,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::scripted_jobs::JobScript;

pub const TASK: &str = "spaces/s/apps/shop/tasks/7";

/// What the service does, and what it was asked.
#[derive(Default)]
pub struct Script {
    /// Answers to RunTask before it succeeds.
    pub run_refusals: Vec<Status>,
    pub run_requests: Vec<RunTaskRequest>,
    /// The Task as GetTask shows it.
    pub task: Task,
    /// One stream of log lines per call; `Err` breaks it off.
    pub logs: Vec<Vec<Result<LogLine, Status>>>,
    /// The last of these streams stays open.
    pub endless: bool,
    pub log_requests: Vec<StreamLogsRequest>,
    pub task_lists: Vec<ListTasksRequest>,
    pub cancels: usize,
    pub jobs: JobScript,
}

pub type Shared = Arc<Mutex<Script>>;

/// A running server, stopped when dropped.
pub struct Running {
    pub url: String,
    pub script: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    pub fn start(script: Script) -> Self {
        let script: Shared = Arc::new(Mutex::new(script));
        let tasks = TaskServiceServer::new(Service(Arc::clone(&script)));
        let jobs = JobServiceServer::new(Service(Arc::clone(&script)));
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel::<SocketAddr>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let services = Server::builder().add_service(tasks).add_service(jobs);
                let serving = services.serve_with_incoming(TcpListenerStream::new(listener));
                tokio::select! {
                    served = serving => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        let url = format!("http://{}", told.recv().unwrap());
        Self { url, script, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn a_task(state: TaskState) -> Task {
    Task { name: TASK.to_owned(), id: 7, display_name: "report".to_owned(), state: state.into(), ..Task::default() }
}

pub fn a_line(stream: LogStream, content: &'static [u8], next_offset: i64) -> Result<LogLine, Status> {
    Ok(LogLine {
        task: TASK.to_owned(),
        attempt: 1,
        stream: stream.into(),
        content: Bytes::from_static(content),
        next_offset,
        ..LogLine::default()
    })
}

pub struct Service(pub Shared);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl TaskService for Service {
    type WatchTasksStream = Answers<WatchTasksResponse>;
    type StreamLogsStream = Answers<StreamLogsResponse>;

    async fn run_task(&self, request: Request<RunTaskRequest>) -> Result<Response<Task>, Status> {
        let mut script = self.0.lock().unwrap();
        script.run_requests.push(request.into_inner());
        if script.run_refusals.is_empty() {
            return Ok(Response::new(a_task(TaskState::Pending)));
        }
        Err(script.run_refusals.remove(0))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<Task>, Status> {
        let script = self.0.lock().unwrap();
        if request.into_inner().name == script.task.name {
            return Ok(Response::new(script.task.clone()));
        }
        Err(Status::not_found("no such task"))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let request = request.into_inner();
        let page = request.page_token.clone();
        self.0.lock().unwrap().task_lists.push(request);
        let (id, next_page_token) = if page.is_empty() { (2, "more".to_owned()) } else { (1, String::new()) };
        let task = Task { name: format!("spaces/s/apps/shop/tasks/{id}"), id, ..a_task(TaskState::Succeeded) };
        Ok(Response::new(ListTasksResponse { tasks: vec![task], next_page_token }))
    }

    async fn cancel_task(&self, _: Request<CancelTaskRequest>) -> Result<Response<Task>, Status> {
        let mut script = self.0.lock().unwrap();
        script.cancels += 1;
        Ok(Response::new(script.task.clone()))
    }

    async fn abandon_task(&self, _: Request<AbandonTaskRequest>) -> Result<Response<Task>, Status> {
        Err(Status::failed_precondition("not stuck"))
    }

    async fn explain_task(&self, _: Request<ExplainTaskRequest>) -> Result<Response<ExplainTaskResponse>, Status> {
        Ok(Response::new(ExplainTaskResponse::default()))
    }

    async fn delete_task(&self, _: Request<DeleteTaskRequest>) -> Result<Response<()>, Status> {
        Err(Status::unimplemented("no command asks for it"))
    }

    /// One change, the cancellation, which GetTask shows from then on.
    async fn watch_tasks(&self, _: Request<WatchTasksRequest>) -> Result<Response<Self::WatchTasksStream>, Status> {
        let mut script = self.0.lock().unwrap();
        script.task.state = TaskState::Cancelled.into();
        let change = WatchTasksResponse { task: Some(script.task.clone()), ..WatchTasksResponse::default() };
        Ok(Response::new(Box::pin(stream::iter([Ok(change)]))))
    }

    async fn stream_logs(
        &self,
        request: Request<StreamLogsRequest>,
    ) -> Result<Response<Self::StreamLogsStream>, Status> {
        let mut script = self.0.lock().unwrap();
        script.log_requests.push(request.into_inner());
        let lines = if script.logs.is_empty() { Vec::new() } else { script.logs.remove(0) };
        let answers = lines.into_iter().map(|line| line.map(|line| StreamLogsResponse { lines: vec![line] }));
        let answers = stream::iter(answers.collect::<Vec<_>>());
        if script.endless && script.logs.is_empty() {
            return Ok(Response::new(Box::pin(answers.chain(stream::pending()))));
        }
        Ok(Response::new(Box::pin(answers)))
    }
}
