//! Callers that go away in the midst of a call.

use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use taskplane_proto::v1 as pb;

use crate::client::task;
use crate::kit::System;
use crate::server::within;

const CALLS: u64 = 1000;
const AT_ONCE: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_that_are_dropped_midway_poison_no_connection() {
    let system = System::start(&["api-1"]).await;
    let client = system.client("api-1");
    client.app(&[("x", "x")]).await;
    let dropped = futures::stream::iter(0..CALLS).map(|turn| {
        let client = client.clone();
        async move {
            let call = async {
                match turn % 3 {
                    0 => drop(client.run_task(task("true")).await),
                    1 => drop(client.tasks.clone().list_tasks(list()).await),
                    _ => drop(client.apps.clone().get_app(pb::GetAppRequest { name: "spaces/s/apps/a".into() }).await),
                }
            };
            // From before it leaves us to after its answer is there.
            let _ = tokio::time::timeout(Duration::from_micros(turn * 131 % 20_000), call).await;
        }
    });
    dropped.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;

    // A connection on which too many calls were taken back at once is closed, as it should be: the others use one of their own.
    let client = system.client("api-1");
    // As many calls as there are connections, all at once, and twice over: each finds one that works.
    let writes = futures::future::join_all((0..32).map(|_| client.run("true")));
    let reads = futures::future::join_all((0..32).map(|_| async { client.tasks.clone().list_tasks(list()).await }));
    let (written, read) = within(futures::future::join(writes, reads)).await;
    assert!(read.iter().all(Result::is_ok));
    // Numbers have no gap: whatever was given up was done whole, or not at all.
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = client.tasks.clone().list_tasks(pb::ListTasksRequest { page_token, page_size: 500, ..list() }).await;
        let page = page.unwrap().into_inner();
        ids.extend(page.tasks.iter().map(|task| task.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=i64::try_from(ids.len()).unwrap()).collect::<Vec<_>>());
    assert!(ids.len() >= written.len());

    // No transaction was left open, waiting for a caller that does not come.
    let db = Database::connect(&system.database).await.unwrap();
    let text = "SELECT count(*) AS left_open FROM pg_stat_activity \
         WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND now() - state_change > interval '1 second'";
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, text)).await.unwrap().unwrap();
    assert_eq!(row.try_get::<i64>("", "left_open").unwrap(), 0);
    assert!(!system.processes[0].log().contains("panic"));
}

fn list() -> pb::ListTasksRequest {
    pb::ListTasksRequest { parent: "spaces/s/apps/a".into(), ..Default::default() }
}
