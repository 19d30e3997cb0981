//! Rows that make no sense.

use taskplane_store::StoreError;

use crate::kit::Kit;

crate::on_both_engines![
    a_row_that_makes_no_sense_is_named_to_the_cell,
    specs_and_events_that_cannot_be_read_are_named_too,
];

async fn a_row_that_makes_no_sense_is_named_to_the_cell(kit: Kit) {
    let (_, _, task) = kit.the_usual().await;
    for (damage, column) in [
        ("state = 'SLEEPING'", "state"),
        ("state = 'RUNNING'", "run_uid"),
        ("state = 'PENDING', started_at = 5", "started_at"),
        ("state = 'CANCELLING', run_uid = 'r', made_at = 1", "cancel_since"),
        ("state = 'FAILED', started_at = NULL, run_uid = NULL, made_at = NULL, finished_at = 9", "reason"),
        ("reason = 'BAD_LUCK', message = 'm'", "reason"),
        ("reason = 'EXIT_CODE', id = -1", "id"),
        ("id = 1, app = 'Not A Label'", "app"),
        ("app = 'a', cluster = ''", "cluster"),
        ("cluster = 'local', created_at = 9223372036854775807", "created_at"),
    ] {
        kit.execute(&format!("UPDATE tasks SET {damage}")).await;
        match kit.store.task_get_by_uid(task.uid).await {
            Err(StoreError::Corrupt(corrupt)) => {
                assert_eq!((corrupt.table, corrupt.column), ("tasks", column), "{damage}");
                assert_eq!(corrupt.row, task.uid.to_string());
            }
            other => panic!("{damage}: {other:?}"),
        }
    }
}

async fn specs_and_events_that_cannot_be_read_are_named_too(kit: Kit) {
    let (space, app, task) = kit.the_usual().await;
    let bytes = if kit.url.starts_with("sqlite") { "x'ff'" } else { "'\\xff'" };
    let named = |error: StoreError| match error {
        StoreError::Corrupt(corrupt) => (corrupt.table, corrupt.column),
        error => panic!("{error}"),
    };
    kit.execute(&format!("UPDATE tasks SET conditions = {bytes}")).await;
    assert_eq!(named(kit.store.task_get(&task.name).await.unwrap_err()), ("tasks", "conditions"));
    kit.execute(&format!("UPDATE tasks SET conditions = NULL, spec = {bytes}")).await;
    assert_eq!(named(kit.store.task_get(&task.name).await.unwrap_err()), ("tasks", "spec"));
    kit.execute(&format!("UPDATE app_revisions SET spec = {bytes}")).await;
    assert_eq!(named(kit.store.app_get(&app.name).await.unwrap_err()), ("app_revisions", "spec"));
    kit.execute("DELETE FROM space_envs").await;
    assert_eq!(named(kit.store.space_get(&space.name).await.unwrap_err()), ("spaces", "env_revision"));
    let corrupt = async || {
        let heads = kit.store.outbox_heads(0, 10).await.unwrap();
        assert!(heads.events.is_empty());
        heads.corrupt.into_iter().map(|(_, corrupt)| (corrupt.table, corrupt.column)).collect::<Vec<_>>()
    };
    kit.execute("UPDATE events SET fact = 'dreamt'").await;
    assert_eq!(corrupt().await, [("events", "fact"); 3]);
    kit.execute(&format!("UPDATE events SET data = {bytes}")).await;
    assert_eq!(corrupt().await, [("events", "data"); 3]);
    kit.execute("DELETE FROM feed").await;
    assert_eq!(named(kit.store.feed_head().await.unwrap_err()), ("feed", "position"));
}
