//! A thousand calls are dropped in the midst of it: no connection is left in a transaction, and everything is served as before.

use std::time::Duration;

use rand::Rng as _;
use tokio::task::JoinSet;

use crate::calls::{Caller, Outcome};
use crate::history::{Answer, Ask};
use crate::ledger::Script;
use crate::stage::Stage;

const CALLS: u64 = 1000;
/// Of these, so many make a Task.
const TASKS: u64 = 100;
const AT_ONCE: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_dropped_calls_leave_no_connection_behind() {
    let mut stage = Stage::set(1000).await;
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let caller = stage.a_client(u32::try_from(number).unwrap() + 1);
        calls.spawn(dropped(caller, number));
        if calls.len() >= AT_ONCE {
            calls.join_next().await.unwrap().unwrap();
        }
        // At times all that are under way at one door are cut at once.
        if number % 100 == 99 {
            let door = stage.system.members.iter().find_map(|member| member.door.as_ref()).unwrap();
            door.lines[0].reset_all();
        }
    }
    calls.join_all().await;
    let mut caller = stage.a_client(0);
    for number in (0..CALLS).step_by((CALLS / TASKS) as usize) {
        let Answer::Task(first) = caller.learns(run(number)).await else { unreachable!() };
        let Answer::Task(again) = caller.learns(run(number)).await else { unreachable!() };
        assert_eq!(first.uid, again.uid);
    }
    let story = stage.judge().await;
    assert_eq!(story.task_events().count() as u64, TASKS);
    let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%' \
                and state_change < now() - interval '10 seconds'";
    assert_eq!(stage.system.ask_database(open), "0", "connections were left in a transaction");
}

async fn dropped(mut caller: Caller, number: u64) {
    let ask = match number % 10 {
        0 => run(number),
        1..6 => Ask::ListTasks,
        6 => Ask::ListJobs,
        7 => Ask::PushApp { app: "b".into(), command: format!("true #{number}") },
        _ => Ask::GetTask { task: "spaces/s/apps/a/tasks/1".into() },
    };
    let patience = Duration::from_micros(caller.rng.random_range(0..40_000));
    let _: Outcome = caller.ask_within(ask, patience).await;
}

fn run(number: u64) -> Ask {
    Ask::RunTask {
        app: "a".into(),
        display_name: format!("wish-{number}"),
        request_id: format!("request-{number}"),
        script: Script::BRIEF,
    }
}
