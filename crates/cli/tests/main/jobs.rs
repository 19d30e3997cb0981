//! Jobs, their schedules and their ledger, against the scripted service.

use taskplane_proto::v1::{Job, JobState, Reason, TaskState};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::scripted::{Running, Script, a_task};
use crate::scripted_jobs::{JOB, JobScript, a_job};
use crate::{refusal, run, text};

fn serve(jobs: JobScript) -> Running {
    Running::start(Script { jobs, ..Script::default() })
}

fn with(job: Job) -> Running {
    serve(JobScript { job: Some(job), ..JobScript::default() })
}

/// What a successful command says on both streams.
fn said(server: &Running, words: &[&str]) -> (String, String) {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &server.url, words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn refused(server: &Running, words: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    refusal(&run(home.path(), &server.url, words)).1
}

#[test]
fn a_job_is_made_and_the_next_commands_are_named() {
    let server = serve(JobScript::default());
    let (out, _) = said(&server, &["create-job", "shop", "nightly", "bin/report", "-s", "0 9 * * *", "-e", "A=1"]);
    assert_eq!(
        out,
        "Job nightly created.\n\nSchedule:   at 09:00 every day (UTC)\nNext tick:  <none>\nRun it:     taskplane run-job \
         nightly\n"
    );
    let (out, _) = said(&server, &["create-job", "shop", "nightly"]);
    assert!(out.ends_with("Schedule it:   taskplane schedule-job nightly CRON\n"), "{out}");
    let script = server.script.lock().unwrap();
    let request = &script.jobs.created[0];
    assert_eq!((request.parent.as_str(), request.job_id.as_str()), ("spaces/s", "nightly"));
    assert_eq!(request.schedule.as_ref().unwrap().cron, "0 9 * * *");
    assert!(script.jobs.created[1].schedule.is_none());
}

#[test]
fn a_refused_job_points_at_the_arguments() {
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("schedule.cron", "minute 61 is out of range: want 0 to 59");
    details.add_bad_request_violation("schedule.time_zone", "is not a time zone");
    details.add_bad_request_violation("job.template.command", "is too long");
    let refusal = Status::with_error_details(Code::InvalidArgument, "three fields", details);
    let server = serve(JobScript { refusal: Some(refusal), ..JobScript::default() });
    let line = refused(&server, &["create-job", "shop", "nightly", "-s", "61 * * * *", "--time-zone", "Mars"]);
    assert_eq!(
        line,
        "taskplane: CRON: minute 61 is out of range: want 0 to 59, --time-zone: is not a time zone, COMMAND: is too long"
    );
}

#[test]
fn scheduling_replaces_the_one_schedule_with_a_warning() {
    let server = with(a_job(&["default"]));
    let (out, err) = said(&server, &["schedule-job", "nightly", "@hourly", "--deadline", "5m"]);
    assert!(out.starts_with("Job nightly scheduled.\n\nSchedule:   "), "{out}");
    assert_eq!(err, "warning: schedule default of Job nightly was `0 9 * * *` and is replaced\n");
    let (_, err) = said(&server, &["schedule-job", "nightly", "0 9 * * *"]);
    assert_eq!(err, "", "nothing was replaced");
    let script = server.script.lock().unwrap();
    let request = &script.jobs.changed_schedules[0];
    let schedule = request.schedule.as_ref().unwrap();
    assert_eq!((schedule.etag.as_str(), schedule.starting_deadline.unwrap().seconds), ("1", 300));
    assert_eq!(request.update_mask.as_ref().unwrap().paths.len(), 6);
}

#[test]
fn a_first_and_an_added_schedule_are_made_once_though_the_answer_is_lost() {
    let jobs = JobScript { job: Some(a_job(&[])), lost_answers: 1, ..JobScript::default() };
    let server = serve(jobs);
    assert!(said(&server, &["schedule-job", "nightly", "@daily"]).0.starts_with("Job nightly scheduled."));
    server.script.lock().unwrap().jobs.lost_answers = 1;
    let (out, _) = said(&server, &["schedule-job", "nightly", "@weekly", "--add", "-o", "name"]);
    assert!(out.starts_with(&format!("{JOB}/schedules/s-")), "{out}");
    let script = server.script.lock().unwrap();
    assert_eq!(script.jobs.job.as_ref().unwrap().schedules.len(), 2);
    assert_eq!(script.jobs.new_schedules[0].schedule_id, "default");
    assert_eq!(script.jobs.new_schedules.len(), 4);
}

#[test]
fn an_added_schedule_does_not_take_the_place_of_another() {
    let server = with(a_job(&["default"]));
    let line = refused(&server, &["schedule-job", "nightly", "@weekly", "--add", "--schedule", "default"]);
    assert_eq!(line, "taskplane: spaces/s/jobs/nightly/schedules/default exists already");
}

#[test]
fn with_several_schedules_somebody_has_to_choose() {
    let server = with(a_job(&["a", "b"]));
    let line = refused(&server, &["schedule-job", "nightly", "@daily"]);
    assert!(line.starts_with("taskplane: Job nightly has 2 schedules: a (`0 9 * * *`), b ("), "{line}");
    assert!(line.ends_with("replace one with --schedule ID, or make another with --add"), "{line}");
    let line = refused(&server, &["delete-job-schedule", "nightly"]);
    assert!(line.ends_with("say which one by its ID"), "{line}");
    let (out, _) = said(&server, &["delete-job-schedule", "nightly", "uid-b"]);
    assert_eq!(out, "Schedule b of Job nightly deleted.\n");
    assert_eq!(server.script.lock().unwrap().jobs.deleted_schedules[0].name, format!("{JOB}/schedules/b"));
}

#[test]
fn a_schedule_that_is_not_there_cannot_be_deleted() {
    let server = with(a_job(&[]));
    assert_eq!(refused(&server, &["delete-job-schedule", "nightly"]), "taskplane: Job nightly has no schedule");
}

#[test]
fn a_paused_job_says_so_when_it_is_scheduled() {
    let server = with(a_job(&["default"]));
    let (out, _) = said(&server, &["pause-job", "nightly", "--note", "until the move"]);
    assert_eq!(out, "Job nightly paused.\n");
    let (out, _) = said(&server, &["job", "nightly"]);
    assert!(out.contains("Paused") && out.contains("until the move"), "{out}");
    let (_, err) = said(&server, &["schedule-job", "nightly", "0 9 * * *"]);
    assert_eq!(err, "Job nightly is paused; `taskplane resume-job nightly` lets it fire\n");
    assert_eq!(said(&server, &["job-schedules"]).0.lines().count(), 1);
    assert_eq!(said(&server, &["job-schedules", "-a", "-o", "name"]).0, format!("{JOB}/schedules/default\n"));
    assert_eq!(said(&server, &["resume-job", "nightly"]).0, "Job nightly resumed.\n");
    assert_eq!(said(&server, &["job-schedules", "nightly"]).0.lines().count(), 2);
}

#[test]
fn jobs_are_listed_over_all_pages_in_every_form() {
    let server = with(a_job(&["default"]));
    assert!(
        said(&server, &["jobs"])
            .0
            .starts_with("Name      Schedule    Suspend   LastSchedule   ConcurrencyPolicy   Age")
    );
    assert_eq!(said(&server, &["jobs", "-o", "name"]).0, format!("{JOB}\n"));
    let list: serde_json::Value = serde_json::from_str(&said(&server, &["jobs", "-o", "json"]).0).unwrap();
    assert_eq!(list["jobs"][0]["schedules"][0]["cron"], "0 9 * * *");
    assert!(said(&server, &["job", JOB, "-o", "yaml"]).0.contains("\nname: spaces/s/jobs/nightly\n"));
}

#[test]
fn a_job_runs_as_a_task_does_and_can_be_waited_for() {
    let task =
        taskplane_proto::v1::Task { exit_code: Some(3), reason: Reason::ExitCode.into(), ..a_task(TaskState::Failed) };
    let jobs = JobScript { job: Some(a_job(&[])), ..JobScript::default() };
    let server = Running::start(Script { jobs, task, ..Script::default() });
    let (out, _) = said(&server, &["run-job", "nightly", "-c", "true", "--name", "once"]);
    assert!(out.starts_with("Task shop/7 is submitted successfully for execution.\n"), "{out}");
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &server.url, &["run-job", "nightly", "--wait"]);
    assert_eq!(output.status.code(), Some(3));
    let script = server.script.lock().unwrap();
    let request = &script.jobs.runs[0];
    assert_eq!((request.name.as_str(), request.command.as_str(), request.display_name.as_str()), (JOB, "true", "once"));
    assert_eq!(request.request_id.len(), 36);
}

