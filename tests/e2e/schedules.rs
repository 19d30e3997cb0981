//! Ticks on a real process. Time is moved by restarting it further ahead; what a minute does is shown without waiting for one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use taskplane_proto::v1::{self as pb, ConcurrencyPolicy, RunOutcome, TaskState};

use crate::client::Client;
use crate::jobs::{JOB, create, get, job, ledger};
use crate::server::{Options, Server, within};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// So far ahead that the server's next minute begins in about this time.
pub fn before_a_minute(left: Duration, besides: Duration) -> Options {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let millis = (120_000 - left.as_millis() - now.as_millis() % 60_000) % 60_000;
    Options { ahead: Duration::from_millis(u64::try_from(millis).unwrap()) + besides, ..Options::default() }
}

/// Waits until the ledger has so many entries, and returns them oldest first.
async fn entries(client: &Client, count: usize) -> Vec<pb::JobRun> {
    within(async {
        loop {
            let mut runs = ledger(client).await;
            if runs.len() >= count {
                runs.reverse();
                return runs;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_tick_arrives_at_its_time_and_is_told_once() {
    let server = Server::start_with(before_a_minute(Duration::from_secs(3), Duration::ZERO)).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let made = create(&client, job("echo ticked"), Some("* * * * *")).await;
    let due = made.next_tick_time.unwrap();
    assert_eq!(due.seconds % 60, 0);
    let runs = entries(&client, 1).await;
    assert_eq!((runs[0].tick_time, runs[0].outcome(), runs[0].missed_count), (Some(due), RunOutcome::Started, 0));
    let task = client.over(&runs[0].task).await;
    assert_eq!((task.state(), task.tick_time, task.schedule.as_str()), (TaskState::Succeeded, Some(due), "default"));
    let after = get(&client).await;
    assert_eq!((after.last_tick_time, after.next_tick_time.unwrap().seconds), (Some(due), due.seconds + 60));
    let request = pb::ListEventsRequest { parent: "spaces/s".into(), page_size: 500, page_token: String::new() };
    let events = client.events.clone().list_events(request).await.unwrap().into_inner().events;
    let told: Vec<_> =
        events.iter().filter(|event| event.subject == JOB).map(|event| (event.sequence, event.fact.as_str())).collect();
    assert_eq!(told, [(1, "created"), (2, "schedule-created"), (3, "run-started")]);
}

#[tokio::test]
async fn after_thirty_days_down_only_the_latest_tick_runs() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let first = create(&client, job("true"), Some("* * * * *")).await.next_tick_time.unwrap();
    let server = server.restarted(before_a_minute(Duration::from_secs(30), 30 * DAY)).await;
    let client = server.client();
    let runs = entries(&client, 1).await;
    let tick = runs[0].tick_time.unwrap();
    assert_eq!(runs[0].outcome(), RunOutcome::Started);
    assert_eq!(runs[0].missed_count, (tick.seconds - first.seconds) / 60, "every other one is counted");
    assert!(runs[0].missed_count > 43_000);
    client.over(&runs[0].task).await;
    let request = pb::ListTasksRequest { parent: "spaces/s/apps/a".into(), ..Default::default() };
    assert_eq!(client.tasks.clone().list_tasks(request).await.unwrap().into_inner().tasks.len(), 1);
}

#[tokio::test]
async fn a_tick_beyond_its_starting_deadline_is_missed() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    create(&client, job("true"), None).await;
    let schedule = pb::Schedule {
        cron: "0 * * * *".into(),
        starting_deadline: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let request =
        pb::CreateScheduleRequest { parent: JOB.into(), schedule_id: "hourly".into(), schedule: Some(schedule) };
    let made = client.jobs.clone().create_schedule(request).await.unwrap().into_inner();
    let server = server
        .restarted(Options { ahead: 3 * Duration::from_secs(3600) + Duration::from_secs(120), ..Options::default() })
        .await;
    let client = server.client();
    let runs = entries(&client, 1).await;
    assert_eq!((runs[0].outcome(), runs[0].schedule.as_str()), (RunOutcome::Missed, made.name.as_str()));
    assert!(runs[0].task.is_empty());
}

#[tokio::test]
async fn nothing_before_a_resume_or_an_edit_is_made_up_for() {
    let server = Server::start().await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let made = create(&client, job("true"), Some("* * * * *")).await;
    let request = pb::PauseJobRequest { name: JOB.into(), note: "month-end".into(), etag: made.etag };
    let paused = client.jobs.clone().pause_job(request).await.unwrap().into_inner();
    assert_eq!(
        (paused.state(), paused.pause_note.as_str(), paused.next_tick_time),
        (pb::JobState::Paused, "month-end", None)
    );
    let server = server.restarted(before_a_minute(Duration::from_secs(50), 3 * DAY)).await;
    let client = server.client();
    let resumed = client
        .jobs
        .clone()
        .resume_job(pb::ResumeJobRequest { name: JOB.into(), etag: String::new() })
        .await
        .unwrap()
        .into_inner();
    let due = resumed.next_tick_time.unwrap();
    // Its ticks of three days are gone; so is nothing else.
    let run = crate::jobs::run(&client).await;
    client.over(&run.name).await;
    let runs = ledger(&client).await;
    assert!(runs.iter().all(|run| run.tick_time.is_none_or(|tick| tick.seconds >= due.seconds)), "{runs:?}");
}

#[tokio::test]
async fn forbid_skips_and_consumes_a_tick_while_a_task_is_live() {
    let server = Server::start_with(before_a_minute(Duration::from_secs(3), Duration::ZERO)).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let forbid = pb::Job { concurrency_policy: ConcurrencyPolicy::Forbid as i32, ..job("sleep 600") };
    create(&client, forbid, Some("* * * * *")).await;
    let manual = crate::jobs::run(&client).await;
    client.running(&manual.name).await;
    let runs = entries(&client, 2).await;
    assert_eq!(runs[1].outcome(), RunOutcome::SkippedOverlap, "a manual run counts as live");
    client.cancel(&manual.name).await;
    client.over(&manual.name).await;
    assert_eq!(get(&client).await.live_task_count, 0, "the skipped tick does not start late");
}

#[tokio::test]
async fn replace_starts_the_new_task_only_when_the_old_one_is_gone() {
    let server = Server::start_with(before_a_minute(Duration::from_secs(3), Duration::ZERO)).await;
    let client = server.client();
    client.app(&[("a", "")]).await;
    let ledger_file = server.path("ledger");
    // Takes its time to go, and says when it is gone.
    let slow = format!(
        "trap 'sleep 0.3; echo gone >>{0}; exit 0' TERM; echo start >>{0}; while :; do sleep 0.05; done",
        ledger_file.display()
    );
    let replace = pb::Job { concurrency_policy: ConcurrencyPolicy::Replace as i32, ..job(&slow) };
    create(&client, replace, Some("* * * * *")).await;
    let old = crate::jobs::run(&client).await;
    client.running(&old.name).await;
    let runs = entries(&client, 2).await;
    assert_eq!(runs[1].outcome(), RunOutcome::Started);
    assert_eq!(client.over(&old.name).await.state(), TaskState::Cancelled);
    client.running(&runs[1].task).await;
    let text = std::fs::read_to_string(ledger_file).unwrap();
    assert_eq!(text, "start\ngone\nstart\n", "the new one began while the old one was there");
}

#[tokio::test]
async fn a_kill_around_a_tick_makes_neither_two_tasks_nor_none() {
    for point in ["store::ticks_pass::before_commit", "store::ticks_pass::after_commit"] {
        let server = Server::start().await;
        let client = server.client();
        client.app(&[("a", "")]).await;
        let ledger_file = server.path("ledger");
        create(&client, job(&format!("echo ran >>{}", ledger_file.display())), Some("0 0 * * *")).await;
        let options = Options { failpoints: Some(point.into()), ahead: DAY, ..Options::default() };
        let dir = std::sync::Arc::clone(&server.dir);
        // Dies at its first tick, which may be before it is ready.
        server.killed_by(options).await;
        let server =
            Server::start_in(dir, Options { ahead: DAY + Duration::from_secs(60), ..Options::default() }).await;
        let client = server.client();
        let runs = entries(&client, 1).await;
        assert_eq!(client.over(&runs[0].task).await.state(), TaskState::Succeeded, "{point}");
        let marker = client.run("true").await;
        client.over(&marker.name).await;
        assert_eq!(ledger(&client).await.len(), 1, "{point}");
        assert_eq!(std::fs::read_to_string(ledger_file).unwrap(), "ran\n", "{point}");
    }
}
