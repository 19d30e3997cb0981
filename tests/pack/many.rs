//! Many at once.

use futures::future::join_all;

use crate::stage::{Stage, end, succeeded};

const MANY: usize = 200;

pub async fn two_hundred_tasks_at_once_each_run_once(stage: Stage) {
    let commands: Vec<String> = (0..MANY).map(|number| format!("echo run {number}")).collect();
    let tasks = join_all(commands.iter().map(|command| stage.run(command))).await;
    let mut ids: Vec<i64> = tasks.iter().map(|task| task.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), MANY);
    for (number, task) in tasks.iter().enumerate() {
        let task = stage.over(&task.name).await;
        assert_eq!((end(&task), task.attempt), (succeeded(), 1));
        assert_eq!(stage.client.log(&task.name).await, format!("run {number}\n"));
    }
}
