//! F18: each service is asked to stop while there is work. It ends in good order, the other replica goes on, and nobody loses
//! anything.

use std::time::Duration;

use taskplane_proto::v1 as pb;
use taskplane_proto::v1::task_service_client::TaskServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::calls::ALL_TASKS;
use crate::crowd::gather;
use crate::stage::Stage;
use crate::system::Role;

/// After this an operator's tools would kill it.
const DRAIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn each_service_drains_under_load_and_watchers_are_told_to_come_again() {
    let mut stage = Stage::set(60).await;
    let stop = CancellationToken::new();
    let crowd = gather(&stage.caller, 4, 1, &stop);
    for number in 0..stage.system.members.len() {
        // A watcher of this api, which is cut off in good order and resumes at another one.
        let door = match stage.system.members[number].role {
            Role::Api => Some(stage.system.doors()[number].clone()),
            Role::Scheduler | Role::Reaper | Role::Executor(_) => None,
        };
        let mut watch = None;
        if let Some(door) = door {
            let request = pb::WatchTasksRequest { parent: ALL_TASKS.into(), ..Default::default() };
            let mut stream = TaskServiceClient::new(door).watch_tasks(request).await.unwrap().into_inner();
            // Something is always going on here.
            let first = stream.message().await.unwrap().unwrap();
            watch = Some((stream, first.resume_token));
        }
        let process = &mut stage.system.members[number].process;
        stage.history.fault(format!("{} is asked to stop", process.name));
        process.asks_to_stop();
        let ended = process.end(DRAIN).await;
        let told = |log: String| log.lines().rev().take(20).map(|line| format!("\n{line}")).collect::<String>();
        assert!(
            ended.is_some_and(|status| status.success()),
            "{} ended with {ended:?}: {}",
            process.name,
            told(process.log())
        );
        if let Some((mut stream, mut token)) = watch {
            let end = loop {
                match stream.message().await {
                    Ok(Some(response)) => token = response.resume_token,
                    Ok(None) => panic!("a watch ended without a word"),
                    Err(status) => break status,
                }
            };
            assert_eq!(end.code(), Code::Unavailable, "{end:?}");
            let request = pb::WatchTasksRequest { parent: ALL_TASKS.into(), resume_token: token };
            let other = stage.system.doors().remove(1 - number);
            let mut stream = TaskServiceClient::new(other).watch_tasks(request).await.unwrap().into_inner();
            stream.message().await.unwrap().unwrap();
        }
        stage.system.members[number].start();
        stage.system.is_ready().await;
    }
    stop.cancel();
    crowd.join_all().await;
    stage.judge().await;
}
