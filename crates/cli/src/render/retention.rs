//! What an App keeps, and what would go.

use jiff::Timestamp;
use taskplane_proto::v1::{AppRetention, ListRemovableResponse, RemovableTask};

use super::state::state_name;
use super::table::{columns, facts};
use crate::{clock, names};

pub fn retention(whole: &ListRemovableResponse, now: Timestamp) -> String {
    let AppRetention {
        app,
        task_retention_count,
        own_count,
        minimum_finished_tasks,
        task_retention_age,
        failed_task_retention_count,
        live_tasks,
        finished_tasks,
    } = whole.retention.clone().unwrap_or_default();
    let whose = if own_count { "the App's own" } else { "its Space's" };
    let kept = facts([
        ("App", names::last(&app).to_owned()),
        ("Task retention", format!("{task_retention_count} ({whose})")),
        ("Minimum finished tasks", minimum_finished_tasks.to_string()),
        ("Task retention age", task_retention_age.and_then(clock::exact).unwrap_or_default()),
        ("Failed task retention", failed_task_retention_count.map(|count| count.to_string()).unwrap_or_default()),
        ("Live tasks", live_tasks.to_string()),
        ("Finished tasks", finished_tasks.to_string()),
    ]);
    if whole.tasks.is_empty() {
        return format!("{kept}\nNothing would go now.");
    }
    let rows = whole.tasks.iter().map(|task| row(task, now));
    format!("{kept}\n{}", columns(["ID", "Name", "State", "Ended", "Why", "Marked"], rows))
}

fn row(task: &RemovableTask, now: Timestamp) -> [String; 6] {
    let ago = |time| clock::between(time, None, now).map(|ago| format!("{ago} ago")).unwrap_or_default();
    [
        names::last(&task.name).to_owned(),
        task.display_name.clone(),
        state_name(task.state()),
        ago(task.end_time),
        task.cause().as_str_name().trim_start_matches("REMOVAL_CAUSE_").replace('_', " ").to_lowercase(),
        ago(task.delete_time),
    ]
}
