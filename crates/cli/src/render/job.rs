//! Tables and fact sheets about Jobs, in the look of kf: its columns first, ours behind them.

use jiff::Timestamp;
use taskplane_proto::event::v1::JobData;
use taskplane_proto::v1::{
    GapRule, Job, JobRun, OverlapRule, PreviewScheduleResponse, Resources, Schedule, ScheduleState, TaskTemplate,
};

use super::state::{is_suspended, job_ready, job_reason, outcome_name, policy_name, schedule_reason};
use super::table::{columns, facts};
use crate::{clock, names};

pub fn jobs(jobs: &[Job], now: Timestamp) -> String {
    columns(
        ["Name", "Schedule", "Suspend", "LastSchedule", "ConcurrencyPolicy", "Age", "Ready", "Reason", "NextSchedule"],
        jobs.iter().map(|job| {
            let schedules: Vec<String> = job.schedules.iter().map(cron).collect();
            [
                names::last(&job.name).to_owned(),
                schedules.join("; "),
                truth(job.schedules.iter().all(|schedule| is_suspended(job, schedule))),
                clock::between(job.last_tick_time, None, now).unwrap_or_default(),
                policy_name(job.concurrency_policy()),
                clock::between(job.create_time, None, now).unwrap_or_default(),
                job_ready(job).to_owned(),
                job_reason(job).to_owned(),
                clock::until(job.next_tick_time, now).unwrap_or_default(),
            ]
        }),
    )
}

/// One row per schedule, with the columns of [`jobs`] and the schedule's id.
pub fn job_schedules(rows: &[(&Job, &Schedule)], now: Timestamp) -> String {
    columns(
        [
            "Name",
            "Schedule",
            "Suspend",
            "LastSchedule",
            "ConcurrencyPolicy",
            "Age",
            "Ready",
            "Reason",
            "NextSchedule",
            "ID",
        ],
        rows.iter().map(|(job, schedule)| {
            [
                names::last(&job.name).to_owned(),
                cron(schedule),
                truth(is_suspended(job, schedule)),
                clock::between(schedule.last_tick_time, None, now).unwrap_or_default(),
                policy_name(job.concurrency_policy()),
                clock::between(schedule.create_time, None, now).unwrap_or_default(),
                job_ready(job).to_owned(),
                schedule_reason(job, schedule).to_owned(),
                clock::until(schedule.next_tick_time, now).unwrap_or_default(),
                names::last(&schedule.name).to_owned(),
            ]
        }),
    )
}

pub fn job(job: &Job, now: Timestamp) -> String {
    let TaskTemplate { command, resources, env: _, env_names, timeout, retry_policy, labels } =
        job.template.clone().unwrap_or_default();
    let Resources { memory, disk, cpu } = resources.unwrap_or_default();
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut sheet = facts([
        ("Name", names::last(&job.name).to_owned()),
        ("Resource", job.name.clone()),
        ("App", names::last(&job.app).to_owned()),
        ("Ready", job_ready(job).to_owned()),
        ("Reason", job_reason(job).to_owned()),
        ("Note", job.pause_note.clone()),
        ("Concurrency policy", policy_name(job.concurrency_policy())),
        ("Command", command),
        ("Env", env_names.join(", ")),
        ("Memory", memory),
        ("Disk", disk),
        ("CPU", cpu),
        ("Timeout", timeout.and_then(clock::exact).unwrap_or_default()),
        ("Attempts", retry_policy.map_or(1, |policy| policy.max_attempts.max(1)).to_string()),
        ("Labels", labels.join(", ")),
        ("Live Tasks", job.live_task_count.to_string()),
        ("Last tick", last(job.last_tick_time, now)),
        ("Next tick", next(job.next_tick_time, now)),
        ("Held tick", held(job)),
        ("Age", clock::between(job.create_time, None, now).unwrap_or_default()),
    ]);
    if !job.schedules.is_empty() {
        sheet.push('\n');
        sheet.push_str(&schedules(job, now));
        sheet.push('\n');
    }
    sheet
}

/// The latest of its ticks that are due and held, and why.
fn held(job: &Job) -> String {
    let held = job.schedules.iter().filter_map(|schedule| schedule.held_tick.as_ref());
    let Some(held) = held.max_by_key(|held| held.tick_time.map(|time| time.seconds)) else { return String::new() };
    format!("{}: {}", clock::shown(held.tick_time).unwrap_or_default(), held.message)
}

