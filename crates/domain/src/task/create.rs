//! The acceptance of a Task: what was asked for, completed with what the App says, and frozen.

use std::time::Duration;

use jiff::Timestamp;

use crate::app::{App, Command};
use crate::env::{DATABASE_URL, Env, SealedEnv};
use crate::invalid::{Check, Invalid};
use crate::label::Labels;
use crate::name::{AppName, Name};
use crate::quantity::Resources;
use crate::security_group;
use crate::space::Space;
use crate::task::{Guard, JobRef, RetryPolicy, Task, TaskSpec, TaskState, Transition};
use crate::uid::TaskUid;

const DISPLAY_NAME_MAX: usize = 128;
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A request to run a Task, already checked field by field.
#[derive(Debug, Clone)]
pub struct RunTask {
    pub app: AppName,
    /// Empty: one is made up.
    pub display_name: Option<String>,
    pub overrides: Override,
    pub timeout: Option<Duration>,
    pub retry: RetryPolicy,
    pub labels: Labels,
    pub request_id: Option<String>,
}

/// What a Task brings in place of its App's.
#[derive(Debug, Clone)]
pub struct Override {
    pub command: Option<Command>,
    pub env: Env,
    pub resources: Resources,
}

/// A Task on the way to its acceptance: all of it but the number, which only the accepting transaction knows.
#[derive(Debug, Clone)]
pub struct Birth {
    task: Task,
}

impl RunTask {
    pub fn check_display_name(text: &str) -> Result<(), Invalid> {
        let mut check = Check::new();
        if text.chars().count() > DISPLAY_NAME_MAX {
            check.refuse("display_name", format!("must be at most {DISPLAY_NAME_MAX} characters long"));
        }
        if text.chars().any(|c| c.is_control() || is_deceptive(c)) {
            check.refuse("display_name", "must not contain control, direction or invisible characters");
        }
        check.finish()
    }

    pub fn check_timeout(timeout: Duration) -> Result<(), Invalid> {
        let fine = timeout >= Duration::from_millis(1) && timeout <= TIMEOUT_MAX;
        if fine { Ok(()) } else { Err(Invalid::one("timeout", "must be more than 0 and at most 365 days")) }
    }
}

/// Characters that make one name look like another.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl Task {
    /// A Task of `app` as it is now. It keeps what it was accepted with, whatever becomes of the App.
    pub fn create(
        uid: TaskUid,
        space: &Space,
        app: &App,
        asked: RunTask,
        cluster: Name,
        trace: Option<String>,
        at: Timestamp,
    ) -> Result<Birth, Invalid> {
        let RunTask { app: _, display_name, overrides, timeout, retry, labels, request_id: _ } = asked;
        let Override { command, env, resources } = overrides;
        let command = command.or_else(|| app.spec.command.clone()).ok_or_else(|| {
            Invalid::one("command", "is required because the App has none: give the Task a command (run-task --command), or the App (push --command)")
        })?;
        if let Some(binding) = app.gives_database_url().filter(|_| env.names().any(|name| name == DATABASE_URL)) {
            let field = format!("env[{DATABASE_URL}]");
            let why = format!(
                "is set by the App's binding {} and cannot be replaced: unbind it, or leave this out",
                binding.name
            );
            return Err(Invalid::one(field, why));
        }
        let display_name = display_name.unwrap_or_else(|| {
            let text = uid.0.simple().to_string();
            text[text.len() - 8..].to_owned()
        });
        let resources = space.settings.resources.resolve(resources, app.spec.resources)?;
        let timeout = timeout.or(space.settings.default_timeout);
        let groups = app.spec.security_groups.joined(&space.security_groups);
        let task = Self {
            uid,
            space_uid: space.uid,
            app_uid: app.uid,
            name: app.name.task(0),
            display_name,
            state: TaskState::Pending { not_before: None },
            attempt: 1,
            guard: Guard::Off,
            conditions: security_group::not_known_yet(&groups).into_iter().collect(),
            spec: TaskSpec { command, env: env.into(), resources, timeout, retry, labels },
            app_revision: app.revision,
            space_env_revision: space.env_revision,
            job: None,
            cluster,
            version: 1,
            created_at: at,
            remove_since: None,
            delete_log: false,
            trace,
        };
        Ok(Birth { task })
    }
}

impl Birth {
    /// A Task that a Job makes.
    pub(crate) fn made_for(mut self, job: JobRef) -> Self {
        self.task.job = Some(job);
        self
    }

    /// The same Task with what it brought sealed, as it is kept.
    pub fn sealed(mut self, seal: impl FnOnce(TaskUid, &Env) -> SealedEnv) -> Self {
        let uid = self.task.uid;
        self.task.spec.env = self.task.spec.env.sealed(|env| seal(uid, env));
        self
    }

    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The acceptance, under the number that the App's counter gave in the same transaction.
    pub fn numbered(mut self, id: u64) -> Transition {
        self.task.name.id = id;
        Transition::birth(self.task)
    }
}
