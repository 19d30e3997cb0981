//! Ends that somebody asks for, and Tasks that do not come to theirs. Late is what is late by the database's clock.

use taskplane_domain::name::{SpaceName, TaskName};
use taskplane_domain::task::{CancelTask, StateKind, Stuck, Task, Transition};
use taskplane_proto::convert::{etag_matches, task_to_pb};
use taskplane_proto::v1 as pb;
use taskplane_store::StoreError;

use crate::Api;
use crate::error::ApiError;
use crate::tasks::TRIES;

impl Api {
    pub(crate) async fn task_cancel(&self, name: &TaskName, etag: &str, asked: CancelTask) -> Result<Task, ApiError> {
        for _ in 0..TRIES {
            let task = self.task_expected(name, etag).await?;
            let asked = CancelTask { delete_log: asked.delete_log || self.ends_its_log(&task).await?, ..asked };
            let Some(step) = task.clone().end(asked, self.platform.store.now().await?) else { return Ok(task) };
            if let Some(task) = self.task_step(step).await? {
                return Ok(task);
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }

    pub(crate) async fn task_abandon(&self, name: &TaskName, etag: &str) -> Result<Task, ApiError> {
        for _ in 0..TRIES {
            let task = self.task_expected(name, etag).await?;
            let now = self.platform.store.now().await?;
            if task.stuck(now, &self.args.deadlines).is_none() {
                return Err(ApiError::NotStuck(name.to_string(), task.state.kind()));
            }
            let step =
                task.abandon(now).map_err(|refused| ApiError::NotStuck(refused.name.to_string(), refused.state))?;
            if let Some(task) = self.task_step(step).await? {
                tracing::warn!(task.name = %task.name, "an operator gave up a stuck task");
                return Ok(task);
            }
        }
        Err(StoreError::Conflict(name.to_string()).into())
    }

    async fn task_expected(&self, name: &TaskName, etag: &str) -> Result<Task, ApiError> {
        let task = self.platform.store.task_get(name).await?;
        if etag_matches(etag, task.version) { Ok(task) } else { Err(ApiError::EtagMismatch(name.to_string())) }
    }

    /// None: the Task is not what it was, and it is to be decided anew.
    async fn task_step(&self, step: Transition) -> Result<Option<Task>, ApiError> {
        match self.platform.store.task_commit(&step).await {
            Err(StoreError::Conflict(_)) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(()) => {
                self.platform.feed.ring();
                Ok(Some(step.into_task()))
            }
        }
    }

    /// Its Space does not keep what terminated Tasks wrote.
    async fn ends_its_log(&self, task: &Task) -> Result<bool, ApiError> {
        if task.state.kind().is_final() {
            return Ok(false);
        }
        let space = self.platform.store.space_get(&SpaceName(task.name.space.clone())).await?;
        Ok(space.settings.delete_terminated_logs)
    }

    /// For each of them whether it is stuck. The time is asked for only if one of them could be.
    pub(crate) async fn stuck(&self, tasks: &[Task]) -> Result<Vec<Option<Stuck>>, ApiError> {
        let deadlines = &self.args.deadlines;
        if tasks.iter().all(|task| task.stuck_at(deadlines).is_none()) {
            return Ok(vec![None; tasks.len()]);
        }
        let now = self.platform.store.now().await?;
        Ok(tasks.iter().map(|task| task.stuck(now, deadlines)).collect())
    }

    /// As lists show them: with what holds them up.
    pub(crate) async fn listed(&self, tasks: &[Task]) -> Result<Vec<pb::Task>, ApiError> {
        let (stuck, waiting) = (self.stuck(tasks).await?, self.waiting(tasks).await?);
        let shown = |((task, stuck), waiting_cause): ((&Task, Option<Stuck>), i32)| pb::Task {
            stuck: stuck.map(Into::into),
            waiting_cause,
            ..task_to_pb(task, None)
        };
        Ok(tasks.iter().zip(stuck).zip(waiting).map(shown).collect())
    }

    /// For each of them what it waits for, if it does.
    pub(crate) async fn waiting(&self, tasks: &[Task]) -> Result<Vec<i32>, ApiError> {
        let pending: Vec<&Task> = tasks.iter().filter(|task| task.state.kind() == StateKind::Pending).collect();
        if pending.is_empty() {
            return Ok(vec![pb::Cause::Unspecified as i32; tasks.len()]);
        }
        let seen = self.platform.store.tasks_waiting(&pending).await?;
        let cause = |task: &Task| seen.get(&task.uid).and_then(|seen| task.waiting_cause(seen));
        Ok(tasks.iter().map(|task| cause(task).map_or(pb::Cause::Unspecified, pb::Cause::from) as i32).collect())
    }
}