fn schedules(job: &Job, now: Timestamp) -> String {
    columns(
        ["ID", "Schedule", "Gap", "Overlap", "Deadline", "Reason", "LastSchedule", "NextSchedule", "Description"],
        job.schedules.iter().map(|schedule| {
            [
                names::last(&schedule.name).to_owned(),
                cron(schedule),
                gap(schedule.gap()).to_owned(),
                overlap(schedule.overlap()).to_owned(),
                schedule.starting_deadline.and_then(clock::exact).unwrap_or_default(),
                schedule_reason(job, schedule).to_owned(),
                clock::between(schedule.last_tick_time, None, now).unwrap_or_default(),
                clock::until(schedule.next_tick_time, now).unwrap_or_default(),
                schedule.description.clone(),
            ]
        }),
    )
}

/// What a schedule means, for whoever just made it.
pub fn meaning(schedule: &Schedule, now: Timestamp) -> String {
    facts([("Schedule", schedule.description.clone()), ("Next tick", next(schedule.next_tick_time, now))])
}

/// Its expression and, unless it is UTC, its time zone.
pub fn cron(schedule: &Schedule) -> String {
    match schedule.time_zone.as_str() {
        "" | "UTC" => schedule.cron.clone(),
        zone => format!("{} ({zone})", schedule.cron),
    }
}

pub fn runs(runs: &[JobRun], now: Timestamp) -> String {
    columns(
        ["Tick", "Schedule", "Outcome", "Task", "Missed", "Age", "Message"],
        runs.iter().map(|run| {
            [
                clock::shown(run.tick_time).unwrap_or_else(|| "requested".to_owned()),
                names::last(&run.schedule).to_owned(),
                outcome_name(run.outcome()),
                names::short_task(&run.task),
                run.missed_count.to_string(),
                clock::between(run.create_time, None, now).unwrap_or_default(),
                run.message.clone(),
            ]
        }),
    )
}

pub fn preview(preview: &PreviewScheduleResponse) -> String {
    let head = facts([("Schedule", preview.description.clone()), ("Time zone data", preview.tzdb_release.clone())]);
    if preview.state() == ScheduleState::Never {
        return format!("{head}\nnever fires: the calendar has no such day");
    }
    if preview.ticks.is_empty() {
        return format!("{head}\nno tick in this time");
    }
    let ticks = columns(
        ["UTC", "Local", "Remark"],
        preview
            .ticks
            .iter()
            .map(|tick| [clock::shown(tick.time).unwrap_or_default(), tick.local_time.clone(), tick.remark.clone()]),
    );
    format!("{head}\n{ticks}")
}

/// What an event says became of one time of a Job.
pub fn became(job: &JobData) -> String {
    let mut parts = vec![job.outcome.clone(), job.schedule.clone()];
    parts.extend(clock::shown(job.tick_time));
    parts.push(names::short_task(&job.task));
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

fn truth(truth: bool) -> String {
    if truth { "True" } else { "False" }.to_owned()
}

fn last(time: Option<prost_types::Timestamp>, now: Timestamp) -> String {
    let ago = clock::between(time, None, now).map(|ago| format!(" ({ago} ago)"));
    clock::shown(time).zip(ago).map(|(time, ago)| time + &ago).unwrap_or_default()
}

fn next(time: Option<prost_types::Timestamp>, now: Timestamp) -> String {
    let left = clock::until(time, now).map(|left| format!(" ({left})"));
    clock::shown(time).zip(left).map(|(time, left)| time + &left).unwrap_or_default()
}

fn gap(rule: GapRule) -> &'static str {
    match rule {
        GapRule::Unspecified | GapRule::RunAfter => "run-after",
        GapRule::Skip => "skip",
    }
}

fn overlap(rule: OverlapRule) -> &'static str {
    match rule {
        OverlapRule::Unspecified | OverlapRule::First => "first",
        OverlapRule::Second => "second",
        OverlapRule::Both => "both",
    }
}

#[cfg(test)]
mod tests {
    use taskplane_proto::v1::{ConcurrencyPolicy, JobState, PreviewedTick, RunOutcome};

    use super::*;

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn now() -> Timestamp {
        Timestamp::from_second(100).unwrap()
    }

    fn a_schedule(id: &str) -> Schedule {
        Schedule {
            name: format!("spaces/s/jobs/nightly/schedules/{id}"),
            cron: "0 9 * * *".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            state: ScheduleState::Active.into(),
            create_time: at(40),
            next_tick_time: at(145),
            starting_deadline: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
            description: "at 09:00 every day (Europe/Berlin)".to_owned(),
            ..Schedule::default()
        }
    }

    fn a_job(schedules: Vec<Schedule>) -> Job {
        Job {
            name: "spaces/s/jobs/nightly".to_owned(),
            app: "spaces/s/apps/shop".to_owned(),
            concurrency_policy: ConcurrencyPolicy::Forbid.into(),
            state: JobState::Active.into(),
            last_tick_time: at(90),
            next_tick_time: at(145),
            schedules,
            create_time: at(0),
            ..Job::default()
        }
    }

