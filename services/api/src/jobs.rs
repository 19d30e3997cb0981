//! JobService.

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use taskplane_domain::invalid::{Check, Invalid};
use taskplane_domain::job::{Job, JobState, TaskTemplate};
use taskplane_domain::name::{JobName, Name, NameError, ScheduleName, SpaceName};
use taskplane_domain::quantity::Resources;
use taskplane_domain::schedule::{LATEST, tzdb_release};
use taskplane_domain::uid::{JobUid, ScheduleUid};
use taskplane_proto::convert::{
    grace_from_pb, job_asked, job_run_to_pb, job_template_masked, job_to_pb, previewed_to_pb, run_job_from_pb,
    schedule_asked, schedule_masked, schedule_to_pb, task_to_pb, timestamp_from_pb,
};
use taskplane_proto::v1 as pb;
use taskplane_proto::v1::job_service_server::JobService;
use taskplane_runtime::telemetry;
use taskplane_store::JobView;
use tonic::{Request, Response, Status};

use crate::Api;
use crate::error::ApiError;
use crate::job_changes::{app_of, find, matches, required};
use crate::leaving::takes_in;
use crate::tokens::{cut, page_size};

const PREVIEW_DEFAULT: usize = 10;
const PREVIEW_MAX: usize = 1000;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl JobService for Api {
    async fn create_job(&self, request: Request<pb::CreateJobRequest>) -> Answer<pb::Job> {
        let pb::CreateJobRequest { parent, job_id, job, schedule } = request.into_inner();
        let asked = job.unwrap_or_default();
        let mut check = Check::new();
        let space = check.field("parent", parent.parse::<SpaceName>());
        let id = check.field("job_id", job_id.parse::<Name>());
        let app = space.as_ref().and_then(|space| check.all(app_of(&asked.app, &space.0)));
        let template = check.all(job_asked(asked));
        let plan = schedule.map(|schedule| check.all(schedule_asked("schedule.", &schedule)));
        let parts = space.zip(id).zip(app).zip(template);
        let (((space, job), app), (template, policy)) = check.finish_with(parts).map_err(ApiError::from)?;
        let (store, clock) = (&self.platform.store, &self.platform.clock);
        self.within_bounds(&space, &template).await?;
        takes_in(&store.space_get(&space).await.map_err(ApiError::from)?, None)?;
        let app = store.app_get(&app).await.map_err(ApiError::from)?;
        let now = store.now().await.map_err(ApiError::from)?;
        let name = JobName { space: space.0, job };
        let mut change = Job::create((JobUid(clock.new_uid()), name.clone()), &app, template, policy, now);
        if let Some((plan, suspended)) = plan.flatten() {
            let id = "default"
                .parse()
                .map_err(|error: NameError| ApiError::from(Invalid::one("schedule", error.to_string())))?;
            change = change.scheduled(ScheduleUid(clock.new_uid()), id, plan, suspended);
        }
        store.job_create(change).await.map_err(ApiError::from)?;
        self.platform.feed.ring();
        Ok(answer(&store.job_get(&name).await.map_err(ApiError::from)?))
    }

    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Answer<pb::Job> {
        let name = job_name("name", &request.into_inner().name)?;
        let view = self.platform.store.job_get(&name).await.map_err(ApiError::from)?;
        let remains = self.job_remains(&view.job).await?;
        Ok(Response::new(pb::Job { remains, ..self.one_with_held(&view).await? }))
    }

    async fn list_jobs(&self, request: Request<pb::ListJobsRequest>) -> Answer<pb::ListJobsResponse> {
        let pb::ListJobsRequest { parent, page_size: asked, page_token } = request.into_inner();
        let question = format!("{}/jobs/{parent}", self.principal());
        let mut check = Check::new();
        let space = check.field("parent", parent.parse::<SpaceName>());
        let size = check.all(page_size(asked));
        let after = check.all(self.tokens.open_page(&question, &page_token)).flatten();
        let (space, size) = check.finish_with(space.zip(size)).map_err(ApiError::from)?;
        let after = after.as_deref().and_then(|name| name.parse::<Name>().ok());
        self.platform.store.space_get(&space).await.map_err(ApiError::from)?;
        let jobs = self.platform.store.job_list(&space, after.as_ref(), size + 1).await.map_err(ApiError::from)?;
        let (jobs, more) = cut(jobs, size);
        let last = jobs.last().filter(|_| more);
        let next_page_token =
            last.map(|view| self.tokens.page(&question, view.job.name.job.as_str())).unwrap_or_default();
        Ok(Response::new(pb::ListJobsResponse { jobs: self.with_held(&jobs).await?, next_page_token }))
    }

    async fn update_job(&self, request: Request<pb::UpdateJobRequest>) -> Answer<pb::Job> {
        let pb::UpdateJobRequest { job, update_mask } = request.into_inner();
        let asked = job.unwrap_or_default();
        let (name, etag) = (job_name("job.name", &asked.name)?, asked.etag.clone());
        required(&etag)?;
        let asked = job_asked(asked).map_err(ApiError::from)?;
        self.within_bounds(&SpaceName(name.space.clone()), &asked.0).await?;
        let change = |view: JobView, now| {
            matches(&etag, view.job.version, &name)?;
            let (template, policy) = job_template_masked(&view.job, asked.clone(), update_mask.as_ref())?;
            Ok(view.job.update(template, policy, now)?)
        };
        Ok(answer(&self.job_change(&name, change).await?))
    }

    async fn delete_job(&self, request: Request<pb::DeleteJobRequest>) -> Answer<pb::Job> {
        let pb::DeleteJobRequest { name, etag, grace } = request.into_inner();
        let name = job_name("name", &name)?;
        let grace = grace_from_pb("grace", grace).map_err(ApiError::from)?.unwrap_or_default();
        Ok(answer(&self.job_delete(&name, &etag, grace).await?))
    }

    async fn run_job(&self, request: Request<pb::RunJobRequest>) -> Answer<pb::Task> {
        let trace = telemetry::traceparent(request.metadata());
        let request = request.into_inner();
        let name = job_name("name", &request.name)?;
        let body = pb::RunJobRequest { request_id: String::new(), ..request.clone() };
        let asked = run_job_from_pb(request).map_err(ApiError::from)?;
        self.limits.run_task(&name.space)?;
        let task = self.job_run(&name, asked, Sha256::digest(body.encode_to_vec()).into(), trace).await?;
        Ok(Response::new(task_to_pb(&task, Some(&[]))))
    }

    async fn pause_job(&self, request: Request<pb::PauseJobRequest>) -> Answer<pb::Job> {
        let pb::PauseJobRequest { name, note, etag } = request.into_inner();
        let name = job_name("name", &name)?;
        let paused = JobState::paused(note).map_err(ApiError::from)?;
        let change = |view: JobView, now| {
            matches(&etag, view.job.version, &name)?;
            Ok(view.job.pause(paused.clone(), view.schedules, now)?)
        };
        Ok(answer(&self.job_change(&name, change).await?))
    }

    async fn resume_job(&self, request: Request<pb::ResumeJobRequest>) -> Answer<pb::Job> {
        let pb::ResumeJobRequest { name, etag } = request.into_inner();
        let name = job_name("name", &name)?;
        let change = |view: JobView, now| {
            matches(&etag, view.job.version, &name)?;
            Ok(view.job.resume(view.schedules, now)?)
        };
        Ok(answer(&self.job_change(&name, change).await?))
    }

    async fn create_schedule(&self, request: Request<pb::CreateScheduleRequest>) -> Answer<pb::Schedule> {
        let pb::CreateScheduleRequest { parent, schedule_id, schedule } = request.into_inner();
        let mut check = Check::new();
        let job = check.field("parent", parent.parse::<JobName>());
        let id = if schedule_id.is_empty() { None } else { check.field("schedule_id", schedule_id.parse::<Name>()) };
        let plan = check.all(schedule_asked("schedule.", &schedule.unwrap_or_default()));
        let (job, (plan, suspended)) = check.finish_with(job.zip(plan)).map_err(ApiError::from)?;
        let (view, name) = self.schedule_add(&job, id, plan, suspended).await?;
        Ok(schedule_answer(&view, &name)?)
    }

    async fn get_schedule(&self, request: Request<pb::GetScheduleRequest>) -> Answer<pb::Schedule> {
        let name = schedule_name("name", &request.into_inner().name)?;
        let view = self.platform.store.job_get(&name.job_name()).await.map_err(ApiError::from)?;
        find(&view, &name, "")?;
        let schedules = self.one_with_held(&view).await?.schedules;
        let found = schedules.into_iter().find(|schedule| schedule.name == name.to_string());
        Ok(Response::new(found.unwrap_or_default()))
    }

    async fn list_schedules(&self, request: Request<pb::ListSchedulesRequest>) -> Answer<pb::ListSchedulesResponse> {
        let pb::ListSchedulesRequest { parent, page_size: asked, page_token } = request.into_inner();
        let question = format!("{}/schedules/{parent}", self.principal());
        let mut check = Check::new();
        let size = check.all(page_size(asked));
        let after = check.all(self.tokens.open_page(&question, &page_token)).flatten();
        let whole = parent.strip_suffix("/jobs/-").map(|space| check.field("parent", space.parse::<SpaceName>()));
        let job = if whole.is_some() { None } else { check.field("parent", parent.parse::<JobName>()) };
        let size = check.finish_with(size).map_err(ApiError::from)?;
        let views = self.jobs_behind(whole.flatten(), job, after, size).await?;
        let (views, more) = cut(views, size);
        let last = views.last().filter(|_| more);
        let next_page_token =
            last.map(|view| self.tokens.page(&question, view.job.name.job.as_str())).unwrap_or_default();
        let jobs = self.with_held(&views).await?;
        let schedules = jobs.into_iter().flat_map(|job| job.schedules).collect();
        Ok(Response::new(pb::ListSchedulesResponse { schedules, next_page_token }))
    }

    async fn update_schedule(&self, request: Request<pb::UpdateScheduleRequest>) -> Answer<pb::Schedule> {
        let pb::UpdateScheduleRequest { schedule, update_mask } = request.into_inner();
        let asked = schedule.unwrap_or_default();
        let name = schedule_name("schedule.name", &asked.name)?;
        required(&asked.etag)?;
        let change = |view: JobView, now| {
            let schedule = find(&view, &name, &asked.etag)?.clone();
            let (plan, suspended) = schedule_masked(&schedule, &asked, update_mask.as_ref())?;
            Ok(view.job.reschedule(schedule, plan, suspended, now)?)
        };
        let view = self.job_change(&name.job_name(), change).await?;
        Ok(schedule_answer(&view, &name)?)
    }

    async fn delete_schedule(&self, request: Request<pb::DeleteScheduleRequest>) -> Answer<pb::DeleteScheduleResponse> {
        let pb::DeleteScheduleRequest { name, etag } = request.into_inner();
        let name = schedule_name("name", &name)?;
        required(&etag)?;
        let change = |view: JobView, now| {
            let uid = find(&view, &name, &etag)?.uid;
            Ok(Some(view.job.unschedule(uid, now)?))
        };
        self.job_change(&name.job_name(), change).await?;
        Ok(Response::new(pb::DeleteScheduleResponse {}))
    }

    async fn preview_schedule(
        &self,
        request: Request<pb::PreviewScheduleRequest>,
    ) -> Answer<pb::PreviewScheduleResponse> {
        let now = self.platform.store.now().await.map_err(ApiError::from)?;
        Ok(Response::new(preview(request.into_inner(), now).map_err(ApiError::from)?))
    }

    async fn list_job_runs(&self, request: Request<pb::ListJobRunsRequest>) -> Answer<pb::ListJobRunsResponse> {
        let pb::ListJobRunsRequest { parent, page_size: asked, page_token } = request.into_inner();
        let question = format!("{}/job-runs/{parent}", self.principal());
        let mut check = Check::new();
        let job = check.field("parent", parent.parse::<JobName>());
        let size = check.all(page_size(asked));
        let before = check.all(self.tokens.open_page(&question, &page_token)).flatten();
        let (job, size) = check.finish_with(job.zip(size)).map_err(ApiError::from)?;
        let before = before.as_deref().and_then(|mark| mark.parse().ok());
        let runs = self.platform.store.job_runs_list(&job, before, size + 1).await.map_err(ApiError::from)?;
        let (runs, more) = cut(runs, size);
        let last = runs.last().filter(|_| more);
        let next_page_token = last.map(|run| self.tokens.page(&question, &run.id.to_string())).unwrap_or_default();
        Ok(Response::new(pb::ListJobRunsResponse { runs: runs.iter().map(job_run_to_pb).collect(), next_page_token }))
    }
}

