//! Ticks that are due and held, for whoever looks at a Job.

use taskplane_domain::job::HeldTick;
use taskplane_domain::name::SpaceName;
use taskplane_proto::convert::{held_tick_to_pb, job_to_pb};
use taskplane_proto::v1 as pb;
use taskplane_store::JobView;

use crate::Api;
use crate::error::ApiError;

impl Api {
    /// Jobs of one Space, each schedule with what is held of it.
    pub(crate) async fn with_held(&self, views: &[JobView]) -> Result<Vec<pb::Job>, ApiError> {
        let mut jobs: Vec<pb::Job> =
            views.iter().map(|JobView { job, schedules, live }| job_to_pb(job, schedules, *live)).collect();
        let now = self.platform.store.now().await?;
        let held = |view: &JobView| -> Vec<Option<HeldTick>> {
            view.schedules.iter().map(|schedule| schedule.held(&view.job, now)).collect()
        };
        let held: Vec<Vec<Option<HeldTick>>> = views.iter().map(held).collect();
        let Some(some) = views.first().filter(|_| held.iter().flatten().any(Option::is_some)) else { return Ok(jobs) };
        let why = self.why_held(SpaceName(some.job.name.space.clone())).await?;
        for (job, held) in jobs.iter_mut().zip(held) {
            for (schedule, held) in job.schedules.iter_mut().zip(held) {
                schedule.held_tick = held.map(|held| held_tick_to_pb(held, &why));
            }
        }
        Ok(jobs)
    }

    pub(crate) async fn one_with_held(&self, view: &JobView) -> Result<pb::Job, ApiError> {
        Ok(self.with_held(std::slice::from_ref(view)).await?.pop().unwrap_or_default())
    }

    async fn why_held(&self, space: SpaceName) -> Result<String, ApiError> {
        let space = self.platform.store.space_get(&space).await?;
        let quota = space.settings.quota.waiting;
        let waiting = self.platform.store.space_usage(space.uid).await?.waiting;
        Ok(match waiting {
            1 if quota <= 1 => {
                "1 Task of its Space waits, and the Space's quota of waiting Tasks allows no more".to_owned()
            }
            waiting if waiting >= u64::from(quota) => {
                format!("{waiting} Tasks of its Space wait, and the Space's quota of waiting Tasks allows no more")
            }
            _ => "its Space had no room for another waiting Task when it was looked at last".to_owned(),
        })
    }
}
