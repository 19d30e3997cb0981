//! What the Tasks of a Job run with.

use std::time::Duration;

use crate::app::Command;
use crate::env::Env;
use crate::job::Job;
use crate::label::Labels;
use crate::quantity::Resources;
use crate::task::{Override, RetryPolicy, RunTask};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskTemplate {
    pub command: Option<Command>,
    pub env: Env,
    pub resources: Resources,
    pub timeout: Option<Duration>,
    pub retry: RetryPolicy,
    pub labels: Labels,
}

/// What one run brings in place of its Job's template. Unset: the template's.
#[derive(Debug, Clone, Default)]
pub struct RunJob {
    pub command: Option<Command>,
    pub display_name: Option<String>,
    pub env: Env,
    pub resources: Resources,
    pub timeout: Option<Duration>,
    pub retry: Option<RetryPolicy>,
    pub labels: Labels,
    pub request_id: Option<String>,
}

impl Job {
    /// The Task that a run of this Job asks for. Its name for people begins with the Job's, as in kf.
    pub fn asks_for(&self, run: RunJob, suffix: &str) -> RunTask {
        let RunJob { command, display_name, env, resources, timeout, retry, labels, request_id } = run;
        let template = self.template.clone();
        RunTask {
            app: self.app.clone(),
            display_name: Some(display_name.unwrap_or_else(|| format!("{}-{suffix}", self.name.job))),
            overrides: Override {
                command: command.or(template.command),
                env: template.env.overlaid(&env),
                resources: resources.or(template.resources),
            },
            timeout: timeout.or(template.timeout),
            retry: retry.unwrap_or(template.retry),
            labels: template.labels.into_iter().chain(labels).collect(),
            request_id,
        }
    }
}
