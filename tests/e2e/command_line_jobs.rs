//! The command line about Jobs and schedules.

use serde_json::Value;

use crate::terminal::{Terminal, cells};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_job_is_made_run_looked_at_and_deleted() {
    let terminal = Terminal::with_app().await;
    let made = terminal.ok(&[
        "create-job",
        "a",
        "nightly",
        "cat file",
        "-s",
        "30 2 * * *",
        "-c",
        "Forbid",
        "--time-zone",
        "Europe/Berlin",
    ]);
    assert!(made.starts_with("Job nightly created."), "{made}");
    let waited = terminal.run(&["run-job", "nightly", "--wait"]);
    assert_eq!((waited.code, waited.out.as_str()), (Some(0), "content\n"), "{}", waited.err);
    assert_eq!(terminal.run(&["run-job", "nightly", "-c", "exit 3", "-w"]).code, Some(3));

    let table = terminal.ok(&["jobs"]);
    let rows = cells(&table);
    assert_eq!(
        rows[0],
        ["Name", "Schedule", "Suspend", "LastSchedule", "ConcurrencyPolicy", "Age", "Ready", "Reason", "NextSchedule"]
    );
    assert_eq!(rows[1][..5], ["nightly", "30 2 * * * (Europe/Berlin)", "False", "<none>", "Forbid"]);
    let job = json(&terminal.ok(&["job", "nightly", "-o", "json"]));
    assert_eq!((&job["name"], &job["state"]), (&"spaces/s/jobs/nightly".into(), &"JOB_STATE_ACTIVE".into()));
    let history = json(&terminal.ok(&["job-history", "nightly", "-o", "json"]));
    assert_eq!(history["runs"].as_array().unwrap().len(), 2);
    assert_eq!(terminal.ok(&["tasks", "--job", "nightly", "-o", "name"]).lines().count(), 2);

    let deleted = terminal.ok(&["delete-job", "nightly", "-f"]);
    assert!(deleted.ends_with("Job nightly deleted.\n"), "{deleted}");
    let (code, line) = terminal.refusal(&["job", "nightly"]);
    assert!(code == 1 && line.contains("nightly") && line.contains("not found"), "{line}");
}

#[tokio::test]
async fn schedules_are_set_added_held_back_and_taken_away() {
    let terminal = Terminal::with_app().await;
    terminal.ok(&["create-job", "a", "j", "true"]);
    assert!(terminal.ok(&["schedule-job", "j", "0 9 * * 1-5"]).starts_with("Job j scheduled."));
    // As kf does: the one schedule is replaced, and a warning says so.
    let replaced = terminal.run(&["schedule-job", "j", "0 10 * * *"]);
    assert_eq!(replaced.code, Some(0));
    assert!(replaced.err.contains("0 9 * * 1-5"), "{}", replaced.err);
    terminal.ok(&["schedule-job", "j", "@hourly", "--add"]);
    let (code, line) = terminal.refusal(&["schedule-job", "j", "0 11 * * *"]);
    assert!(code == 1 && line.contains("0 10 * * *") && line.contains("@hourly") && line.contains("--add"), "{line}");

    terminal.ok(&["pause-job", "j", "--note", "month-end"]);
    assert_eq!(json(&terminal.ok(&["job", "j", "-o", "json"]))["pauseNote"], "month-end");
    terminal.ok(&["resume-job", "j"]);
    assert_eq!(cells(&terminal.ok(&["job-schedules", "j"])).len(), 3);
    let (code, line) = terminal.refusal(&["delete-job-schedule", "j"]);
    assert!(code == 1 && line.contains("2 schedules"), "{line}");
    terminal.ok(&["delete-job-schedule", "j", "default"]);
    terminal.ok(&["delete-job-schedule", "j"]);
    let (code, _) = terminal.refusal(&["delete-job-schedule", "j"]);
    assert_eq!(code, 1, "there is none left");
}

#[tokio::test]
async fn a_preview_shows_what_a_dst_day_does_and_what_never_fires() {
    let terminal = Terminal::with_app().await;
    let from = ["--time-zone", "Europe/Berlin", "-n", "3", "--from", "2026-03-28T00:00:00Z"];
    let shown = terminal.ok(&[&["preview-schedule", "30 2 * * *"], &from[..]].concat());
    assert!(shown.contains("2026-03-29T03:00:00+02:00[Europe/Berlin]") && shown.contains("jumps over"), "{shown}");
    assert!(terminal.ok(&["preview-schedule", "0 0 30 2 *"]).contains("never"));
}

#[tokio::test]
async fn what_is_wrong_points_at_the_argument() {
    let terminal = Terminal::with_app().await;
    terminal.ok(&["create-job", "a", "j", "true"]);
    for (words, said) in [
        (&["schedule-job", "j", "61 * * * *"][..], "CRON"),
        (&["schedule-job", "j", "* * * *"], "CRON"),
        (&["schedule-job", "j", "0 0 * * *", "--time-zone", "Mars/Base"], "--time-zone"),
        (&["create-job", "nowhere", "k", "true"], "not found"),
        (&["create-job", "a", "j", "true"], "exists already"),
        (&["run-job", "nowhere"], "not found"),
        (&["preview-schedule", "@every 1s"], "CRON"),
    ] {
        let (code, line) = terminal.refusal(words);
        assert!(code == 1 && line.contains(said), "{words:?}: {line}");
    }
}