#[test]
fn a_deletion_says_what_it_ends_and_waits_until_the_job_is_gone() {
    let job = Job { live_task_count: 3, ..a_job(&["default"]) };
    let jobs = JobScript { job: Some(job), looks_until_gone: 2, ..JobScript::default() };
    let server = serve(jobs);
    let (out, _) = said(&server, &["delete-job", "nightly", "--async", "--grace", "90s"]);
    assert_eq!(out, "Job nightly is submitted for deletion. 3 live Tasks of it are ended within 1m 30s.\n");
    let (out, _) = said(&server, &["delete-job", "nightly"]);
    assert_eq!(
        out,
        "Job nightly is being deleted already. 3 live Tasks of it are ended by force.\nJob nightly deleted.\n"
    );
    {
        let script = server.script.lock().unwrap();
        let [first, second] = script.jobs.deleted.as_slice() else { panic!("{:?}", script.jobs.deleted) };
        assert_eq!((first.etag.as_str(), first.grace.unwrap().seconds, second.grace), ("7", 90, None));
        assert!(script.jobs.job.is_none());
    }
    assert_eq!(refused(&server, &["delete-job", "nightly"]), "taskplane: spaces/s/jobs/nightly not found");
}

#[test]
fn the_history_is_the_ledger_or_the_tasks() {
    let server = with(a_job(&[]));
    let (out, err) = said(&server, &["job-history", "nightly"]);
    assert!(out.starts_with("Tick        Schedule   Outcome   Task     Missed   Age"), "{out}");
    assert_eq!((out.lines().count(), err.as_str()), (3, ""));
    let (out, err) = said(&server, &["job-history", "nightly", "-n", "1"]);
    assert_eq!((out.lines().count(), err.as_str()), (2, "there are older ones; -n/--limit shows more than 1\n"));
    let list: serde_json::Value =
        serde_json::from_str(&said(&server, &["job-history", "nightly", "-o", "json"]).0).unwrap();
    assert_eq!(list["runs"][1]["name"], format!("{JOB}/runs/1"));
    let (out, _) = said(&server, &["job-history", "nightly", "--tasks"]);
    assert!(out.starts_with("Name     ID   DisplayName"), "{out}");
    let script = server.script.lock().unwrap();
    let request = script.task_lists.last().unwrap();
    assert_eq!((request.parent.as_str(), request.filter.as_str()), ("spaces/s/apps/-", "job=\"nightly\""));
}

