//! Changes of Jobs: decided by the domain on what is so, stored if it still is, else decided anew.

use jiff::Timestamp;
use taskplane_domain::Invalid;
use taskplane_domain::app::Source;
use taskplane_domain::job::{Deleting, JobChange, Plan, RunJob, RunRefused, Schedule, run_now};
use taskplane_domain::name::{AppName, JobName, Name, ScheduleName};
use taskplane_domain::task::Task;
use taskplane_domain::uid::{ScheduleUid, TaskUid};
use taskplane_proto::convert::etag_matches;
use taskplane_store::{JobView, RequestKey, StoreError};

use crate::Api;
use crate::error::ApiError;
use crate::leaving::takes_in;
use crate::tasks::{TRIES, cluster};

/// Live Tasks that the deletion of a Job asks in its own transaction.
const ENDED_AT_ONCE: usize = 100;

impl Api {
    /// The Job after the change that `decide` wants, or as it is when it wants none.
    pub(crate) async fn job_change<F>(&self, name: &JobName, decide: F) -> Result<JobView, ApiError>
    where
        F: Fn(JobView, Timestamp) -> Result<Option<JobChange>, ApiError>,
    {
        let store = &self.platform.store;
        for _ in 0..TRIES {
            let view = store.job_get(name).await?;
            // By the database's clock: it is the one that says what is due.
            let Some(change) = decide(view.clone(), store.now().await?)? else { return Ok(view) };
            match store.job_commit(change, None).await {
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    self.platform.feed.ring();
                    return Ok(store.job_get(name).await?);
                }
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }

    pub(crate) async fn job_delete(
        &self,
        name: &JobName,
        etag: &str,
        grace: std::time::Duration,
    ) -> Result<JobView, ApiError> {
        let store = &self.platform.store;
        for _ in 0..TRIES {
            let view = store.job_get(name).await?;
            // The first of them here and now; the reaper asks the others, however many there are.
            let live = store.job_scene(name, cluster()?).await?.live.into_iter().take(ENDED_AT_ONCE).collect();
            let Some(change) = view.job.clone().delete(&view.schedules, live, grace, store.now().await?) else {
                return Ok(view);
            };
            required(etag)?;
            matches(etag, view.job.version, name)?;
            match store.job_commit(change, None).await {
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(committed) => {
                    self.platform.feed.ring();
                    return Ok(JobView { job: committed.job, schedules: Vec::new(), live: view.live });
                }
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }

    /// Runs a Job now.
    pub(crate) async fn job_run(
        &self,
        name: &JobName,
        asked: RunJob,
        hash: [u8; 32],
        trace: Option<String>,
    ) -> Result<Task, ApiError> {
        let store = &self.platform.store;
        for _ in 0..TRIES {
            let scene = store.job_scene(name, cluster()?).await?;
            takes_in(&scene.space, Some(&scene.app))?;
            if let Source::Image(_) = scene.app.spec.source {
                self.can_be_run(&scene.app).await?;
            }
            let key =
                asked.request_id.clone().map(|key| RequestKey { principal: self.principal().to_owned(), key, hash });
            let uid = match &key {
                // Apart from keys of RunTask, which are another call's.
                Some(key) => TaskUid::requested(scene.space.uid, &key.principal, &format!("run-job\0{}", key.key)),
                None => TaskUid(self.platform.clock.new_uid()),
            };
            let change = run_now(scene, uid, asked.clone(), trace.clone(), store.now().await?)?;
            match store.job_commit(change, key).await {
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
                Ok(committed) => {
                    self.platform.feed.ring();
                    return committed.task.ok_or_else(|| StoreError::NotFound(name.to_string()).into());
                }
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }

    pub(crate) async fn schedule_add(
        &self,
        name: &JobName,
        id: Option<Name>,
        plan: Plan,
        suspended: bool,
    ) -> Result<(JobView, ScheduleName), ApiError> {
        let uid = ScheduleUid(self.platform.clock.new_uid());
        let text = uid.0.simple().to_string();
        let made_up = || format!("s-{}", &text[text.len() - 8..]).parse();
        let id = id.map_or_else(made_up, Ok).map_err(|error| Invalid::one("schedule_id", error.to_string()))?;
        let schedule = name.schedule(id.clone());
        let view = self
            .job_change(name, |view, now| {
                if view.schedules.iter().any(|known| known.name == schedule) {
                    return Err(StoreError::AlreadyExists(schedule.to_string()).into());
                }
                if view.schedules.len() >= SCHEDULES_MAX {
                    return Err(ApiError::TooManySchedules(view.job.name.to_string(), SCHEDULES_MAX));
                }
                Ok(Some(view.job.schedule(uid, id.clone(), plan.clone(), suspended, now)?))
            })
            .await?;
        Ok((view, schedule))
    }
}

/// Schedules of one Job.
const SCHEDULES_MAX: usize = 50;

/// One of a Job's schedules, its etag checked when one was sent.
pub(crate) fn find<'a>(view: &'a JobView, name: &ScheduleName, etag: &str) -> Result<&'a Schedule, ApiError> {
    let schedule = view.schedules.iter().find(|schedule| schedule.name == *name);
    let schedule = schedule.ok_or_else(|| StoreError::NotFound(name.to_string()))?;
    matches(etag, schedule.version, name)?;
    Ok(schedule)
}

pub(crate) fn matches(etag: &str, version: u64, name: impl ToString) -> Result<(), ApiError> {
    if etag_matches(etag, version) { Ok(()) } else { Err(ApiError::EtagMismatch(name.to_string())) }
}

pub(crate) fn required(etag: &str) -> Result<(), ApiError> {
    if etag.is_empty() {
        return Err(Invalid::one("etag", "is required: read it first, and send its etag").into());
    }
    Ok(())
}

/// The App that a new Job is to run.
pub(crate) fn app_of(text: &str, space: &Name) -> Result<AppName, Invalid> {
    let app: AppName =
        text.parse().map_err(|error: taskplane_domain::name::NameError| Invalid::one("job.app", error.to_string()))?;
    if app.space == *space { Ok(app) } else { Err(Invalid::one("job.app", "must be an App of the same Space")) }
}

impl From<Deleting> for ApiError {
    fn from(deleting: Deleting) -> Self {
        Self::JobDeleting(deleting.to_string())
    }
}

impl From<RunRefused> for ApiError {
    fn from(refused: RunRefused) -> Self {
        match refused {
            RunRefused::Deleting(deleting) => deleting.into(),
            RunRefused::Invalid(invalid) => invalid.into(),
        }
    }
}
