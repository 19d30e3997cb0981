//! What a list or a watch looks at: one thing, or all below one.

use taskplane_domain::{AppName, Invalid, Name, SpaceName, TaskName};

/// A Space, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub space: Name,
    pub app: Option<Name>,
    pub task: Option<u64>,
}

impl Scope {
    /// For Tasks: an App, all Apps of a Space (`spaces/s/apps/-`), or one Task.
    pub fn of_tasks(field: &str, text: &str) -> Result<Self, Invalid> {
        let refused = || {
            Invalid::one(field, "must be spaces/{space}/apps/{app}, or spaces/{space}/apps/- for all Apps of the Space")
        };
        if let Some(space) = text.strip_suffix("/apps/-") {
            let SpaceName(space) = space.parse().map_err(|_| refused())?;
            return Ok(Self { space, app: None, task: None });
        }
        Self::app_or_task(text).ok_or_else(refused)
    }

    /// For events: a Space, an App or a Task.
    pub fn of_events(field: &str, text: &str) -> Result<Self, Invalid> {
        if let Ok(SpaceName(space)) = text.parse() {
            return Ok(Self { space, app: None, task: None });
        }
        Self::app_or_task(text).ok_or_else(|| Invalid::one(field, "must be the name of a Space, an App or a Task"))
    }

    fn app_or_task(text: &str) -> Option<Self> {
        if let Ok(TaskName { space, app, id }) = text.parse() {
            return Some(Self { space, app: Some(app), task: Some(id) });
        }
        let AppName { space, app } = text.parse().ok()?;
        Some(Self { space, app: Some(app), task: None })
    }
}
