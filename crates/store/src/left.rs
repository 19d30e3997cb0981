//! What is left of runs: from the report that one was made until an executor says that nothing of it is there any more. A
//! Task's row goes only then.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SubQueryStatement};
use sea_orm::{FromQueryResult, Set, UpdateMany};
use taskplane_domain::run::RunKey;
use taskplane_domain::task::Transition;
use taskplane_domain::uid::{Fence, RunUid, SessionUid, TaskUid};

use crate::connect::Store;
use crate::error::{Corrupt, StoreError};
use crate::row::{Row, session, task};
use crate::sql;

/// An executor that has been away for so long does not come back to what it ran: that is dead with it.
const FORSAKEN: SignedDuration = SignedDuration::from_hours(1);

/// A run whose Task is to be removed, and that its executor has yet to confirm gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftRun {
    pub key: RunKey,
    pub run: RunUid,
    pub fence: Fence,
}

#[derive(FromQueryResult)]
struct LeftRow {
    uid: Uuid,
    left_attempt: Option<i64>,
    left_run: Option<String>,
    fence: i64,
}

impl TryFrom<LeftRow> for LeftRun {
    type Error = Corrupt;

    fn try_from(LeftRow { uid, left_attempt, left_run, fence }: LeftRow) -> Result<Self, Corrupt> {
        let row = Row::new("tasks", uid);
        let attempt = row.count("left_attempt", row.needed("left_attempt", left_attempt)?)?;
        Ok(Self {
            key: RunKey { task: TaskUid(uid), attempt },
            run: RunUid(row.needed("left_run", left_run)?),
            fence: Fence(row.count("fence", fence)?),
        })
    }
}

/// A report about a run says that there is one, and with whom.
pub(crate) fn noted(
    update: UpdateMany<task::Entity>,
    step: &Transition,
    session: SessionUid,
) -> UpdateMany<task::Entity> {
    let attempt = step.ended().cloned().or_else(|| step.task().present_attempt());
    let Some((number, RunUid(run))) = attempt.and_then(|attempt| Some((attempt.number, attempt.run?))) else {
        return update;
    };
    let executor = Query::select()
        .column(session::Column::Executor)
        .from(session::Entity)
        .and_where(session::Column::Uid.eq(session.0))
        .to_owned();
    let cells = task::ActiveModel {
        run_left: Set(true),
        left_run: Set(Some(run)),
        left_attempt: Set(Some(number.into())),
        ..Default::default()
    };
    let executor = Expr::SubQuery(None, Box::new(SubQueryStatement::SelectStatement(executor)));
    update.set(cells).col_expr(task::Column::Executor, executor)
}

impl Store {
    /// Nothing is left of these runs, as a session of their executor says. What is not so of a Task any more (another run was
    /// made meanwhile, or the Task is gone) changes nothing. `NotFound`: there is no such session.
    pub async fn runs_removed(&self, session: SessionUid, runs: &[(TaskUid, RunUid)]) -> Result<(), StoreError> {
        if runs.is_empty() {
            return Ok(());
        }
        let runs: Arc<[(TaskUid, RunUid)]> = runs.into();
        self.write("runs_removed", move |txn| {
            let runs = Arc::clone(&runs);
            Box::pin(async move {
                let known = session::Entity::find_by_id(session.0).one(&txn.db).await?;
                let known = known.ok_or_else(|| StoreError::NotFound(format!("session {session}")))?;
                let nothing = task::ActiveModel {
                    run_left: Set(false),
                    left_run: Set(None),
                    left_attempt: Set(None),
                    ..Default::default()
                };
                for some in runs.chunks(200) {
                    let pairs = some.iter().map(|(task, RunUid(run))| (task.0, run.clone()));
                    let here = Expr::tuple([Expr::col(task::Column::Uid), Expr::col(task::Column::LeftRun)]);
                    let mut update = task::Entity::update_many().set(nothing.clone()).filter(here.in_tuples(pairs));
                    update = match known.adoptable {
                        true => update.filter(task::Column::Cluster.eq(&known.cluster)),
                        false => update.filter(task::Column::Executor.eq(&known.executor)),
                    };
                    update.exec(&txn.db).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// What the session is to confirm gone: runs of its own executor, or of its whole cluster when they can be taken over.
    /// The oldest marks first.
    pub async fn work_removals(&self, session: SessionUid, limit: u32) -> Result<Vec<LeftRun>, StoreError> {
        let text = "SELECT uid, left_attempt, left_run, fence FROM (\
                 SELECT t.uid, t.left_attempt, t.left_run, t.fence, t.remove_since \
                     FROM sessions s JOIN tasks t ON t.executor = s.executor \
                     WHERE s.uid = $1 AND NOT s.adoptable AND t.remove_since IS NOT NULL AND t.run_left \
                 UNION ALL SELECT t.uid, t.left_attempt, t.left_run, t.fence, t.remove_since \
                     FROM sessions s JOIN tasks t ON t.cluster = s.cluster \
                     WHERE s.uid = $1 AND s.adoptable AND t.remove_since IS NOT NULL AND t.run_left) left_runs \
             ORDER BY remove_since LIMIT $2";
        let values = [session.0.into(), i64::from(limit).into()];
        let rows: Vec<LeftRow> = self.read(sql::all(self.db(), text, values)).await?;
        rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
    }

    /// Takes the runs of marked Tasks for gone whose executor has had no session for an hour. Says how many.
    pub async fn runs_forsake(&self, limit: u32) -> Result<u64, StoreError> {
        let text = "SELECT count(*) AS value FROM \
             (SELECT 1 FROM tasks WHERE remove_since IS NOT NULL AND run_left LIMIT 1) leaving";
        if self.read(sql::number(self.db(), text, [])).await? == Some(0) {
            return Ok(0);
        }
        self.write("runs_forsake", move |txn| {
            Box::pin(async move {
                let text = "WITH forsaken AS MATERIALIZED (SELECT t.uid FROM tasks t \
                         WHERE t.remove_since IS NOT NULL AND t.run_left AND NOT EXISTS (SELECT 1 FROM sessions s \
                             WHERE s.executor = t.executor \
                             AND (s.adoptable OR COALESCE(s.closed_at, s.lease_until) > $1)) LIMIT $2) \
                     UPDATE tasks SET run_left = false, left_run = NULL, left_attempt = NULL \
                     FROM forsaken WHERE tasks.uid = forsaken.uid AND remove_since IS NOT NULL AND run_left";
                let long_ago = txn.now().await?.checked_sub(FORSAKEN).unwrap_or(Timestamp::MIN).as_microsecond();
                Ok(sql::execute(&txn.db, text, [long_ago.into(), i64::from(limit).into()]).await?)
            })
        })
        .await
    }
}
