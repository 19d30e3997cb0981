//! A client with the words that tests use: a Space `s`, Apps of a few files, Tasks that are waited for.

use std::collections::BTreeMap;

use bytes::Bytes;
use taskplane_proto::v1::app_service_client::AppServiceClient;
use taskplane_proto::v1::event_service_client::EventServiceClient;
use taskplane_proto::v1::job_service_client::JobServiceClient;
use taskplane_proto::v1::push_app_request::Part;
use taskplane_proto::v1::security_group_service_client::SecurityGroupServiceClient;
use taskplane_proto::v1::service_instance_service_client::ServiceInstanceServiceClient;
use taskplane_proto::v1::space_service_client::SpaceServiceClient;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_proto::v1::{self as pb, TaskState};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::server::within;

pub const SPACE: &str = "spaces/s";

#[derive(Clone)]
pub struct Client {
    pub spaces: SpaceServiceClient<Channel>,
    pub apps: AppServiceClient<Channel>,
    pub tasks: TaskServiceClient<Channel>,
    pub events: EventServiceClient<Channel>,
    pub jobs: JobServiceClient<Channel>,
    pub services: ServiceInstanceServiceClient<Channel>,
    pub security_groups: SecurityGroupServiceClient<Channel>,
}

impl Client {
    pub fn new(channel: Channel) -> Self {
        Self {
            spaces: SpaceServiceClient::new(channel.clone()),
            apps: AppServiceClient::new(channel.clone()),
            tasks: TaskServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel.clone()),
            jobs: JobServiceClient::new(channel.clone()),
            services: ServiceInstanceServiceClient::new(channel.clone()),
            security_groups: SecurityGroupServiceClient::new(channel),
        }
    }

    pub async fn space(&self, id: &str) -> pb::Space {
        let request = pb::CreateSpaceRequest { space_id: id.into(), space: None };
        self.spaces.clone().create_space(request).await.unwrap().into_inner()
    }

    /// Space `s` with App `a` of these files.
    pub async fn app(&self, files: &[(&str, &str)]) -> pb::App {
        self.space("s").await;
        self.push(spec("a", archive_source()), archive(files)).await.unwrap()
    }

    pub async fn push(&self, app: pb::PushAppSpec, archive: Vec<u8>) -> Result<pb::App, Status> {
        let mut parts = vec![Part::App(app)];
        parts.extend(archive.chunks(64 * 1024).map(|chunk| Part::Chunk(Bytes::copy_from_slice(chunk))));
        let parts = tokio_stream::iter(parts.into_iter().map(|part| pb::PushAppRequest { part: Some(part) }));
        Ok(self.apps.clone().push_app(parts).await?.into_inner())
    }

    pub async fn run(&self, command: &str) -> pb::Task {
        self.run_task(task(command)).await.unwrap()
    }

    pub async fn run_task(&self, request: pb::RunTaskRequest) -> Result<pb::Task, Status> {
        Ok(self.tasks.clone().run_task(request).await?.into_inner())
    }

    pub async fn get(&self, name: &str) -> pb::Task {
        let request = pb::GetTaskRequest { name: name.into(), ..Default::default() };
        self.tasks.clone().get_task(request).await.unwrap().into_inner()
    }

    pub async fn cancel(&self, name: &str) -> pb::Task {
        let request = pb::CancelTaskRequest { name: name.into(), ..Default::default() };
        self.tasks.clone().cancel_task(request).await.unwrap().into_inner()
    }

    /// Waits until the Task is as `wanted`.
    pub async fn reaches(&self, name: &str, wanted: impl Fn(&pb::Task) -> bool) -> pb::Task {
        within(async {
            let request = pb::WatchTasksRequest { parent: name.into(), resume_token: String::new() };
            let mut watch = self.tasks.clone().watch_tasks(request).await.unwrap().into_inner();
            loop {
                let task = watch.message().await.unwrap().expect("a watch does not end").task.unwrap();
                if wanted(&task) {
                    return self.get(name).await;
                }
            }
        })
        .await
    }

    pub async fn over(&self, name: &str) -> pb::Task {
        self.reaches(name, |task| is_final(task.state())).await
    }

    pub async fn running(&self, name: &str) -> pb::Task {
        self.reaches(name, |task| task.state() == TaskState::Running).await
    }

    /// Runs a command to its end and returns what it wrote.
    pub async fn output(&self, command: &str) -> String {
        let task = self.run(command).await;
        let task = self.over(&task.name).await;
        assert_eq!(task.state(), TaskState::Succeeded, "{}", task.message);
        self.log(&task.name).await
    }

    pub async fn log(&self, name: &str) -> String {
        let lines = self.lines(pb::StreamLogsRequest { name: name.into(), ..Default::default() }).await;
        lines.iter().map(|line| String::from_utf8_lossy(&line.content).into_owned() + "\n").collect()
    }

    pub async fn lines(&self, request: pb::StreamLogsRequest) -> Vec<pb::LogLine> {
        within(async {
            let mut stream = self.tasks.clone().stream_logs(request).await.unwrap().into_inner();
            let mut lines = Vec::new();
            while let Some(response) = stream.message().await.unwrap() {
                lines.extend(response.lines);
            }
            lines
        })
        .await
    }
}

pub fn is_final(state: TaskState) -> bool {
    matches!(state, TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled)
}

pub fn task(command: &str) -> pb::RunTaskRequest {
    pb::RunTaskRequest { parent: "spaces/s/apps/a".into(), command: command.into(), ..Default::default() }
}

pub fn spec(app_id: &str, source: pb::AppSource) -> pb::PushAppSpec {
    pb::PushAppSpec { parent: SPACE.into(), app_id: app_id.into(), source: Some(source), ..Default::default() }
}

pub fn archive_source() -> pb::AppSource {
    pb::AppSource { kind: Some(pb::app_source::Kind::Archive(pb::SourceArchive::default())) }
}

pub fn image_source(image: &str) -> pb::AppSource {
    pb::AppSource { kind: Some(pb::app_source::Kind::Image(image.into())) }
}

/// A tar of these files.
pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn env(vars: &[(&str, &str)]) -> BTreeMap<String, String> {
    vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// The fields that a refused request violates; fails when it was refused for anything else.
pub fn violations(refused: Status) -> Vec<String> {
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let details = refused.get_details_bad_request().expect("a BadRequest detail");
    details.field_violations.into_iter().map(|violation| violation.field).collect()
}

/// The stable reason that an error carries.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
