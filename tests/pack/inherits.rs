//! What a command is given, and what becomes of what it writes.

use taskplane_proto::v1::{self as pb};

use crate::client::env;
use crate::stage::{PATIENCE, Stage, end, succeeded};

const ODD: &str = "$ $$ $$$ $(X) $$(X) $(params.x) $(context.taskRun.name) \\$ \"q\" 'q' `b` \u{1f600}\tend\nand more";

/// Waits until the Task has written that line.
pub async fn wrote(stage: &Stage, name: &str, line: &str) {
    let follow = async {
        let request = pb::StreamLogsRequest { name: name.into(), follow: true, ..Default::default() };
        let mut lines = stage.client.tasks.clone().stream_logs(request).await.unwrap().into_inner();
        while let Some(response) = lines.message().await.unwrap() {
            if response.lines.iter().any(|one| one.content == line) {
                return;
            }
        }
        panic!("it ended before it wrote {line}");
    };
    tokio::time::timeout(PATIENCE, follow).await.unwrap_or_else(|_| panic!("{name} never writes {line}"));
}

pub async fn commands_and_values_arrive_byte_for_byte(stage: Stage) {
    stage.push("a", &[("APP", ODD)]).await;
    // One write: a line that comes in two is told as two parts.
    let command = "printf '%s|%s|%s|%s|%s|%s\\n' \"$APP\" \"$TASK\" '$ $$ $(X) $$(params.x) \u{1f600}' \"$(echo sub)\" \
                   $((1+2)) \"${c-unset}\"";
    let task = pb::RunTaskRequest { env: env(&[("TASK", ODD)]), ..stage.task(command) };
    let task = stage.client.run_task(task).await.unwrap();
    assert_eq!(end(&stage.over(&task.name).await), succeeded());
    let expected = format!("{ODD}|{ODD}|$ $$ $(X) $$(params.x) \u{1f600}|sub|3|unset\n");
    assert_eq!(stage.other.log(&task.name).await, expected);
}

pub async fn what_an_app_is_given_later_does_not_reach_what_was_accepted_before(stage: Stage) {
    stage.push("a", &[("A", "before")]).await;
    let before = stage.run("echo $A").await;
    stage.push("a", &[("A", "after")]).await;
    let after = stage.run("echo $A").await;
    for (task, told) in [(before, "before\n"), (after, "after\n")] {
        assert_eq!(end(&stage.over(&task.name).await), succeeded());
        assert_eq!(stage.other.log(&task.name).await, told);
    }
}

pub async fn output_is_followed_while_it_is_written(stage: Stage) {
    let task = stage.run("for n in 1 2 3; do echo line $n; sleep 0.5; done; exec sleep 600").await;
    for line in ["line 1", "line 3"] {
        wrote(&stage, &task.name, line).await;
    }
    assert!(!crate::client::is_final(stage.client.get(&task.name).await.state()), "it runs on");
    stage.other.cancel(&task.name).await;
    stage.over(&task.name).await;
    assert_eq!(stage.client.log(&task.name).await, "line 1\nline 2\nline 3\n");
}
