//! F3, F7: the database is cut off, or crashes. Nobody waits long to be told so, and once it is back everybody has it again.

use std::time::Duration;

use taskplane_proto::v1 as pb;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use taskplane_testkit::postgres::Stop;
use taskplane_testkit::proxy::Weather;
use tonic::Code;
use tonic::transport::Channel;

use crate::calls::ALL_TASKS;
use crate::ledger::Script;
use crate::stage::Stage;
use crate::system::Role;

/// Nobody who asks waits longer for a database that does not answer; and as long again for a machine that is busy.
const TOLD: Duration = Duration::from_secs(5 + 5);
/// From the moment that it takes connections again, everybody has one within this time.
const BACK: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told_of_at_once_and_had_again_at_once() {
    let mut stage = Stage::set(1000).await;
    let apis = || stage.system.members.iter().filter(|member| member.role == Role::Api);
    let doors = stage.system.doors();
    for api in apis() {
        api.database.as_ref().unwrap().set(Weather::Blackhole);
    }
    stage.history.fault("no api reaches the database".into());
    for door in &doors {
        away(door.clone()).await;
    }
    for api in apis() {
        api.database.as_ref().unwrap().set(Weather::Clear);
    }
    had(&doors).await;

    tokio::task::block_in_place(|| stage.system.postgres.stop(Stop::Immediate).unwrap());
    stage.history.fault("the database has crashed".into());
    for door in &doors {
        away(door.clone()).await;
    }
    tokio::task::block_in_place(|| stage.system.postgres.resume().unwrap());
    had(&doors).await;
    let mut caller = stage.a_client(1);
    let ask = crate::history::Ask::RunTask {
        app: "a".into(),
        display_name: "wish-after".into(),
        request_id: "request-after".into(),
        script: Script::BRIEF,
    };
    caller.learns(ask).await;
    stage.judge().await;
}

/// Whoever reads and whoever writes is told in time.
async fn away(door: Channel) {
    let mut tasks = TaskServiceClient::new(door);
    let read = tasks.list_tasks(pb::ListTasksRequest { parent: ALL_TASKS.into(), ..Default::default() });
    let read = tokio::time::timeout(TOLD, read).await.expect("a reader is told in time").map(drop);
    // Without an id of its own, and refused: it is asked for once.
    let write =
        tasks.cancel_task(pb::CancelTaskRequest { name: "spaces/s/apps/a/tasks/1".into(), ..Default::default() });
    let write = tokio::time::timeout(TOLD, write).await.expect("a writer is told in time").map(drop);
    for told in [read, write] {
        assert_eq!(told.unwrap_err().code(), Code::Unavailable);
    }
}

/// By each of them, in time.
async fn had(doors: &[Channel]) {
    let all = async {
        for door in doors {
            let mut tasks = TaskServiceClient::new(door.clone());
            let list = || pb::ListTasksRequest { parent: ALL_TASKS.into(), ..Default::default() };
            while tasks.list_tasks(list()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    tokio::time::timeout(BACK, all).await.expect("everybody has the database again");
}
