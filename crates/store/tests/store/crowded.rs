//! Rows that came faster than the database took notice: its statistics say that there are few, and no statement may depend on
//! that. What reads all of them for each of them reaches the statement timeout.

use taskplane_domain::retention::Cause;
use taskplane_store::RemovalOf;

use crate::kit::{Kit, within_reason};

/// Copies of the row that `from` selects, as many as `count`, with other values where `changed` says so.
fn copies(table: &str, changed: &[(&str, &str)], from: &str, count: u32) -> String {
    let (columns, values): (Vec<&str>, Vec<&str>) = changed.iter().copied().unzip();
    let (names, values, quoted) = (columns.join(", "), values.join(", "), columns.join("', '"));
    format!(
        "DO $do$ DECLARE same text; BEGIN \
             SELECT string_agg(quote_ident(column_name), ', ') INTO same FROM information_schema.columns \
                 WHERE table_name = '{table}' AND column_name NOT IN ('{quoted}'); \
             EXECUTE format('INSERT INTO {table} ({names}, %s) SELECT {values}, %s \
                 FROM (SELECT * FROM {table} WHERE {from} LIMIT 1) one, generate_series(1, {count}) number', same, same); \
         END $do$"
    )
}

async fn crowd(kit: &Kit, events: u32) {
    let changed = [("uid", "gen_random_uuid()"), ("id", "1000000 + number"), ("published_at", "NULL")];
    kit.execute(&copies("events", &changed, "true", events)).await;
}

#[tokio::test]
async fn a_crowd_of_untold_events_does_not_hold_up_removals() {
    within_reason(async {
        let kit = Kit::on_postgres().await;
        let (_, _, task) = kit.the_usual().await;
        let task = kit.cancelled(&task).await;
        kit.published().await;
        assert_eq!(kit.store.removal_mark(RemovalOf::Task(task.uid), Cause::Deleted, 1).await.unwrap(), 1);
        let changed = [("uid", "gen_random_uuid()"), ("id", "100 + number")];
        kit.execute(&copies("tasks", &changed, "true", 800)).await;
        crowd(&kit, 12_000).await;
        assert_eq!(kit.store.removals_purge(1_000).await.unwrap(), 801);
    })
    .await;
}

#[tokio::test]
async fn removals_do_not_depend_on_statistics_from_when_all_events_were_told() {
    within_reason(async {
        let kit = Kit::on_postgres().await;
        let (_, _, task) = kit.the_usual().await;
        let task = kit.cancelled(&task).await;
        kit.published().await;
        kit.execute("ANALYZE").await;
        assert_eq!(kit.store.removal_mark(RemovalOf::Task(task.uid), Cause::Deleted, 1).await.unwrap(), 1);
        let changed = [("uid", "gen_random_uuid()"), ("id", "100 + number")];
        kit.execute(&copies("tasks", &changed, "true", 400)).await;
        crowd(&kit, 300_000).await;
        assert_eq!(kit.store.removals_purge(1_000).await.unwrap(), 401);
    })
    .await;
}

#[tokio::test]
async fn a_crowd_of_untold_events_does_not_hold_up_the_telling() {
    within_reason(async {
        let kit = Kit::on_postgres().await;
        kit.the_usual().await;
        kit.published().await;
        crowd(&kit, 12_000).await;
        // The copies speak of another uid than they stand for.
        assert_eq!(kit.store.outbox_heads(0, 5_000).await.unwrap().corrupt.len(), 5_000);
    })
    .await;
}
