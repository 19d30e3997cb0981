//! F9, F10, F13: the bus is gone, comes back empty, or says nonsense. Accepting never waits for it, nothing depends on it, and
//! afterwards the stream has everything again.

use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use crate::bus;
use crate::calls::{Caller, Outcome};
use crate::history::{Answer, Ask};
use crate::ledger::Script;
use crate::stage::Stage;
use crate::system::{PATIENCE, chance};

const TASKS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_everything_works_and_a_lost_stream_is_filled_again() {
    let mut stage = Stage::set(1000).await;
    let mut caller = stage.a_client(1);
    tasks(&mut caller, "before").await;
    tokio::task::block_in_place(|| {
        stage.system.nats.kill().unwrap();
        stage.system.nats.wipe().unwrap();
    });
    stage.history.fault("the bus is gone, with all it kept".into());
    // To the end, too: the executors are rung by nobody.
    tasks(&mut caller, "meanwhile").await;
    tokio::task::block_in_place(|| stage.system.nats.run().unwrap());
    stage.history.fault("the bus is back, and empty".into());
    tasks(&mut caller, "after").await;
    stage.judge().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_other_orders_and_nonsense_on_the_bus_change_nothing() {
    let mut stage = Stage::set(1000).await;
    let mut caller = stage.a_client(1);
    let stop = CancellationToken::new();
    let echo = tokio::spawn(bus::echoes(stage.system.nats.url(), chance(caller.rng.random()), stop.clone()));
    for round in 0..3 {
        tasks(&mut caller, &format!("round-{round}")).await;
    }
    stop.cancel();
    echo.await.unwrap();
    stage.judge().await;
}

/// Some Tasks, from their acceptance to their end.
async fn tasks(caller: &mut Caller, name: &str) {
    let mut names = Vec::new();
    for number in 0..TASKS {
        let ask = Ask::RunTask {
            app: "a".into(),
            display_name: format!("wish-{name}-{number}"),
            request_id: format!("request-{name}-{number}"),
            script: Script::BRIEF,
        };
        let Outcome::Told(Answer::Task(task)) = caller.ask(ask).await else { panic!("not accepted") };
        names.push(task.task);
    }
    let until = Instant::now() + PATIENCE;
    for task in names {
        loop {
            let Answer::Task(seen) = caller.learns(Ask::GetTask { task: task.clone() }).await else { unreachable!() };
            if seen.state == "SUCCEEDED" {
                break;
            }
            assert!(Instant::now() < until, "{seen:?} does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
