//! F3: all apis are gone at once, for longer than a lease. What runs runs on, no executor lapses, and what ended meanwhile is told of
//! when there is somebody to tell.

use std::time::Duration;

use taskplane_domain::session::LEASE;

use crate::calls::Outcome;
use crate::history::{Answer, Ask};
use crate::ledger::{self, Mark, Script};
use crate::stage::Stage;
use crate::system::Role;

/// They end while nobody can be told, and after.
const SHORT: Script = Script { beats: 60, ..Script::BRIEF };
const LONG: Script = Script { beats: 500, ..Script::BRIEF };
const OF_EACH: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn without_any_api_tasks_run_on_and_their_ends_are_told_afterwards() {
    let mut stage = Stage::set(1000).await;
    let mut caller = stage.a_client(1);
    let mut names = Vec::new();
    for number in 0..OF_EACH {
        for (kind, script) in [("long", LONG), ("short", SHORT)] {
            let ask = Ask::RunTask {
                app: "a".into(),
                display_name: format!("wish-{kind}-{number}"),
                request_id: format!("request-{kind}-{number}"),
                script,
            };
            let Outcome::Told(Answer::Task(task)) = caller.ask(ask).await else { panic!("not accepted") };
            names.push(task.task);
        }
    }
    for name in &names {
        let get = Ask::GetTask { task: name.clone() };
        while matches!(caller.learns(get.clone()).await, Answer::Task(task) if task.state == "PENDING" || task.state == "STARTING")
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let sessions =
        |stage: &Stage| stage.system.ask_database("select uid from sessions where closed_at is null order by uid");
    let before = sessions(&stage);
    for member in stage.system.members.iter_mut().filter(|member| member.role == Role::Api) {
        member.process.kill();
    }
    stage.history.fault("all apis are gone".into());
    // The database and its reapers are there, and time passes.
    tokio::time::sleep(LEASE * 2).await;
    while ended(&stage) < usize::try_from(OF_EACH).unwrap() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for member in stage.system.members.iter_mut().filter(|member| member.role == Role::Api) {
        member.start();
    }
    stage.system.is_ready().await;
    stage.history.fault("all apis are back".into());
    for name in names {
        let get = Ask::GetTask { task: name };
        loop {
            let Answer::Task(task) = caller.learns(get.clone()).await else { unreachable!() };
            match task.state.as_str() {
                "SUCCEEDED" => break,
                "RUNNING" => tokio::time::sleep(Duration::from_millis(100)).await,
                _ => panic!("{task:?}"),
            }
        }
    }
    assert_eq!(sessions(&stage), before, "the executors' sessions held");
    stage.judge().await;
}

/// How many commands came to their end, as they say themselves.
fn ended(stage: &Stage) -> usize {
    let text = std::fs::read_to_string(stage.system.path("ledger")).unwrap();
    ledger::parse(&text).iter().filter(|entry| entry.mark == Mark::End).count()
}
