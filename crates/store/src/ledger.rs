//! The ledger of Jobs' runs, read back; and trimmed.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use taskplane_domain::job::JobRun;
use taskplane_domain::name::JobName;

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::{big, job_run};
use crate::sql;

impl Store {
    /// Newest first, those before entry `before`; of the latest Job that had this name, which may be gone.
    pub async fn job_runs_list(
        &self,
        name: &JobName,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<JobRun>, StoreError> {
        let here = self.read(crate::job::found(name).one(self.db())).await?.map(|job| job.uid);
        let latest = job_run::Entity::find()
            .filter(job_run::Column::Space.eq(name.space.as_str()))
            .filter(job_run::Column::Job.eq(name.job.as_str()))
            .order_by_desc(job_run::Column::CreatedAt);
        let uid = match here {
            Some(uid) => uid,
            None => match self.read(latest.one(self.db())).await? {
                Some(run) => run.job_uid,
                None => return Err(StoreError::NotFound(name.to_string())),
            },
        };
        let found = job_run::Entity::find()
            .filter(job_run::Column::JobUid.eq(uid))
            .filter(job_run::Column::Id.lt(before.map_or(i64::MAX, big)))
            .order_by_desc(job_run::Column::Id)
            .limit(u64::from(limit));
        let rows = self.read(found.all(self.db())).await?;
        rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
    }

    /// Removes up to `limit` entries from before `before`. Says how many. What keeps a tick from being repeated stays as long
    /// as its schedule: its newest entry, and whatever its mark has not passed.
    pub async fn ledger_trim(&self, before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.write("ledger_trim", move |txn| {
            Box::pin(async move {
                let text = "DELETE FROM job_runs WHERE (job_uid, id) IN (SELECT r.job_uid, r.id FROM job_runs r \
                         WHERE r.created_at < $1 AND NOT EXISTS (SELECT 1 FROM schedules s WHERE s.uid = r.schedule_uid \
                         AND (r.tick_at >= s.mark OR NOT EXISTS (SELECT 1 FROM job_runs newer \
                         WHERE newer.schedule_uid = r.schedule_uid AND newer.tick_at > r.tick_at))) \
                         ORDER BY r.created_at LIMIT $2)";
                let done =
                    sql::execute(&txn.db, text, [before.as_microsecond().into(), i64::from(limit).into()]).await?;
                Ok(u32::try_from(done).unwrap_or(u32::MAX))
            })
        })
        .await
    }
}
