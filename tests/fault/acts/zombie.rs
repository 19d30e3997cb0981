//! F2: an executor stands still for longer than its lease, and wakes up. Meanwhile its Tasks were called lost; it changes nothing
//! any more, ends what it ran, and what comes after is done by others.

use std::time::Duration;

use crate::calls::Outcome;
use crate::history::{Answer, Ask};
use crate::ledger::Script;
use crate::stage::Stage;
use crate::system::Role;

const TASKS: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_wakes_up_after_its_lease_changes_nothing() {
    let mut stage = Stage::set(1000).await;
    let mut caller = stage.a_client(1);
    let script = Script { beats: 3000, exit: 0, stubborn: false };
    let mut names = Vec::new();
    for number in 0..TASKS {
        let ask = run(&format!("long-{number}"), script);
        let Outcome::Told(Answer::Task(task)) = caller.ask(ask).await else { panic!("not accepted") };
        names.push(task.task);
    }
    for name in &names {
        let get = Ask::GetTask { task: name.clone() };
        while !matches!(caller.learns(get.clone()).await, Answer::Task(task) if task.state == "RUNNING") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // One that has work: either may have taken all of it.
    let runs = |stage: &Stage, executor: &str| {
        let query = format!("select count(*) from tasks where executor = '{executor}'");
        stage.system.ask_database(&query).parse::<usize>().unwrap()
    };
    let executors = stage.system.members.iter().enumerate();
    let executors = executors.filter(|(_, member)| matches!(member.role, Role::Executor(_)));
    let held = executors.map(|(number, member)| (runs(&stage, &member.process.name), number));
    let (held, zombie) = held.max().unwrap();
    assert!(held > 0);
    stage.system.members[zombie].process.hold();
    // Its Tasks are lost, as nobody knows what becomes of them; those of the other one go on.
    loop {
        let Answer::Tasks(tasks) = caller.learns(Ask::ListTasks).await else { unreachable!() };
        if tasks.iter().filter(|task| task.reason == "LOST").count() == held {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stage.system.members[zombie].process.go_on();
    let after = caller.learns(run("after", Script::BRIEF)).await;
    assert!(matches!(after, Answer::Task(_)));
    for name in names {
        caller.ask(Ask::CancelTask { task: name }).await;
    }
    let story = stage.judge().await;
    let told = story.feed.values().flatten().filter(|event| event.fact == "failed").count();
    assert_eq!(told, held, "lost once, and nothing else");
}

fn run(name: &str, script: Script) -> Ask {
    Ask::RunTask {
        app: "a".into(),
        display_name: format!("wish-{name}"),
        request_id: format!("request-{name}"),
        script,
    }
}
