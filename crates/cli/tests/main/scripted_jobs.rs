//! A Job service that answers by script, beside the scripted Task service.

use taskplane_proto::v1::job_service_server::JobService;
use taskplane_proto::v1::{
    CreateJobRequest, CreateScheduleRequest, DeleteJobRequest, DeleteScheduleRequest, DeleteScheduleResponse,
    GetJobRequest, GetScheduleRequest, Job, JobRun, JobState, ListJobRunsRequest, ListJobRunsResponse, ListJobsRequest,
    ListJobsResponse, ListSchedulesRequest, ListSchedulesResponse, PauseJobRequest, PreviewScheduleRequest,
    PreviewScheduleResponse, PreviewedTick, ResumeJobRequest, RunJobRequest, RunOutcome, Schedule, ScheduleState, Task,
    TaskState, UpdateJobRequest, UpdateScheduleRequest,
};
use tonic::{Request, Response, Status};

use crate::scripted::{Service, TASK, a_task};

pub const JOB: &str = "spaces/s/jobs/nightly";

/// What the service does, and what it was asked.
#[derive(Default)]
pub struct JobScript {
    /// The one Job there is.
    pub job: Option<Job>,
    /// How many looks at the Job find it after its deletion was asked for.
    pub looks_until_gone: usize,
    /// CreateJob and PreviewSchedule are refused with it.
    pub refusal: Option<Status>,
    /// So many new schedules are stored although their answers are lost.
    pub lost_answers: usize,
    /// Ticks of a preview; none: the schedule never fires.
    pub ticks: usize,
    pub created: Vec<CreateJobRequest>,
    pub new_schedules: Vec<CreateScheduleRequest>,
    pub changed_schedules: Vec<UpdateScheduleRequest>,
    pub deleted_schedules: Vec<DeleteScheduleRequest>,
    pub deleted: Vec<DeleteJobRequest>,
    pub runs: Vec<RunJobRequest>,
    pub previews: Vec<PreviewScheduleRequest>,
}

pub fn a_job(schedules: &[&str]) -> Job {
    Job {
        name: JOB.to_owned(),
        uid: "u".to_owned(),
        app: "spaces/s/apps/shop".to_owned(),
        state: JobState::Active.into(),
        schedules: schedules.iter().map(|id| a_schedule(id)).collect(),
        etag: "7".to_owned(),
        ..Job::default()
    }
}

fn a_schedule(id: &str) -> Schedule {
    Schedule {
        name: format!("{JOB}/schedules/{id}"),
        uid: format!("uid-{id}"),
        cron: "0 9 * * *".to_owned(),
        state: ScheduleState::Active.into(),
        description: "at 09:00 every day (UTC)".to_owned(),
        etag: "1".to_owned(),
        ..Schedule::default()
    }
}

type Answer<T> = Result<Response<T>, Status>;

impl JobScript {
    fn job(&mut self) -> Result<&mut Job, Status> {
        self.job.as_mut().ok_or_else(|| Status::not_found(format!("{JOB} not found")))
    }

    fn schedule(&mut self, name: &str) -> Result<Schedule, Status> {
        let found = self.job()?.schedules.iter().find(|schedule| schedule.name == name).cloned();
        found.ok_or_else(|| Status::not_found(format!("{name} not found")))
    }
}

