//! Tables and fact sheets in the look of kf: columns without borders, nothing wrapped.

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use taskplane_proto::event::v1::{Event, event};
use taskplane_proto::v1::{
    App, AppSource, Attempt, Condition, Resources, Space, SpaceQuota, SpaceUsage, Task, TaskState, app_source,
};

use super::state::{self, condition_status, reason, reason_name, state_name, succeeded};
use crate::{clock, escape, names};

/// What stands where there is nothing.
const NONE: &str = "<none>";

pub(super) fn columns<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| cell_text(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

pub(super) fn facts<const N: usize>(pairs: [(&str, String); N]) -> String {
    let width = pairs.iter().map(|(key, _)| key.len()).max().unwrap_or(0) + 1;
    pairs.iter().map(|(key, value)| format!("{:width$}  {}\n", format!("{key}:"), cell_text(value))).collect()
}

fn cell_text(text: &str) -> String {
    if text.is_empty() { NONE.to_owned() } else { escape::line(text).into_owned() }
}

pub fn spaces(spaces: &[Space], now: Timestamp) -> String {
    columns(
        ["Name", "Age", "Retention", "LogCap", "Env"],
        spaces.iter().map(|space| {
            [
                names::last(&space.name).to_owned(),
                clock::between(space.create_time, None, now).unwrap_or_default(),
                space.task_retention_count.to_string(),
                log_cap(space),
                space.env_names.join(","),
            ]
        }),
    )
}

pub fn space(space: &Space, now: Timestamp) -> String {
    let SpaceQuota { live_tasks, running_tasks, waiting_tasks } = space.quota.unwrap_or_default();
    let used = |of: fn(SpaceUsage) -> i64, limit: i32| match (space.usage.map(of), limit) {
        (None, 0) => String::new(),
        (None, limit) => limit.to_string(),
        (Some(used), 0) => used.to_string(),
        (Some(used), limit) => format!("{used} of {limit}"),
    };
    let kept = |count: Option<i32>| count.map(|count| count.to_string()).unwrap_or_default();
    facts([
        ("Name", names::last(&space.name).to_owned()),
        ("Age", clock::between(space.create_time, None, now).unwrap_or_default()),
        ("Task retention", space.task_retention_count.to_string()),
        ("Minimum finished tasks", kept(space.minimum_finished_tasks)),
        ("Task retention age", space.task_retention_age.and_then(clock::exact).unwrap_or_default()),
        ("Failed task retention", kept(space.failed_task_retention_count)),
        ("Log cap", log_cap(space)),
        ("Logs of terminated tasks", if space.delete_terminated_logs { "deleted" } else { "kept" }.to_owned()),
        ("Live tasks", used(|usage| usage.live_tasks, live_tasks)),
        ("Running tasks", used(|usage| usage.running_tasks, running_tasks)),
        ("Waiting tasks", used(|usage| usage.waiting_tasks, waiting_tasks)),
        ("Default resources", amounts(space.default_resources.as_ref())),
        ("Minimum resources", amounts(space.min_resources.as_ref())),
        ("Maximum resources", amounts(space.max_resources.as_ref())),
        ("Default timeout", space.default_task_timeout.and_then(clock::exact).unwrap_or_default()),
        ("Start ticket", if space.start_ticket == Some(false) { "not asked for" } else { "asked for" }.to_owned()),
        ("Env", space.env_names.join(", ")),
        ("Security groups", last_parts(&space.security_groups)),
    ])
}

/// `memory 1Gi, cpu 500m`: what is set.
fn amounts(resources: Option<&Resources>) -> String {
    let Some(Resources { memory, disk, cpu }) = resources else { return String::new() };
    let set = [("memory", memory), ("disk", disk), ("cpu", cpu)].into_iter().filter(|(_, amount)| !amount.is_empty());
    set.map(|(name, amount)| format!("{name} {amount}")).collect::<Vec<_>>().join(", ")
}

fn log_cap(space: &Space) -> String {
    if space.log_cap_bytes == 0 { String::new() } else { bytes(space.log_cap_bytes) }
}

pub fn apps(apps: &[App], now: Timestamp) -> String {
    columns(
        ["Name", "Requested State", "Source", "Memory", "Disk", "CPU", "Revision", "Age"],
        apps.iter().map(|app| {
            let Resources { memory, disk, cpu } = app.resources.clone().unwrap_or_default();
            [
                names::last(&app.name).to_owned(),
                requested_state(app).to_owned(),
                source(app.source.as_ref()),
                memory,
                disk,
                cpu,
                app.revision.to_string(),
                clock::between(app.create_time, None, now).unwrap_or_default(),
            ]
        }),
    )
}

pub fn app(app: &App, now: Timestamp) -> String {
    let Resources { memory, disk, cpu } = app.resources.clone().unwrap_or_default();
    facts([
        ("Name", names::last(&app.name).to_owned()),
        ("Requested state", requested_state(app).to_owned()),
        ("Source", source(app.source.as_ref())),
        ("Command", app.command.clone()),
        ("Memory", memory),
        ("Disk", disk),
        ("CPU", cpu),
        ("Env", app.env_names.join(", ")),
        ("Services", app.services.iter().map(|bound| names::last(&bound.service)).collect::<Vec<_>>().join(", ")),
        ("Security groups", last_parts(&app.security_groups)),
        ("Task retention", app.task_retention_count.map(|count| count.to_string()).unwrap_or_default()),
        ("Revision", app.revision.to_string()),
        ("Age", clock::between(app.create_time, None, now).unwrap_or_default()),
        ("Last change", clock::between(app.update_time, None, now).map(|ago| format!("{ago} ago")).unwrap_or_default()),
    ])
}

/// What an App's Tasks get, where they say nothing themselves.
pub fn scale(app: &App) -> String {
    let Resources { memory, disk, cpu } = app.resources.clone().unwrap_or_default();
    let or_space = |amount: String| if amount.is_empty() { "as the Space says".to_owned() } else { amount };
    facts([
        ("Name", names::last(&app.name).to_owned()),
        ("Memory", or_space(memory)),
        ("Disk", or_space(disk)),
        ("CPU", or_space(cpu)),
        ("Revision", app.revision.to_string()),
    ])
}

fn last_parts(names: &[String]) -> String {
    names.iter().map(|name| names::last(name)).collect::<Vec<_>>().join(", ")
}

/// No App has a long-running process, so all of them are stopped as kf understands it.
fn requested_state(app: &App) -> &'static str {
    if app.task_only { "stopped" } else { "started" }
}

