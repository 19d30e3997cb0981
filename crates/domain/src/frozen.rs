//! What a Task froze, by name and by origin: for its owner to see, without any value.

use std::collections::BTreeMap;

use crate::app::AppSpec;
use crate::env::{BINDING_ROOT, DATABASE_URL, Env, TaskEnv};
use crate::quantity::Resources;
use crate::service::Offers;
use crate::task::TaskSpec;

/// Where the value that a run sees comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Space,
    App,
    Task,
    Platform,
    Binding,
}

/// What the platform tells each run, wherever it runs.
pub const ALWAYS: [&str; 14] = [
    "CF_INSTANCE_ADDR",
    "CF_INSTANCE_GUID",
    "CF_INSTANCE_INTERNAL_IP",
    "CF_INSTANCE_IP",
    "CF_INSTANCE_PORT",
    "CF_TASK_ID",
    "CF_TASK_NAME",
    "INSTANCE_GUID",
    "TASKPLANE_ATTEMPT",
    "TASKPLANE_RUN",
    "TASKPLANE_TASK",
    "VCAP_APPLICATION",
    "VCAP_APP_HOST",
    "VCAP_SERVICES",
];
pub const WITH_MEMORY: [&str; 2] = ["MEMORY_LIMIT", "MEMORY_LIMIT_IN_MB"];
pub const WITH_DISK: &str = "DISK_LIMIT";

/// The variables of a run and where each comes from, sorted by name. The last word wins: the Space's, the App's, the Task's,
/// the platform's. (A Task that would replace what the platform sets is refused, so its place among them does not matter.)
pub fn variables(space: &Env, app: &AppSpec, task: &TaskSpec) -> Vec<(String, Origin)> {
    let TaskSpec { env, resources, command: _, timeout: _, retry: _, labels: _ } = task;
    let mut all: BTreeMap<String, Origin> = BTreeMap::new();
    let mut say = |names: Vec<&str>, origin| all.extend(names.into_iter().map(|name| (name.to_owned(), origin)));
    say(space.names().collect(), Origin::Space);
    say(app.env.names().collect(), Origin::App);
    say(TaskEnv::names(env), Origin::Task);
    say(platform(*resources), Origin::Platform);
    say(bound(app), Origin::Binding);
    all.into_iter().collect()
}

fn platform(resources: Resources) -> Vec<&'static str> {
    let mut names = ALWAYS.to_vec();
    names.extend(resources.memory.iter().flat_map(|_| WITH_MEMORY));
    names.extend(resources.disk.iter().map(|_| WITH_DISK));
    names
}

fn bound(app: &AppSpec) -> Vec<&'static str> {
    let mut names = Vec::new();
    if !app.services.is_empty() {
        names.push(BINDING_ROOT);
    }
    if app.services.iter().any(|binding| binding.offers == Offers::Values { uri: true }) {
        names.push(DATABASE_URL);
    }
    names
}
