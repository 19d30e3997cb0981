//! What is left of what is on its way out, for those who wait for it.

use sea_orm::FromQueryResult;
use taskplane_domain::uid::{AppUid, JobUid, SpaceUid};

use crate::connect::Store;
use crate::error::StoreError;
use crate::row::Row;
use crate::sql;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remains {
    pub apps: u64,
    pub jobs: u64,
    pub live_tasks: u64,
    /// The live ones too.
    pub tasks: u64,
}

#[derive(FromQueryResult)]
struct Counted {
    apps: i64,
    jobs: i64,
    live_tasks: i64,
    tasks: i64,
}

impl Store {
    pub async fn space_remains(&self, space: SpaceUid) -> Result<Remains, StoreError> {
        const TEXT: &str = "SELECT (SELECT count(*) FROM apps a WHERE a.space = s.name) AS apps, \
                 (SELECT count(*) FROM jobs j WHERE j.space = s.name) AS jobs, \
                 (SELECT count(*) FROM tasks t JOIN apps a ON a.uid = t.app_uid WHERE a.space = s.name \
                     AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')) AS live_tasks, \
                 (SELECT count(*) FROM tasks t WHERE t.space = s.name) AS tasks FROM spaces s WHERE s.uid = $1";
        self.remains(TEXT, space.0).await
    }

    pub async fn app_remains(&self, app: AppUid) -> Result<Remains, StoreError> {
        const TEXT: &str = "SELECT CAST(0 AS bigint) AS apps, \
                 (SELECT count(*) FROM jobs j WHERE j.app_uid = $1) AS jobs, \
                 (SELECT count(*) FROM tasks t WHERE t.app_uid = $1 \
                     AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')) AS live_tasks, \
                 (SELECT count(*) FROM tasks t WHERE t.app_uid = $1) AS tasks";
        self.remains(TEXT, app.0).await
    }

    pub async fn job_remains(&self, job: JobUid) -> Result<Remains, StoreError> {
        const TEXT: &str = "SELECT CAST(0 AS bigint) AS apps, CAST(0 AS bigint) AS jobs, \
                 (SELECT count(*) FROM tasks t WHERE t.job_uid = $1 \
                     AND t.state IN ('PENDING', 'STARTING', 'RUNNING', 'CANCELLING')) AS live_tasks, \
                 (SELECT count(*) FROM tasks t WHERE t.job_uid = $1) AS tasks";
        self.remains(TEXT, job.0).await
    }

    /// Nothing, of what is gone.
    async fn remains(&self, text: &'static str, uid: uuid::Uuid) -> Result<Remains, StoreError> {
        let counted: Option<Counted> = self.read(sql::one(self.db(), text, [uid.into()])).await?;
        let Some(Counted { apps, jobs, live_tasks, tasks }) = counted else { return Ok(Remains::default()) };
        let row = Row::new("tasks", uid);
        Ok(Remains {
            apps: row.count("apps", apps)?,
            jobs: row.count("jobs", jobs)?,
            live_tasks: row.count("live_tasks", live_tasks)?,
            tasks: row.count("tasks", tasks)?,
        })
    }
}
