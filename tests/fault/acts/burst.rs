//! F14: more Tasks than may be live come at once. What is too much is refused, what was accepted is completed, and no process grows
//! beyond its bounds.

use std::time::Duration;

use rand::Rng as _;
use tokio::task::JoinSet;
use tonic::Code;

use crate::calls::{Caller, Outcome};
use crate::history::{Answer, Ask};
use crate::ledger::Script;
use crate::stage::Stage;
use crate::system::{burst, duration};

/// As many as `make test` has time for; `make chaos` sends more, the longer it lasts, or as many as BURST says.
const BRIEFLY: u64 = 200;
const PER_SECOND: u64 = 17;
const MOST: u64 = 10_000;
const CLIENTS: u64 = 20;
const LIVE: i32 = 30;
/// Of each process.
const CEILING: u64 = 256 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn of_a_burst_all_that_is_accepted_is_completed_and_the_rest_is_refused() {
    let mut stage = Stage::set(LIVE).await;
    let mut first = stage.a_client(0);
    // However slow this machine is: these do not end, hence the next one is too much.
    let endless = Script { beats: u32::MAX, ..Script::BRIEF };
    let mut names = Vec::new();
    for number in 0..u64::try_from(LIVE).unwrap() {
        let Answer::Task(task) = first.learns(wish("endless", number, endless)).await else { unreachable!() };
        names.push(task.task);
    }
    let Outcome::Refused(status) = first.ask(wish("too-much", 0, Script::BRIEF)).await else { panic!("accepted") };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    for task in names {
        first.learns(Ask::CancelTask { task }).await;
    }
    let lasting = duration().map(|duration| (PER_SECOND * duration.as_secs()).clamp(BRIEFLY, MOST));
    let tasks = burst().or(lasting).unwrap_or(BRIEFLY);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let caller = stage.a_client(u32::try_from(client).unwrap() + 1);
        clients.spawn(wants(caller, client, tasks / CLIENTS));
    }
    clients.join_all().await;
    let story = stage.judge().await;
    let succeeded = story.feed.values().flatten().filter(|event| event.fact == "succeeded").count() as u64;
    assert_eq!(succeeded, tasks / CLIENTS * CLIENTS);
    for member in &mut stage.system.members {
        let peak = member.process.peak();
        assert!(peak < CEILING, "{} took {peak} bytes", member.process.name);
    }
}

/// Asks for so many, each until it is accepted.
async fn wants(mut caller: Caller, client: u64, tasks: u64) {
    for number in 0..tasks {
        let ask = wish(&client.to_string(), number, Script::BRIEF);
        loop {
            match caller.ask(ask.clone()).await {
                Outcome::Told(_) => break,
                Outcome::Refused(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
                Outcome::Unsure => {}
            }
            // As the answer asks clients to.
            let pause = Duration::from_millis(caller.rng.random_range(200..2000));
            tokio::time::sleep(pause).await;
        }
    }
}

fn wish(of: &str, number: u64, script: Script) -> Ask {
    Ask::RunTask {
        app: "a".into(),
        display_name: format!("wish-{of}-{number}"),
        request_id: format!("request-{of}-{number}"),
        script,
    }
}