impl Api {
    /// Whether a Job's own amounts lie within those of its Space. What they become for a Task is asked when there is one.
    async fn within_bounds(&self, space: &SpaceName, template: &TaskTemplate) -> Result<(), ApiError> {
        if template.resources == Resources::default() {
            return Ok(());
        }
        let rules = self.platform.store.space_get(space).await?.settings.resources;
        Ok(rules.check_said("job.template.resources", &template.resources)?)
    }

    /// One Job, or a Space's Jobs behind the one named `after`: a page of schedules is a page of Jobs.
    async fn jobs_behind(
        &self,
        space: Option<SpaceName>,
        job: Option<JobName>,
        after: Option<String>,
        size: u32,
    ) -> Result<Vec<JobView>, ApiError> {
        let store = &self.platform.store;
        match (space, job) {
            (_, Some(job)) => Ok(vec![store.job_get(&job).await?]),
            (Some(space), None) => {
                store.space_get(&space).await?;
                let after = after.as_deref().and_then(|name| name.parse::<Name>().ok());
                Ok(store.job_list(&space, after.as_ref(), size + 1).await?)
            }
            (None, None) => {
                Err(Invalid::one("parent", "must be spaces/{space}/jobs/{job}, or spaces/{space}/jobs/- for all Jobs")
                    .into())
            }
        }
    }
}

