//! What is on its way out: it takes nothing in, and says what is left of it.

use std::time::Duration;

use taskplane_domain::app::App;
use taskplane_domain::job::{Job, JobState};
use taskplane_domain::name::TaskName;
use taskplane_domain::retention::Cause;
use taskplane_domain::space::Space;
use taskplane_domain::standing::Standing;
use taskplane_proto::v1 as pb;
use taskplane_store::{Remains, RemovalOf, StoreError};

use crate::Api;
use crate::error::ApiError;
use crate::tasks::TRIES;

/// Refuses what is new where the Space or the App is on its way out.
pub(crate) fn takes_in(space: &Space, app: Option<&App>) -> Result<(), ApiError> {
    if space.standing == Standing::Deleting {
        return Err(StoreError::SpaceDeleting(space.name.clone()).into());
    }
    match app {
        Some(app) if app.standing == Standing::Deleting => Err(StoreError::AppDeleting(app.name.clone()).into()),
        Some(_) | None => Ok(()),
    }
}

impl Api {
    pub(crate) async fn with_space_remains(&self, space: &Space) -> Result<pb::Space, ApiError> {
        let remains = match space.standing {
            Standing::Active => None,
            Standing::Deleting => Some(self.platform.store.space_remains(space.uid).await?),
        };
        Ok(pb::Space { remains: remains.map(to_pb), ..space.into() })
    }

    pub(crate) async fn with_app_remains(&self, app: &App) -> Result<pb::App, ApiError> {
        let remains = match app.standing {
            Standing::Active => None,
            Standing::Deleting => Some(self.platform.store.app_remains(app.uid).await?),
        };
        Ok(pb::App { remains: remains.map(to_pb), ..app.into() })
    }

    pub(crate) async fn job_remains(&self, job: &Job) -> Result<Option<pb::Remains>, ApiError> {
        match job.state {
            JobState::Active | JobState::Paused { .. } => Ok(None),
            JobState::Deleting { .. } => Ok(Some(to_pb(self.platform.store.job_remains(job.uid).await?))),
        }
    }

    pub(crate) async fn task_delete(&self, name: &TaskName, force: bool) -> Result<(), ApiError> {
        let store = &self.platform.store;
        for _ in 0..TRIES {
            let task = store.task_get(name).await?;
            if task.state.kind().is_final() {
                // Marked already is no error; one that is over stays so.
                if store.removal_mark(RemovalOf::Task(task.uid), Cause::Deleted, 1).await? > 0 {
                    self.platform.feed.removals();
                }
                return Ok(());
            }
            if !force {
                return Err(ApiError::TaskLive(name.to_string()));
            }
            let uid = task.uid;
            let step = task.cancel_within(Some(Duration::ZERO), self.platform.clock.now());
            match store.task_delete(uid, step.as_ref()).await {
                Err(StoreError::Conflict(_)) => {}
                done => return Ok(done?),
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }
}

fn to_pb(Remains { apps, jobs, live_tasks, tasks }: Remains) -> pb::Remains {
    pb::Remains {
        apps: apps.cast_signed(),
        jobs: jobs.cast_signed(),
        live_tasks: live_tasks.cast_signed(),
        tasks: tasks.cast_signed(),
    }
}