#[test]
fn a_preview_needs_no_space_and_says_never() {
    let server = serve(JobScript { ticks: 2, ..JobScript::default() });
    let home = tempfile::tempdir().unwrap();
    let words = ["--api", &server.url, "preview-schedule", "* * * * *", "--to", "2026-03-29"];
    let output = crate::taskplane(home.path()).args(words).output().unwrap();
    assert_eq!(
        text(&output.stdout),
        "Schedule:        in words\nTime zone data:  2026a\n\nUTC                    Local   Remark\n1970-01-01T00:01:00Z   local   \
         remark\n1970-01-01T00:02:00Z   local   remark\n"
    );
    let (out, _) = said(&server, &["preview-schedule", "* * * * *", "-o", "name"]);
    assert_eq!(out, "1970-01-01T00:01:00Z\n1970-01-01T00:02:00Z\n");
    let (out, _) = said(&server, &["preview-schedule", "* * * * *", "-o", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["tzdbRelease"], "2026a");
    server.script.lock().unwrap().jobs.ticks = 0;
    let (out, _) = said(&server, &["preview-schedule", "0 0 30 2 *"]);
    assert!(out.ends_with("\nnever fires: the calendar has no such day\n"), "{out}");
    let script = server.script.lock().unwrap();
    assert_eq!((script.jobs.previews[0].count, script.jobs.previews[1].count), (1000, 0));
}

#[test]
fn a_job_that_is_being_deleted_shows_it() {
    let server = with(Job { state: JobState::Deleting.into(), ..a_job(&[]) });
    let (out, _) = said(&server, &["jobs"]);
    assert!(out.lines().nth(1).unwrap().contains("False   Deleting"), "{out}");
}
