//! Executors that are killed between any two steps of a run: another one goes on, and the command starts once.

use taskplane_proto::v1::{self as pb};

use crate::admin::all;
use crate::client::image_source;
use crate::kit::System;
use crate::stage::{End, IMAGE, PATIENCE, end, on_cluster, run_of, succeeded};

const POINTS: &[&str] = &[
    "backend::tekton::after_post",
    "backend::tekton::after_secrets",
    "executor::before_made",
    "executor::after_made",
    "executor::after_release",
    "executor::before_started",
    "executor::before_over",
    "executor::after_over",
];

#[tokio::test]
async fn an_executor_that_is_killed_at_any_step_leaves_a_run_that_another_one_ends() {
    let mut system = System::prepare().await;
    system.extra.executor = on_cluster();
    system.launch(&["api-1", "reaper-1"]).await;
    let client = system.client("api-1");
    let space = format!("killed-{}", std::process::id());
    client.space(&space).await;
    let parent = format!("spaces/{space}");
    let spec = pb::PushAppSpec {
        parent: parent.clone(),
        app_id: "a".into(),
        source: Some(image_source(IMAGE)),
        ..Default::default()
    };
    client.push(spec, Vec::new()).await.unwrap();
    for (number, point) in POINTS.iter().enumerate() {
        let (doomed, heir) = (format!("executor-{number}"), format!("executor-{number}b"));
        system.extra.env = vec![("TASKPLANE_FAILPOINTS", (*point).to_owned())];
        system.launch(&[&doomed]).await;
        let request = pb::RunTaskRequest {
            parent: format!("{parent}/apps/a"),
            command: "echo ran; sleep 3".into(),
            ..Default::default()
        };
        let task = client.run_task(request).await.unwrap();
        tokio::time::timeout(PATIENCE, system.process(&doomed).ended()).await.expect(point);
        system.extra.env = Vec::new();
        system.launch(&[&heir]).await;
        let ended = over(&client, &task.name, point).await;
        assert_eq!((ended, client.log(&task.name).await), (succeeded(), "ran\n".to_owned()), "{point}");
        let runs = all("pipelineruns", &format!("space-{space}"));
        let of_task = runs.iter().filter(|run| run["metadata"]["name"] == run_of(&task));
        assert!(of_task.count() <= 1, "{point}");
        system.kill(&heir);
    }
}

async fn over(client: &crate::client::Client, name: &str, point: &str) -> End {
    let look = async {
        loop {
            let task = client.get(name).await;
            if crate::client::is_final(task.state()) {
                return end(&task);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(end) => end,
        Err(_) => panic!("killed at {point}, it never ends: {:?}", client.get(name).await),
    }
}