fn source(source: Option<&AppSource>) -> String {
    match source.and_then(|source| source.kind.as_ref()) {
        Some(app_source::Kind::Image(image)) => image.clone(),
        Some(app_source::Kind::Archive(archive)) => {
            let short: String = archive.sha256.chars().take(12).collect();
            format!("archive {short} ({})", bytes(archive.size_bytes))
        }
        None => String::new(),
    }
}

pub fn tasks(tasks: &[Task], now: Timestamp) -> String {
    columns(
        ["Name", "ID", "DisplayName", "Age", "Duration", "Succeeded", "Reason"],
        tasks.iter().map(|task| {
            [
                names::short_task(&task.name),
                task.id.to_string(),
                task.display_name.clone(),
                clock::between(task.create_time, None, now).unwrap_or_default(),
                clock::between(task.start_time, task.end_time, now).unwrap_or_default(),
                succeeded(task.state()).to_owned(),
                reason(task),
            ]
        }),
    )
}

pub fn task(task: &Task, now: Timestamp) -> String {
    let Resources { memory, disk, cpu } = task.resources.clone().unwrap_or_default();
    let labels: Vec<String> = task.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut sheet = facts([
        ("Name", names::short_task(&task.name)),
        ("Resource", task.name.clone()),
        ("DisplayName", task.display_name.clone()),
        ("State", state_name(task.state())),
        ("Succeeded", succeeded(task.state()).to_owned()),
        ("Reason", reason(task)),
        ("Message", task.message.clone()),
        ("Waits", waits(task, now)),
        ("Stuck", stuck(task, now)),
        ("Exit code", task.exit_code.map(|code| code.to_string()).unwrap_or_default()),
        ("Signal", task.signal.map(|signal| signal.to_string()).unwrap_or_default()),
        ("Command", task.command.clone()),
        ("Env", task.env_names.join(", ")),
        ("Memory", memory),
        ("Disk", disk),
        ("CPU", cpu),
        ("Timeout", task.timeout.map(|timeout| format!("{}s", timeout.seconds)).unwrap_or_default()),
        ("Labels", labels.join(", ")),
        ("App revision", task.app_revision.to_string()),
        ("Job", names::last(&task.job).to_owned()),
        ("Schedule", task.schedule.clone()),
        ("Tick", clock::shown(task.tick_time).unwrap_or_default()),
        ("Age", clock::between(task.create_time, None, now).unwrap_or_default()),
        ("Duration", clock::between(task.start_time, task.end_time, now).unwrap_or_default()),
    ]);
    if !task.conditions.is_empty() {
        sheet.push('\n');
        sheet.push_str(&conditions(&task.conditions));
        sheet.push('\n');
    }
    if !task.attempts.is_empty() {
        sheet.push('\n');
        sheet.push_str(&attempts(&task.attempts, now));
        sheet.push('\n');
    }
    sheet
}