fn preview(request: pb::PreviewScheduleRequest, now: jiff::Timestamp) -> Result<pb::PreviewScheduleResponse, Invalid> {
    let pb::PreviewScheduleRequest { schedule, count, start_time, end_time } = request;
    let mut check = Check::new();
    let plan = check.all(schedule_asked("schedule.", &schedule.unwrap_or_default()));
    let count = match usize::try_from(count) {
        Ok(0) => Some(PREVIEW_DEFAULT),
        Ok(count) if count <= PREVIEW_MAX => Some(count),
        _ => {
            check.refuse("count", format!("must be between 1 and {PREVIEW_MAX}, or 0 for {PREVIEW_DEFAULT}"));
            None
        }
    };
    let mut time = |field: &str, time: Option<prost_types::Timestamp>, unset| match time.as_ref().map(timestamp_from_pb)
    {
        None => unset,
        Some(Some(time)) => time,
        Some(None) => {
            check.refuse(field, "must be a time between the years 1 and 9999");
            unset
        }
    };
    let (start, end) = (time("start_time", start_time, now), time("end_time", end_time, LATEST));
    let ((plan, suspended), count) = check.finish_with(plan.zip(count))?;
    let recurrence = &plan.recurrence;
    let state = match (recurrence.cron.is_never(), suspended) {
        (true, _) => pb::ScheduleState::Never,
        (false, true) => pb::ScheduleState::Suspended,
        (false, false) => pb::ScheduleState::Active,
    };
    Ok(pb::PreviewScheduleResponse {
        ticks: recurrence
            .between(start, end, count)
            .iter()
            .map(|tick| previewed_to_pb(tick, &recurrence.zone))
            .collect(),
        description: recurrence.describe(),
        state: state as i32,
        tzdb_release: tzdb_release().to_owned(),
    })
}

fn answer(view: &JobView) -> Response<pb::Job> {
    Response::new(job_to_pb(&view.job, &view.schedules, view.live))
}

fn schedule_answer(view: &JobView, name: &ScheduleName) -> Result<Response<pb::Schedule>, ApiError> {
    Ok(Response::new(schedule_to_pb(find(view, name, "")?, view.job.state.fires())))
}

fn job_name(field: &str, text: &str) -> Result<JobName, ApiError> {
    text.parse().map_err(|error: NameError| Invalid::one(field, error.to_string()).into())
}

fn schedule_name(field: &str, text: &str) -> Result<ScheduleName, ApiError> {
    text.parse().map_err(|error: NameError| Invalid::one(field, error.to_string()).into())
}