#[tonic::async_trait]
impl JobService for Service {
    async fn create_job(&self, request: Request<CreateJobRequest>) -> Answer<Job> {
        let script = &mut self.0.lock().unwrap().jobs;
        let request = request.into_inner();
        let schedules: &[&str] = if request.schedule.is_some() { &["default"] } else { &[] };
        script.created.push(request);
        script.refusal.take().map_or(Ok(Response::new(a_job(schedules))), Err)
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Answer<Job> {
        let script = &mut self.0.lock().unwrap().jobs;
        let name = request.into_inner().name;
        if name != JOB {
            return Err(Status::not_found(format!("{name} not found")));
        }
        if !script.deleted.is_empty() {
            match script.looks_until_gone.checked_sub(1) {
                Some(left) => script.looks_until_gone = left,
                None => script.job = None,
            }
        }
        script.job().map(|job| Response::new(job.clone()))
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Answer<ListJobsResponse> {
        let script = &mut self.0.lock().unwrap().jobs;
        // The second page has the Job, the first one none.
        let first = request.into_inner().page_token.is_empty();
        let jobs = script.job.iter().filter(|_| !first).cloned().collect();
        Ok(Response::new(ListJobsResponse { jobs, next_page_token: if first { "more" } else { "" }.to_owned() }))
    }

    async fn update_job(&self, _: Request<UpdateJobRequest>) -> Answer<Job> {
        Err(Status::unimplemented("no command asks for it"))
    }

    async fn delete_job(&self, request: Request<DeleteJobRequest>) -> Answer<Job> {
        let script = &mut self.0.lock().unwrap().jobs;
        script.deleted.push(request.into_inner());
        let job = script.job()?;
        job.state = JobState::Deleting.into();
        Ok(Response::new(job.clone()))
    }

    async fn run_job(&self, request: Request<RunJobRequest>) -> Answer<Task> {
        let script = &mut self.0.lock().unwrap().jobs;
        script.runs.push(request.into_inner());
        script.job()?;
        Ok(Response::new(a_task(TaskState::Pending)))
    }

    async fn pause_job(&self, request: Request<PauseJobRequest>) -> Answer<Job> {
        let script = &mut self.0.lock().unwrap().jobs;
        let job = script.job()?;
        (job.state, job.pause_note) = (JobState::Paused.into(), request.into_inner().note);
        Ok(Response::new(job.clone()))
    }

    async fn resume_job(&self, _: Request<ResumeJobRequest>) -> Answer<Job> {
        let script = &mut self.0.lock().unwrap().jobs;
        let job = script.job()?;
        job.state = JobState::Active.into();
        Ok(Response::new(job.clone()))
    }

    async fn create_schedule(&self, request: Request<CreateScheduleRequest>) -> Answer<Schedule> {
        let script = &mut self.0.lock().unwrap().jobs;
        let request = request.into_inner();
        let schedule = Schedule { cron: request.schedule.clone().unwrap().cron, ..a_schedule(&request.schedule_id) };
        script.new_schedules.push(request);
        if script.schedule(&schedule.name).is_ok() {
            return Err(Status::already_exists(format!("{} exists already", schedule.name)));
        }
        script.job()?.schedules.push(schedule.clone());
        if let Some(left) = script.lost_answers.checked_sub(1) {
            script.lost_answers = left;
            return Err(Status::unavailable("cut"));
        }
        Ok(Response::new(schedule))
    }

    async fn get_schedule(&self, request: Request<GetScheduleRequest>) -> Answer<Schedule> {
        let script = &mut self.0.lock().unwrap().jobs;
        script.schedule(&request.into_inner().name).map(Response::new)
    }

    async fn list_schedules(&self, _: Request<ListSchedulesRequest>) -> Answer<ListSchedulesResponse> {
        Err(Status::unimplemented("no command asks for it"))
    }

    async fn update_schedule(&self, request: Request<UpdateScheduleRequest>) -> Answer<Schedule> {
        let script = &mut self.0.lock().unwrap().jobs;
        let request = request.into_inner();
        let asked = request.schedule.clone().unwrap();
        script.changed_schedules.push(request);
        let mut schedule = script.schedule(&asked.name)?;
        if schedule.cron != asked.cron {
            (schedule.cron, schedule.etag) = (asked.cron, "2".to_owned());
        }
        Ok(Response::new(schedule))
    }

    async fn delete_schedule(&self, request: Request<DeleteScheduleRequest>) -> Answer<DeleteScheduleResponse> {
        let script = &mut self.0.lock().unwrap().jobs;
        script.deleted_schedules.push(request.into_inner());
        Ok(Response::new(DeleteScheduleResponse {}))
    }

    async fn preview_schedule(&self, request: Request<PreviewScheduleRequest>) -> Answer<PreviewScheduleResponse> {
        let script = &mut self.0.lock().unwrap().jobs;
        script.previews.push(request.into_inner());
        if let Some(refusal) = script.refusal.take() {
            return Err(refusal);
        }
        let tick = |minute: i64| PreviewedTick {
            time: Some(prost_types::Timestamp { seconds: minute * 60, nanos: 0 }),
            local_time: "local".to_owned(),
            remark: "remark".to_owned(),
        };
        let state = if script.ticks == 0 { ScheduleState::Never } else { ScheduleState::Active };
        Ok(Response::new(PreviewScheduleResponse {
            ticks: (1..).map(tick).take(script.ticks).collect(),
            description: "in words".to_owned(),
            state: state.into(),
            tzdb_release: "2026a".to_owned(),
        }))
    }

    /// Two pages of one entry each.
    async fn list_job_runs(&self, request: Request<ListJobRunsRequest>) -> Answer<ListJobRunsResponse> {
        let first = request.into_inner().page_token.is_empty();
        let run = JobRun {
            name: format!("{JOB}/runs/{}", if first { 2 } else { 1 }),
            outcome: RunOutcome::Started.into(),
            task: TASK.to_owned(),
            ..JobRun::default()
        };
        let next_page_token = if first { "more" } else { "" }.to_owned();
        Ok(Response::new(ListJobRunsResponse { runs: vec![run], next_page_token }))
    }
}