fn conditions(conditions: &[Condition]) -> String {
    columns(
        ["Condition", "Status", "Reason", "Message"],
        conditions.iter().map(|condition| {
            [
                condition.r#type.clone(),
                condition_status(condition.status()).to_owned(),
                condition.reason.clone(),
                condition.message.clone(),
            ]
        }),
    )
}

/// What stands between it and its start, and since when.
fn waits(task: &Task, now: Timestamp) -> String {
    let Some(waiting) = &task.waiting else { return String::new() };
    let since = clock::between(waiting.since, None, now).unwrap_or_default();
    format!("{}, for {since}: {}", state::wait_name(waiting.reason()), waiting.message)
}

/// Why nothing more is done about it, and since when.
fn stuck(task: &Task, now: Timestamp) -> String {
    let Some(stuck) = &task.stuck else { return String::new() };
    let since = clock::between(stuck.since, None, now).unwrap_or_default();
    format!("{}, {since} ago: {}", state::stuck_name(stuck.reason()), stuck.message)
}

fn attempts(attempts: &[Attempt], now: Timestamp) -> String {
    columns(
        ["Attempt", "Age", "Duration", "End", "Reason", "ExitCode", "Message"],
        attempts.iter().map(|attempt| {
            let over = attempt.end_state() != TaskState::Unspecified;
            [
                attempt.number.to_string(),
                clock::between(attempt.create_time, None, now).unwrap_or_default(),
                clock::between(attempt.start_time, attempt.end_time, now).unwrap_or_default(),
                if over { state_name(attempt.end_state()) } else { String::new() },
                reason_name(attempt.reason()).unwrap_or_default(),
                attempt.exit_code.map(|code| code.to_string()).unwrap_or_default(),
                attempt.message.clone(),
            ]
        }),
    )
}

pub fn events(events: &[Event]) -> String {
    columns(["Time", "Subject", "Fact", "Detail"], events.iter().map(event_cells))
}

/// One event where more may follow, so that no column can be as wide as its widest cell.
pub fn event_line(event: &Event) -> String {
    event_cells(event).map(|cell| cell_text(&cell)).join("   ").trim_end_matches(NONE).trim_end().to_owned()
}

fn event_cells(event: &Event) -> [String; 4] {
    let detail = match &event.data {
        Some(event::Data::Task(task)) => {
            let mut parts = vec![task.state.clone(), task.reason.clone()];
            parts.extend(task.exit_code.map(|code| format!("exit code {code}")));
            parts.extend(task.signal.map(|signal| format!("signal {signal}")));
            parts.retain(|part| !part.is_empty());
            parts.join(", ")
        }
        Some(event::Data::Job(job)) => super::job::became(job),
        Some(event::Data::App(app)) => format!("revision {}", app.revision),
        Some(event::Data::Service(service)) => format!("revision {}", service.revision),
        Some(event::Data::Space(_)) | None => String::new(),
    };
    let time = event.time.and_then(clock::from_wire).map(|time| format!("{time:.3}")).unwrap_or_default();
    [time, event.subject.clone(), event.fact.clone(), detail]
}

/// A size for people.
pub fn bytes(count: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scaled = count as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