    #[test]
    fn jobs_have_the_columns_of_kf_and_the_next_tick() {
        let mut idle = a_job(vec![]);
        (idle.last_tick_time, idle.next_tick_time) = (None, None);
        assert_eq!(
            jobs(&[a_job(vec![a_schedule("default")]), idle], now()),
            "\
Name      Schedule                    Suspend   LastSchedule   ConcurrencyPolicy   Age    Ready   Reason        NextSchedule
nightly   0 9 * * * (Europe/Berlin)   False     10s            Forbid              100s   True    Active        in 45s
nightly   <none>                      True      <none>         Forbid              100s   True    Unscheduled   <none>"
        );
    }

    #[test]
    fn each_schedule_has_a_row_and_its_id() {
        let job = a_job(vec![a_schedule("a"), Schedule { suspended: true, ..a_schedule("b") }]);
        let rows: Vec<(&Job, &Schedule)> = job.schedules.iter().map(|schedule| (&job, schedule)).collect();
        assert_eq!(
            job_schedules(&rows, now()),
            "\
Name      Schedule                    Suspend   LastSchedule   ConcurrencyPolicy   Age   Ready   Reason      NextSchedule   ID
nightly   0 9 * * * (Europe/Berlin)   False     <none>         Forbid              60s   True    Active      in 45s         a
nightly   0 9 * * * (Europe/Berlin)   True      <none>         Forbid              60s   True    Suspended   in 45s         b"
        );
    }

    #[test]
    fn a_sheet_lists_schedules_and_exact_times() {
        let sheet = super::job(&a_job(vec![a_schedule("default")]), now());
        assert!(sheet.starts_with("Name:                nightly\n"), "{sheet}");
        assert!(sheet.contains("\nLast tick:           1970-01-01T00:01:30Z (10s ago)\n"), "{sheet}");
        assert!(sheet.contains("\nNext tick:           1970-01-01T00:02:25Z (in 45s)\n"), "{sheet}");
        assert!(sheet.contains("\nID        Schedule"), "{sheet}");
        assert!(sheet.contains("   1m 30s     Active   <none>"), "{sheet}");
    }

    #[test]
    fn the_ledger_tells_ticks_from_requests() {
        let tick = JobRun {
            schedule: "spaces/s/jobs/nightly/schedules/default".to_owned(),
            tick_time: at(60),
            outcome: RunOutcome::Started.into(),
            task: "spaces/s/apps/shop/tasks/7".to_owned(),
            missed_count: 4,
            message: "Task 7 was made".to_owned(),
            create_time: at(70),
            ..JobRun::default()
        };
        let asked = JobRun { outcome: RunOutcome::Refused.into(), create_time: at(0), ..JobRun::default() };
        assert_eq!(
            runs(&[tick, asked], now()),
            "\
Tick                   Schedule   Outcome   Task     Missed   Age    Message
1970-01-01T00:01:00Z   default    Started   shop/7   4        30s    Task 7 was made
requested              <none>     Refused   <none>   0        100s   <none>"
        );
    }

    #[test]
    fn a_preview_shows_both_clocks_and_what_never_fires_says_so() {
        let tick = PreviewedTick {
            time: at(60),
            local_time: "1970-01-01T01:01:00+01:00[Europe/Berlin]".to_owned(),
            remark: "the clock shows this time twice; this is the first".to_owned(),
        };
        let mut answer = PreviewScheduleResponse {
            ticks: vec![tick],
            description: "at 01:01 every day (Europe/Berlin)".to_owned(),
            state: ScheduleState::Active.into(),
            tzdb_release: "2026a".to_owned(),
        };
        assert_eq!(
            preview(&answer),
            "\
Schedule:        at 01:01 every day (Europe/Berlin)
Time zone data:  2026a

UTC                    Local                                      Remark
1970-01-01T00:01:00Z   1970-01-01T01:01:00+01:00[Europe/Berlin]   the clock shows this time twice; this is the first"
        );
        answer.ticks.clear();
        assert!(preview(&answer).ends_with("\nno tick in this time"));
        answer.state = ScheduleState::Never.into();
        assert!(preview(&answer).ends_with("\nnever fires: the calendar has no such day"));
    }

    #[test]
    fn an_event_says_what_became_of_a_time() {
        let job = JobData {
            outcome: "STARTED".to_owned(),
            schedule: "default".to_owned(),
            tick_time: at(60),
            task: "spaces/s/apps/shop/tasks/7".to_owned(),
            ..JobData::default()
        };
        assert_eq!(became(&job), "STARTED, default, 1970-01-01T00:01:00Z, shop/7");
        assert_eq!(became(&JobData::default()), "");
    }
}
