use taskplane_proto::v1::{Reason, SourceArchive};

use super::*;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn a_task(id: i64, state: TaskState) -> Task {
    Task {
        name: format!("spaces/s/apps/shop/tasks/{id}"),
        id,
        display_name: format!("task-{id}"),
        state: state.into(),
        create_time: at(0),
        ..Task::default()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(100).unwrap()
}

#[test]
fn tasks_have_the_columns_of_kf() {
    let mut running = a_task(12, TaskState::Running);
    running.start_time = at(90);
    let mut failed = a_task(2, TaskState::Failed);
    (failed.reason, failed.start_time, failed.end_time) = (Reason::ExitCode.into(), at(10), at(31));
    let mut again = a_task(3, TaskState::Pending);
    again.reason = Reason::StartFailed.into();
    assert_eq!(
        tasks(&[running, failed, again, a_task(4, TaskState::Succeeded)], now()),
        "\
Name      ID   DisplayName   Age    Duration   Succeeded   Reason
shop/12   12   task-12       100s   10s        Unknown     Running
shop/2    2    task-2        100s   21s        False       ExitCode
shop/3    3    task-3        100s   <none>     Unknown     Pending
shop/4    4    task-4        100s   <none>     True        Succeeded"
    );
}

#[test]
fn an_empty_list_shows_its_columns() {
    assert_eq!(tasks(&[], now()), "Name   ID   DisplayName   Age   Duration   Succeeded   Reason");
}

#[test]
fn a_hostile_display_name_stays_in_its_cell() {
    let mut task = a_task(1, TaskState::Running);
    task.display_name = "a\nfake/9   9\x1b[2J".to_owned();
    let table = tasks(&[task], now());
    assert_eq!(table.lines().count(), 2);
    assert!(table.contains("a\\nfake/9   9\\x1b[2J"));
}

#[test]
fn apps_are_stopped_and_show_their_source() {
    let archive = SourceArchive { sha256: "0123456789abcdef".to_owned(), size_bytes: 2048, entry_count: 2 };
    let app = App {
        name: "spaces/s/apps/shop".to_owned(),
        revision: 3,
        task_only: true,
        source: Some(AppSource { kind: Some(app_source::Kind::Archive(archive)) }),
        resources: Some(Resources { memory: "256Mi".to_owned(), ..Resources::default() }),
        create_time: at(0),
        ..App::default()
    };
    assert_eq!(
        apps(&[app], now()),
        "\
Name   Requested State   Source                           Memory   Disk     CPU      Revision   Age
shop   stopped           archive 0123456789ab (2.0 KiB)   256Mi    <none>   <none>   3          100s"
    );
}

#[test]
fn a_sheet_lists_attempts() {
    let mut task = a_task(1, TaskState::Failed);
    task.attempts.push(Attempt { number: 1, message: "exit code 3".to_owned(), ..Attempt::default() });
    let sheet = super::task(&task, now());
    assert!(sheet.starts_with("Name:          shop/1\n"), "{sheet}");
    assert!(sheet.contains("\nAttempt   Age"), "{sheet}");
}

#[test]
fn sizes_are_for_people() {
    assert_eq!(bytes(12), "12 B");
    assert_eq!(bytes(1536), "1.5 KiB");
    assert_eq!(bytes(5 << 40), "5.0 TiB");
    assert_eq!(bytes(5000 << 40), "5000.0 TiB");
}
